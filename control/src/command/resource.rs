//! `control resource`: lists and edits the directory of resources. No server is asked.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use daemon::exit::Failure;

use crate::cli::{Flags, Format, Resource as Command};
use crate::object::Key;
use crate::output::{self, json, text};
use crate::resources::{Resource, Resources};

pub(super) fn run(flags: &Flags, command: Command) -> Result<ExitCode, Failure> {
    let Some(directory) = &flags.resources else {
        return Err(Failure::usage(anyhow!(
            "name the directory with --resources DIR"
        )));
    };
    let said = match command {
        Command::List => {
            let resources = Resources::read(directory).map_err(Failure::usage)?;
            match flags.output {
                Format::Text => text::resources(&resources),
                Format::Json => json::resources(&resources),
            }
        }
        Command::Set { file } => set(directory, &file)?,
        Command::Delete { object } => delete(directory, &object)?,
    };
    output::print(&said).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes each object of `file` to a file of its own, in place of the one that has it.
fn set(directory: &Path, file: &Path) -> Result<String, Failure> {
    let bytes = fs::read(file)
        .with_context(|| format!("{} cannot be read", file.display()))
        .map_err(Failure::usage)?;
    let new = crate::resources::parse(file, &bytes).map_err(Failure::usage)?;
    fs::create_dir_all(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))
        .map_err(Failure::failed)?;
    let old = Resources::read(directory).map_err(Failure::usage)?;
    // All is checked before anything is written.
    let mut writes = Vec::new();
    for Resource { object, .. } in &new {
        let path = match old.objects.iter().find(|old| old.object.key == object.key) {
            Some(found) => alone(&old, found)?.source.path.clone(),
            None => directory.join(file_name(&object.key)),
        };
        let yaml = daemon::config_file::to_yaml(&object.content).map_err(Failure::failed)?;
        writes.push((path, yaml, &object.key));
    }
    let mut said = String::new();
    for (path, yaml, key) in writes {
        replace(&path, &yaml)
            .with_context(|| format!("{} cannot be written", path.display()))
            .map_err(Failure::failed)?;
        said.push_str(&format!("set {key} in {}\n", path.display()));
    }
    Ok(said)
}

fn delete(directory: &Path, name: &str) -> Result<String, Failure> {
    let resources = Resources::read(directory).map_err(Failure::usage)?;
    let found = resources
        .objects
        .iter()
        .find(|resource| cke_name(&resource.object.key) == name)
        .ok_or_else(|| {
            Failure::usage(anyhow!(
                "{} has no {name}; `control resource list` shows what it has, \
                 as KIND/NAMESPACE/NAME",
                directory.display()
            ))
        })?;
    let path = &alone(&resources, found)?.source.path;
    fs::remove_file(path)
        .with_context(|| format!("{} cannot be removed", path.display()))
        .map_err(Failure::failed)?;
    Ok(format!(
        "removed {}; the object stays in the cluster until `sync --prune`\n",
        path.display()
    ))
}

/// The resource, if its file has no other: to edit one among several is a person's work,
/// with their comments and order.
fn alone<'a>(resources: &Resources, found: &'a Resource) -> Result<&'a Resource, Failure> {
    let of_its_file = resources
        .objects
        .iter()
        .filter(|other| other.source.path == found.source.path);
    if of_its_file.count() == 1 {
        return Ok(found);
    }
    Err(Failure::usage(anyhow!(
        "{} is at {}, in a file with other objects; edit that file",
        found.object.key,
        found.source
    )))
}

/// Whole or not at all: a `run` may read the directory at any time.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".set-")
        .tempfile_in(directory)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// CKE's key of a resource.
fn cke_name(key: &Key) -> String {
    match &key.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", key.kind, key.name),
        None => format!("{}/{}", key.kind, key.name),
    }
}

/// A name that cannot lead out of the directory.
fn file_name(key: &Key) -> String {
    let name: String = cke_name(key)
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("{name}.yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: a, name: b}\n";

    fn said(outcome: Result<String, Failure>) -> String {
        match outcome {
            Ok(said) => said,
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn objects_are_set_listed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("resources");
        let file = folder.path().join("new.yml");
        fs::write(&file, TEXT).unwrap();
        assert!(said(set(&directory, &file)).starts_with("set ConfigMap a/b in "));
        fs::write(&file, format!("{TEXT}data: {{k: v}}\n")).unwrap();
        said(set(&directory, &file));
        let resources = Resources::read(&directory).unwrap();
        assert_eq!(resources.objects.len(), 1);
        assert_eq!(resources.objects[0].object.content["data"]["k"], "v");

        assert!(said(delete(&directory, "ConfigMap/a/c")).contains("has no ConfigMap/a/c"));
        assert!(said(delete(&directory, "ConfigMap/a/b")).contains("stays in the cluster"));
        assert!(Resources::read(&directory).unwrap().objects.is_empty());
    }

    #[test]
    fn a_file_of_several_objects_is_left_to_people() {
        let folder = tempfile::tempdir().unwrap();
        let both = format!("{TEXT}---\n{}", TEXT.replace("name: b", "name: c"));
        fs::write(folder.path().join("both.yml"), both).unwrap();
        let file = folder.path().join(".new.yml");
        fs::write(&file, TEXT).unwrap();
        for outcome in [
            set(folder.path(), &file),
            delete(folder.path(), "ConfigMap/a/b"),
        ] {
            assert!(said(outcome).contains("in a file with other objects"));
        }
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let key = Key {
            namespace: None,
            ..Key::core("ClusterRole", "", "../system:a")
        };
        assert_eq!(file_name(&key), "ClusterRole_.._system_a.yml");
    }
}
