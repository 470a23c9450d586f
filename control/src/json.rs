//! JSON laid over JSON.

use serde_json::Value;

/// Lays `over` over `into`: maps field by field, everything else takes the place of what
/// is there.
pub(crate) fn merge(into: &mut Value, over: Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (field, value) in over {
                merge(into.entry(field).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over,
    }
}
