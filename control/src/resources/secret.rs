//! `stringData` of a Secret, which the server only takes and never gives back.

use serde_json::{Map, Value};

/// Moves `stringData` into `data`, as the server does, so that it can be compared with
/// what the server has.
pub(super) fn move_string_data(object: &mut Map<String, Value>) -> Result<(), String> {
    if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
        return Ok(());
    }
    let Some(Value::Object(texts)) = object.remove("stringData") else {
        return Ok(());
    };
    let data = object
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    let Value::Object(data) = data else {
        return Err("data is no mapping".to_owned());
    };
    for (key, text) in texts {
        let Value::String(text) = text else {
            return Err(format!("stringData[{key}] is no text; quote it"));
        };
        data.insert(key, Value::String(base64(text.as_bytes())));
    }
    Ok(())
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain([0; 2].iter())
            .take(3)
            .fold(0_u32, |group, &byte| group << 8 | u32::from(byte));
        for place in 0..4 {
            let index = (group >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= chunk.len() {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_data_and_win_over_it() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "data": {"a": "b2xk", "b": "eA=="},
            "stringData": {"a": "new"},
        });
        move_string_data(object.as_object_mut().unwrap()).unwrap();
        assert_eq!(object["data"], json!({"a": "bmV3", "b": "eA=="}));
        assert!(object.get("stringData").is_none());
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
