//! Durations as Go writes them (`10s`, `1m30s`, `250ms`): in flags, in YAML, in
//! output.

use std::time::Duration;

use thiserror::Error;

/// Reads a duration in Go's format: one or more numbers, each with a unit of
/// `ns`, `us` (`µs`), `ms`, `s`, `m`, `h`; or a lone `0`.
///
/// # Errors
/// An empty text, a number without a unit, an unknown unit, a sign, or more
/// than 100 years.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(malformed());
    }
    let mut total: f64 = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| DurationError::NoUnit(text.to_owned()))?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| malformed())?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let nanos_in_unit = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::UnknownUnit {
                text: text.to_owned(),
                unit: unit.to_owned(),
            })?
            .1;
        total += number * nanos_in_unit;
        rest = tail;
    }
    if total > MAX_NANOS {
        return Err(DurationError::TooLong(text.to_owned()));
    }
    Ok(Duration::from_secs_f64(total / 1e9))
}

/// Writes a duration so that [`parse`] reads it back: the largest units that
/// divide it, `0s` for none.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in WHOLE_UNITS {
        let count = nanos / size;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            nanos %= size;
        }
    }
    text
}

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not numbers and units.
    #[error("`{0}` is not a duration; write it like `10s`, `1m30s` or `250ms`")]
    Malformed(String),
    /// A number whose unit is missing.
    #[error("`{0}` has no unit; write `{0}s` for seconds (units: ns, us, ms, s, m, h)")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("`{text}` has the unknown unit `{unit}`; units are ns, us, ms, s, m, h")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit that is not one.
        unit: String,
    },
    /// More than 100 years.
    #[error("`{0}` is longer than 100 years")]
    TooLong(String),
}

/// For `#[serde(with = "daemon::duration::serde")]` on a [`Duration`].
pub mod serde {
    use super::Duration;
    use ::serde::{Deserializer, Serializer};

    /// Writes `10s`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*value))
    }

    /// Reads `10s`.
    ///
    /// # Errors
    /// The text is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        crate::config_file::text(deserializer, super::parse)
    }
}

const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];
const WHOLE_UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];
const MAX_NANOS: f64 = 100.0 * 365.0 * 24.0 * 3600e9;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_durations_are_read() {
        for (text, expected) in [
            ("10s", Duration::from_secs(10)),
            ("1m30s", Duration::from_secs(90)),
            ("250ms", Duration::from_millis(250)),
            ("1.5h", Duration::from_secs(5400)),
            ("7us", Duration::from_micros(7)),
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert!(message("10").contains("write `10s`"));
        assert!(message("10 s").contains("unknown unit ` s`"));
        assert!(message("3days").contains("unknown unit `days`"));
        assert!(message("-5s").contains("not a duration"));
        assert!(message("").contains("not a duration"));
        assert!(message("9999999999h").contains("longer than 100 years"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0_u64..1_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
