//! A text that nobody may see: no log line, no error and no plan can show it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// A secret text. It has no `Display`, its `Debug` shows nothing, and its memory is
/// overwritten when it is dropped.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Serializes a [`Secret`], for files and requests that are to hold it: a field says so
/// with `#[serde(serialize_with = …)]`, so that none gets out by a derive.
///
/// # Errors
/// Those of the serializer.
pub(crate) fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    secret.expose().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(format!("{secret:?} {secret:#?}"), "(hidden) (hidden)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
