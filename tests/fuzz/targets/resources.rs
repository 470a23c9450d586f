//! A file of resources, which is YAML as Kubernetes reads it: objects with a name, or a mistake with its
//! place. What was read is the same when it is read again as JSON.

#![no_main]

use std::path::Path;

use control::resources::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match parse(Path::new("a.yml"), bytes) {
        Ok(resources) => {
            for resource in resources {
                let json = resource.object.content.to_string();
                let again = parse(Path::new("a.yml"), json.as_bytes()).expect("JSON is YAML");
                assert_eq!(again[0].object, resource.object);
            }
        }
        Err(error) => assert!(error.to_string().starts_with("a.yml:")),
    }
});
