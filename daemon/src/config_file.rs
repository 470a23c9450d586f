//! A YAML file into a typed value, and every mistake in it into one sentence
//! that begins with `path:line:column`.
//!
//! The only place that knows which YAML library is used.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny};
use serde::de::{MapAccess, SeqAccess, Visitor};
use thiserror::Error;

/// Parses `text` as `T`; `name` stands for the file in errors.
///
/// # Errors
/// `text` is not YAML, or not a `T`.
pub fn parse<T: DeserializeOwned>(name: &Path, text: &str) -> Result<T, ConfigError> {
    Document::new(name, text).parse()
}

/// Writes `value` as YAML, as [`parse`] reads it.
///
/// # Errors
/// `value` has a part that YAML cannot say (a map with a structured key).
pub fn to_yaml<T: serde::Serialize>(value: &T) -> Result<String, ConfigError> {
    serde_yaml::to_string(value).map_err(|error| ConfigError {
        path: PathBuf::from("output"),
        position: None,
        message: error.to_string(),
    })
}

/// Reads a text and turns it into a `T`, for `Deserialize` implementations of
/// addresses, durations, sizes. Unlike `#[serde(try_from = "String")]` the error
/// carries the line and column of the value itself.
///
/// # Errors
/// The value is not a text, or `parse` refuses it.
pub fn text<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    struct Text<F>(F);

    impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<R: serde::de::Error>(self, text: &str) -> Result<T, R> {
            (self.0)(text).map_err(R::custom)
        }
    }

    deserializer.deserialize_str(Text(parse))
}

/// The text of one configuration file, kept for errors found after parsing:
/// checks that span several fields still name a line.
#[derive(Debug, Clone)]
pub struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// A document that is already in memory.
    #[must_use]
    pub fn new(path: &Path, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, is not UTF-8, or is larger than 16 MiB.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let whole_file = |message: String| ConfigError {
            path: path.to_owned(),
            position: None,
            message,
        };
        let metadata = std::fs::metadata(path).map_err(|e| whole_file(unreadable(&e)))?;
        if metadata.len() > MAX_BYTES {
            return Err(whole_file(format!(
                "is {} bytes long; a configuration file has at most {MAX_BYTES}",
                metadata.len()
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|e| whole_file(unreadable(&e)))?;
        Ok(Self::new(path, &text))
    }

    /// The text as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value that this document describes.
    ///
    /// # Errors
    /// The text is not YAML, or not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_yaml::from_str(&self.text).map_err(|error| self.error(&error))
    }

    /// An error about the value at `field`, written as `listeners[1].name`, with
    /// the line on which that value stands. A field that is not in the document
    /// (a default, say) gives an error about the whole file.
    #[must_use]
    pub fn error_at(&self, field: &str, message: impl fmt::Display) -> ConfigError {
        let message = message.to_string();
        let steps = Step::parse(field);
        let seed = Locate {
            steps: &steps,
            message: &message,
        };
        match seed.deserialize(serde_yaml::Deserializer::from_str(&self.text)) {
            Err(error) => self.error(&error),
            Ok(()) => ConfigError {
                path: self.path.clone(),
                position: None,
                message: format!("{field}: {message}"),
            },
        }
    }

    fn error(&self, error: &serde_yaml::Error) -> ConfigError {
        let position = error.location().map(|at| (at.line(), at.column()));
        let mut message = error.to_string();
        if let Some((line, column)) = position {
            let suffix = format!(" at line {line} column {column}");
            if let Some(at) = message.rfind(&suffix) {
                message.replace_range(at..at + suffix.len(), "");
            }
        }
        ConfigError {
            path: self.path.clone(),
            position,
            message,
        }
    }
}

/// What is wrong with a configuration file, and where.
///
/// Displays as `rivers.yml:7:5: listeners[0].dial_timeout: must be …`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigError {
    path: PathBuf,
    position: Option<(usize, usize)>,
    message: String,
}

impl ConfigError {
    /// What is wrong, the field in front where it is about one, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// One step on the way to a field.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn parse(field: &str) -> Vec<Self> {
        field
            .split(['.', '['])
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.strip_suffix(']')
                    .and_then(|index| index.parse().ok())
                    .map_or_else(|| Self::Key(part.to_owned()), Self::Index)
            })
            .collect()
    }
}

/// Walks to one value and fails there: the YAML library then adds the line.
struct Locate<'a> {
    steps: &'a [Step],
    message: &'a str,
}

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Locate<'_> {
    fn fail_here<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.steps.is_empty() {
            return Err(E::custom(self.message));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.steps.split_first() else {
            return Err(A::Error::custom(self.message));
        };
        while let Some(key) = map.next_key::<String>()? {
            if *first == Step::Key(key) {
                map.next_value_seed(Locate {
                    steps: rest,
                    message: self.message,
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.steps.split_first() else {
            return Err(A::Error::custom(self.message));
        };
        for index in 0.. {
            let found = if *first == Step::Index(index) {
                seq.next_element_seed(Locate {
                    steps: rest,
                    message: self.message,
                })?
            } else {
                seq.next_element::<IgnoredAny>()?.map(|_| ())
            };
            if found.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.fail_here()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.fail_here()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.fail_here()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.fail_here()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.fail_here()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.fail_here()
    }
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file; --config names the one to read".to_owned(),
        std::io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Larger than any configuration a person or a program writes, small enough to hold twice.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::time::Duration;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct File {
        listeners: Vec<Listener>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Listener {
        name: String,
        #[serde(with = "crate::duration::serde")]
        dial_timeout: Duration,
    }

    fn error_of(text: &str) -> String {
        parse::<File>(Path::new("rivers.yml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn unknown_field_is_named_with_its_line_and_column() {
        let text = "listeners:\n- name: a\n  dial_timeout: 1s\n  dail: 3\n";
        let error = error_of(text);
        assert!(
            error.starts_with("rivers.yml:4:3: listeners[0]: unknown field `dail`"),
            "{error}"
        );
    }

    #[test]
    fn bad_value_is_named_with_its_line_and_column() {
        let text = "listeners:\n- name: a\n  dial_timeout: soon\n";
        let error = error_of(text);
        assert!(
            error.starts_with("rivers.yml:3:17: listeners[0].dial_timeout: "),
            "{error}"
        );
        assert!(!error.contains(" at line "), "{error}");
    }

    #[test]
    fn broken_yaml_is_named_with_its_line() {
        let error = error_of("listeners: [\n- }");
        assert!(error.starts_with("rivers.yml:2:"), "{error}");
    }

    #[test]
    fn a_check_after_parsing_still_names_the_line() {
        let text = "listeners:\n- name: a\n  dial_timeout: 1s\n- name: a\n  dial_timeout: 1s\n";
        let error = Document::new(Path::new("rivers.yml"), text)
            .error_at("listeners[1].name", "`a` is taken by another listener");
        assert_eq!(
            error.to_string(),
            "rivers.yml:4:9: listeners[1].name: `a` is taken by another listener"
        );
    }

    #[test]
    fn a_check_on_a_list_or_a_map_names_where_it_begins() {
        let text = "listeners:\n- name: a\n";
        let document = Document::new(Path::new("f"), text);
        let list = document.error_at("listeners", "is empty").to_string();
        assert!(list.starts_with("f:2:1: listeners: is empty"), "{list}");
        let map = document.error_at("listeners[0]", "is odd").to_string();
        assert!(map.starts_with("f:2:3: listeners[0]: is odd"), "{map}");
    }

    #[test]
    fn a_check_on_a_default_names_the_file() {
        let error = Document::new(Path::new("f"), "{}").error_at("admin", "is taken");
        assert_eq!(error.to_string(), "f: admin: is taken");
    }

    #[test]
    fn missing_file_is_one_sentence() {
        let error = Document::read(Path::new("/nonexistent/rivers.yml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nonexistent/rivers.yml: no such file; --config names the one to read"
        );
    }

    #[test]
    fn alias_bomb_ends() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..30 {
            let alias = format!("*a{}", i - 1);
            let list = vec![alias; 9].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        let parsed = parse::<serde_yaml::Value>(Path::new("f"), &text);
        assert!(parsed.is_err());
    }
}
