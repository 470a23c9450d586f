//! The operator's own resources: a directory of YAML files, read as Kubernetes reads them.
//!
//! Every file is read and checked before anything is asked or written: a mistake that
//! leaves in doubt which objects are meant is an error with file, line and column.
//! Whether a server knows the kind, or takes the object, is found out later, object by
//! object.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::object::{Key, Object};
use crate::yaml::{self, Mistake, Place};

mod directory;
mod secret;

/// All resources of one directory; no two are the same object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// In the order of files and documents.
    pub objects: Vec<Resource>,
}

/// One object of the operator's.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The object as it ought to be.
    pub object: Object,
    /// Where it is written.
    pub source: Source,
}

/// A place in a file of resources. Displays as `resources/app.yml:12:1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// Why a directory of resources cannot be used.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// A file or the directory cannot be read, or is too much.
    #[error("{}: {message}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and how to mend it.
        message: String,
    },
    /// A mistake in a file.
    #[error("{source_place}: {message}")]
    Mistake {
        /// Where.
        source_place: Source,
        /// What is wrong, and how to mend it.
        message: String,
    },
}

impl Resources {
    /// Reads all `.yml`, `.yaml` and `.json` files below `directory`. Names that begin
    /// with a dot are passed over.
    ///
    /// # Errors
    /// See [`ResourceError`].
    pub fn read(directory: &Path) -> Result<Self, ResourceError> {
        let mut resources = Self::default();
        for (path, bytes) in directory::files(directory)? {
            resources.objects.extend(parse(&path, &bytes)?);
        }
        resources.check_unique()?;
        Ok(resources)
    }

    fn check_unique(&self) -> Result<(), ResourceError> {
        let mut seen: BTreeMap<_, &Source> = BTreeMap::new();
        for Resource { object, source } in &self.objects {
            let Key {
                kind,
                api_version,
                namespace,
                name,
            } = &object.key;
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            if let Some(first) = seen.insert((group, kind, namespace, name), source) {
                return Err(ResourceError::Mistake {
                    source_place: source.clone(),
                    message: format!("{} is at {first} too; remove one", object.key),
                });
            }
        }
        Ok(())
    }
}

/// The objects in one file.
///
/// # Errors
/// The text is no YAML of Kubernetes objects.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Resource>, ResourceError> {
    let at = |place: Place| Source {
        path: path.to_owned(),
        line: place.line,
        column: place.column,
    };
    let mistake = |Mistake { place, message }| ResourceError::Mistake {
        source_place: at(place),
        message,
    };
    let text = yaml::text(bytes).map_err(mistake)?;
    let mut objects = Vec::new();
    for document in yaml::documents(text).map_err(mistake)? {
        let source = at(document.place);
        for value in items(document.into_value()) {
            let object = object(value).map_err(|message| ResourceError::Mistake {
                source_place: source.clone(),
                message,
            })?;
            let source = source.clone();
            objects.push(Resource { object, source });
        }
    }
    Ok(objects)
}

/// A `List`, as `kubectl get -o yaml` writes it, stands for its items.
fn items(value: Value) -> Vec<Value> {
    let is_list = value["apiVersion"] == "v1" && value["kind"] == "List";
    match value {
        Value::Object(mut map) if is_list => match map.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        other => vec![other],
    }
}

/// The object that a document describes, as it is to be applied.
fn object(mut content: Value) -> Result<Object, String> {
    let Value::Object(map) = &mut content else {
        return Err("is no Kubernetes object, which is a mapping with apiVersion and kind".into());
    };
    // What the server decides: it stands in files that came out of `kubectl get`.
    map.remove("status");
    for field in ["apiVersion", "kind"] {
        check_text(map.get(field), field)?;
    }
    let Some(Value::Object(metadata)) = map.get_mut("metadata") else {
        return Err("has no metadata; give it at least metadata.name".into());
    };
    check_metadata(metadata)?;
    secret::move_string_data(map)?;
    Object::from_content(content).ok_or_else(|| "has no apiVersion, kind or name".into())
}

fn check_metadata(metadata: &mut Map<String, Value>) -> Result<(), String> {
    if metadata.contains_key("generateName") && !metadata.contains_key("name") {
        return Err("has metadata.generateName; give it a metadata.name of its own".into());
    }
    check_text(metadata.get("name"), "metadata.name")?;
    if let Some(namespace) = metadata.get("namespace") {
        check_text(Some(namespace), "metadata.namespace")?;
    }
    for field in SERVER_SET {
        metadata.remove(field);
    }
    for field in ["annotations", "labels"] {
        let Some(map) = metadata.get(field) else {
            continue;
        };
        let Value::Object(pairs) = map else {
            if map.is_null() {
                metadata.remove(field);
                continue;
            }
            return Err(format!("metadata.{field} is no mapping"));
        };
        if let Some((key, value)) = pairs.iter().find(|(_, value)| !value.is_string()) {
            return Err(format!(
                "metadata.{field}[{key}] is {value}, which is no text in YAML; \
                 quote it: \"{}\"",
                value.to_string().trim_matches('"')
            ));
        }
    }
    Ok(())
}

fn check_text(value: Option<&Value>, field: &str) -> Result<(), String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(()),
        Some(Value::String(_)) => Err(format!("{field} is empty")),
        None | Some(Value::Null) => Err(format!("has no {field}")),
        Some(other) => Err(format!("{field} is {other}, which is no text; quote it")),
    }
}

/// Fields of metadata that only the server sets; server-side apply refuses some.
const SERVER_SET: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

#[cfg(test)]
mod tests;
