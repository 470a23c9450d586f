//! Objects out of the YAML files that are compiled in.

use std::path::Path;

use daemon::config_file;

use crate::object::Object;

/// The objects of a manifest, one per YAML document.
///
/// # Panics
/// `text` is not a list of Kubernetes objects: it is compiled in, and the tests
/// here parse every one.
pub(super) fn objects(name: &str, text: &str) -> Vec<Object> {
    text.split("\n---\n")
        .map(|document| {
            let content = config_file::parse(Path::new(name), document)
                .unwrap_or_else(|error| panic!("compiled-in manifest: {error}"));
            Object::from_content(content)
                .unwrap_or_else(|| panic!("compiled-in manifest {name}: an object has no name"))
        })
        .collect()
}
