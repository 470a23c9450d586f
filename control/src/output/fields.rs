//! The fields of one operation as two YAML texts, before and after: only what
//! differs, under its parents.

use serde_json::{Map, Value};

use crate::plan::{Action, Change, Operation, Step, shown};

/// What a diff of this operation compares.
pub(super) fn before_and_after(operation: &Operation) -> (String, String) {
    if let Action::Create(content)
    | Action::Issue {
        content,
        exists: false,
        ..
    } = &operation.action
    {
        return (String::new(), yaml(&shown(&operation.key, content)));
    }
    let side = |value: fn(&Change) -> Option<&Value>| {
        let mut tree = Value::Null;
        for change in &operation.changes {
            if let Some(value) = value(change) {
                insert(&mut tree, &change.field.0, value);
            }
        }
        if tree.is_null() {
            String::new()
        } else {
            yaml(&tree)
        }
    };
    (side(|c| c.live.as_ref()), side(|c| c.desired.as_ref()))
}

fn insert(tree: &mut Value, steps: &[Step], value: &Value) {
    let Some((first, rest)) = steps.split_first() else {
        *tree = value.clone();
        return;
    };
    match first {
        Step::Field(name) => {
            if !tree.is_object() {
                *tree = Value::Object(Map::new());
            }
            insert(&mut tree[name.as_str()], rest, value);
        }
        Step::Item(keys) => {
            if !tree.is_array() {
                *tree = Value::Array(Vec::new());
            }
            let Value::Array(items) = tree else { return };
            let place = items
                .iter()
                .position(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
                .unwrap_or_else(|| {
                    items.push(Value::Object(keys.clone()));
                    items.len() - 1
                });
            insert(&mut items[place], rest, value);
        }
    }
}

fn yaml(value: &Value) -> String {
    daemon::config_file::to_yaml(value).unwrap_or_else(|_| value.to_string())
}
