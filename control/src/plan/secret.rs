//! Values of Secrets, which no plan, diff or JSON may show.

use serde_json::{Value, json};

use super::diff::Change;
use super::field_path::Step;
use crate::object::Key;

/// Hides the values among `changes` if the object is a Secret. That a value changes is
/// still to be seen.
pub(super) fn hide(key: &Key, changes: &mut [Change]) {
    if key.kind != "Secret" {
        return;
    }
    for change in changes {
        let is_shown = matches!(
            change.field.0.as_slice(),
            [Step::Field(metadata), Step::Field(map), Step::Field(name)]
                if metadata == "metadata" && map == "labels"
                    || map == "annotations" && name.contains("cke.cybozu.com/")
        );
        if is_shown {
            continue;
        }
        for (value, text) in [
            (&mut change.live, "(hidden)"),
            (&mut change.desired, "(hidden, another value)"),
        ] {
            if let Some(value) = value {
                hide_leaves(value, text);
            }
        }
    }
}

/// `content` as it may be shown: of a Secret, without its values.
#[must_use]
pub fn shown(key: &Key, content: &Value) -> Value {
    let mut shown = content.clone();
    if key.kind == "Secret" {
        if let Some(data) = shown.get_mut("data") {
            hide_leaves(data, "(hidden)");
        }
        // kubectl keeps a copy of all data there.
        if let Some(copy) = shown
            .pointer_mut("/metadata/annotations")
            .and_then(|map| map.get_mut("kubectl.kubernetes.io/last-applied-configuration"))
        {
            *copy = json!("(hidden)");
        }
    }
    shown
}

fn hide_leaves(value: &mut Value, text: &str) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| hide_leaves(value, text)),
        Value::Array(list) => list.iter_mut().for_each(|value| hide_leaves(value, text)),
        leaf => *leaf = json!(text),
    }
}
