//! Quantities: amounts that the API server writes in a form of its own (`0.5` becomes
//! `500m`, `1024Mi` becomes `1Gi`).

use serde_json::Value;

use super::field_path::{FieldPath, Step};

/// Whether both are the same amount, where amounts stand.
pub(super) fn same(path: &FieldPath, wanted: &Value, found: &Value) -> bool {
    let stands_here = path
        .0
        .iter()
        .rev()
        .take(2)
        .any(|step| matches!(step, Step::Field(name) if AMOUNTS.contains(&name.as_str())));
    stands_here && parse(wanted).is_some_and(|amount| Some(amount) == parse(found))
}

/// An amount, exactly: a number, and the powers of 10 and 2 by which it is multiplied,
/// in lowest terms.
#[derive(Debug, PartialEq)]
struct Amount {
    mantissa: i128,
    tens: i32,
}

fn parse(value: &Value) -> Option<Amount> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut tens = -i32::try_from(fraction.len()).ok()?;
    match suffix {
        "" => {}
        "n" => tens -= 9,
        "u" => tens -= 6,
        "m" => tens -= 3,
        "k" => tens += 3,
        "M" => tens += 6,
        "G" => tens += 9,
        "T" => tens += 12,
        "P" => tens += 15,
        "E" => tens += 18,
        "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => {
            let power = "KMGTPE".find(&suffix[..1])? + 1;
            mantissa = mantissa.checked_mul(1 << (10 * power))?;
        }
        exponent => tens = tens.checked_add(exponent.strip_prefix(['e', 'E'])?.parse().ok()?)?,
    }
    if mantissa == 0 {
        tens = 0;
    }
    while mantissa != 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        tens = tens.checked_add(1)?;
    }
    Some(Amount { mantissa, tens })
}

/// Fields whose values, or whose keys' values, are quantities.
const AMOUNTS: [&str; 12] = [
    "capacity",
    "default",
    "defaultRequest",
    "divisor",
    "hard",
    "limits",
    "max",
    "min",
    "overhead",
    "requests",
    "sizeLimit",
    "storage",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn equal(a: impl Into<Value>, b: impl Into<Value>) -> bool {
        same(&FieldPath::of(&["limits", "cpu"]), &a.into(), &b.into())
    }

    #[test]
    fn amounts_are_compared_by_value() {
        for (a, b) in [
            (json!(1), json!("1")),
            (json!(0.5), json!("500m")),
            (json!("1000m"), json!("1")),
            (json!("1024Mi"), json!("1Gi")),
            (json!("1e3"), json!("1k")),
            (json!("1.5Gi"), json!("1536Mi")),
            (json!("0"), json!("0Gi")),
            (json!("-1"), json!("-1000m")),
        ] {
            assert!(equal(a.clone(), b.clone()), "{a} {b}");
        }
        for (a, b) in [
            ("1", "2"),
            ("1k", "1Ki"),
            ("1", "1x"),
            ("x", "x"),
            ("", ""),
            ("1e99999999999", "1"),
        ] {
            assert!(!equal(a, b), "{a} {b}");
        }
    }

    #[test]
    fn elsewhere_texts_are_texts() {
        let path = FieldPath::of(&["data", "cpu"]);
        assert!(!same(&path, &json!("1"), &json!("1000m")));
    }

    proptest! {
        #[test]
        fn no_text_stops_it(a in "\\PC{0,10}", number in "[-+.0-9eEKMGi]{0,50}") {
            equal(a, number);
        }

        #[test]
        fn thousands_are_thousandths_of_millions(n in -1_000_000_000i64..1_000_000_000) {
            let (thousands, units) = (format!("{n}k"), format!("{n}000"));
            let milli = format!("{n}000000m");
            prop_assert!(equal(thousands.clone(), units));
            prop_assert!(equal(thousands, milli));
        }
    }
}
