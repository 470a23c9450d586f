//! Where a field stands in its object: by the keys of maps, and by the keys of the items of
//! lists, as server-side apply counts them.

use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// The way to a field from the root of its object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldPath(pub Vec<Step>);

/// One step on that way.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A key of a map.
    Field(String),
    /// The item of a keyed list whose keys have these values.
    Item(Map<String, Value>),
}

impl FieldPath {
    /// The path of keys.
    #[must_use]
    pub fn of(fields: &[&str]) -> Self {
        Self(fields.iter().map(|&f| Step::Field(f.to_owned())).collect())
    }

    pub(super) fn child(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    #[cfg(test)]
    pub(super) fn field(&self, name: &str) -> Self {
        self.child(Step::Field(name.to_owned()))
    }

    /// What stands there in `object`.
    pub(super) fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |place, step| match step {
            Step::Field(name) => place.get(name),
            Step::Item(keys) => find_item(place.as_array()?, keys),
        })
    }

    /// Takes what stands there out of `object`.
    pub(super) fn remove(&self, object: &mut Value) {
        let Some((last, way)) = self.0.split_last() else {
            return;
        };
        let mut place = object;
        for step in way {
            let below = match (step, place) {
                (Step::Field(name), Value::Object(map)) => map.get_mut(name),
                (Step::Item(keys), Value::Array(list)) => {
                    list.iter_mut().find(|item| has_keys(item, keys))
                }
                _ => None,
            };
            let Some(below) = below else { return };
            place = below;
        }
        match (last, place) {
            (Step::Field(name), Value::Object(map)) => {
                map.remove(name);
            }
            (Step::Item(keys), Value::Array(list)) => list.retain(|item| !has_keys(item, keys)),
            _ => {}
        }
    }
}

impl fmt::Display for FieldPath {
    /// As `metadata.annotations[example.com/a]` or `spec.ports[port=53,protocol=UDP].name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if name.contains(['.', '/']) => write!(f, "[{name}]")?,
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(keys) => {
                    let pairs: Vec<_> = keys
                        .iter()
                        .map(|(key, value)| match value {
                            Value::String(text) => format!("{key}={text}"),
                            other => format!("{key}={other}"),
                        })
                        .collect();
                    write!(f, "[{}]", pairs.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// The item of `list` that has every one of `keys`.
pub(super) fn find_item<'a>(list: &'a [Value], keys: &Map<String, Value>) -> Option<&'a Value> {
    list.iter().find(|item| has_keys(item, keys))
}

fn has_keys(item: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter().all(|(key, value)| {
        item.get(key)
            .map_or_else(|| default_of(key) == Some(value), |found| found == value)
    })
}

/// The keys in `k:{"port":53,"protocol":"UDP"}`.
pub(super) fn item_of(name: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(name.strip_prefix("k:")?).ok()
}

/// The value that a key of a list's items has when it is left out.
pub(super) fn default_of(key: &str) -> Option<&'static Value> {
    static TCP: LazyLock<Value> = LazyLock::new(|| Value::from("TCP"));
    (key == "protocol").then_some(&*TCP)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_taken_out_by_its_path() {
        let mut object = json!({"spec": {"ports": [{"port": 1, "a": 2}, {"port": 2, "a": 2}]}});
        let keys = json!({"port": 2}).as_object().unwrap().clone();
        let item = FieldPath::of(&["spec", "ports"]).child(Step::Item(keys));
        item.field("a").remove(&mut object);
        assert_eq!(
            object["spec"]["ports"],
            json!([{"port": 1, "a": 2}, {"port": 2}])
        );
        item.remove(&mut object);
        assert_eq!(object["spec"]["ports"], json!([{"port": 1, "a": 2}]));
        FieldPath::of(&["no", "where"]).remove(&mut object);
    }
}
