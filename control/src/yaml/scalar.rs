//! What a plain YAML scalar means, as Kubernetes reads it: YAML 1.1 as go-yaml has it.
//!
//! `no`, `on` and `y` are booleans, `0644` is 420, `1_000` is 1000; `1:30` and
//! `2020-01-01` stay texts. The tests of the whole compare with what kubectl sends.

use serde_json::{Number, Value};

/// The value of a scalar that is neither quoted nor tagged. None for `.inf` and
/// `.nan`, which JSON cannot say.
pub(super) fn resolve(text: &str) -> Option<Value> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return None,
        _ => {}
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if is_number {
        let plain = if text.starts_with('.') {
            text.to_owned()
        } else {
            text.replace('_', "")
        };
        if let Some(number) = integer(&plain).or_else(|| float(&plain)) {
            return Some(Value::Number(number));
        }
    }
    Some(Value::String(text.to_owned()))
}

/// Digits in Go's notation: a base by its prefix (`0x`, `0o`, `0b`, or `0` alone for
/// octal), and a sign before it.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = if let Some(digits) = lower.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (8, digits)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (2, digits)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // from_str_radix would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        0_i64.checked_sub_unsigned(magnitude).map(Number::from)
    } else {
        Some(Number::from(magnitude))
    }
}

fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let has_digit = unsigned
        .split(['e', 'E'])
        .next()?
        .contains(|c: char| c.is_ascii_digit());
    let all_float = unsigned
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !(has_digit && all_float) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Go writes a whole float as an integer, so that the API server reads one.
    if value.fract() == 0.0 && value.abs() < WHOLE_FLOATS {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// Below this every whole number has a float of its own.
const WHOLE_FLOATS: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        for (text, value) in [
            ("no", json!(false)),
            ("On", json!(true)),
            ("y", json!(true)),
            ("N", json!(false)),
            ("yEs", json!("yEs")),
            ("", json!(null)),
            ("~", json!(null)),
            ("0644", json!(420)),
            ("-0644", json!(-420)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("-0b101", json!(-5)),
            ("089", json!(89)),
            ("08", json!(8)),
            ("1_000", json!(1000)),
            ("+12", json!(12)),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("1e3", json!(1000)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1.", json!(1)),
            ("1.10", json!(1.1)),
            ("--1", json!("--1")),
            ("-", json!("-")),
            (".", json!(".")),
            ("1.2.3", json!("1.2.3")),
            ("1:30", json!("1:30")),
            ("2020-01-01", json!("2020-01-01")),
            ("1Gi", json!("1Gi")),
            ("0x", json!("0x")),
            ("e5", json!("e5")),
            ("inf", json!("inf")),
        ] {
            assert_eq!(resolve(text), Some(value), "{text}");
        }
        assert_eq!(resolve(".inf"), None);
        assert_eq!(resolve("-.INF"), None);
        assert_eq!(resolve(".nan"), None);
    }

    proptest! {
        #[test]
        fn no_text_stops_it(text in "\\PC{0,12}") {
            resolve(&text);
        }

        #[test]
        fn decimal_integers_keep_their_value(number in any::<i64>()) {
            prop_assert_eq!(resolve(&number.to_string()), Some(json!(number)));
        }
    }
}
