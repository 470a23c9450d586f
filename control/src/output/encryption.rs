//! `control encryption-key`: which keys there are and how far a rotation is, for people and as
//! JSON. The keys themselves are never shown.

use std::fmt::Write;

use serde::Serialize;

use super::printable;
use crate::encryption::{Key, Keyring, Step};

/// Lines for people.
pub(crate) fn text(store: &str, keyring: &Keyring) -> String {
    let mut text = format!("store {}\n", printable(store));
    for (role, key) in roles(keyring) {
        let line = printable(&format!("{role} {} {}", key.provider.word(), key.name));
        let _ = writeln!(text, "{line}");
    }
    if let Some(step) = keyring.step.word() {
        let _ = writeln!(text, "being replaced: {step}");
    }
    text
}

/// One document.
pub(crate) fn json(store: &str, keyring: &Keyring) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        store: &'a str,
        keys: Vec<Shown<'a>>,
        step: Step,
    }
    #[derive(Serialize)]
    struct Shown<'a> {
        role: &'static str,
        provider: &'static str,
        name: &'a str,
    }
    let keys = roles(keyring).map(|(role, key)| Shown {
        role,
        provider: key.provider.word(),
        name: &key.name,
    });
    super::json::render(&Document {
        store,
        keys: keys.collect(),
        step: keyring.step,
    })
}

fn roles(keyring: &Keyring) -> impl Iterator<Item = (&'static str, &Key)> {
    let is_first_of_cluster = keyring.step == Step::Adding && keyring.keys.len() == 1;
    let first = if is_first_of_cluster { READS } else { WRITES };
    let roles = [first].into_iter().chain(std::iter::repeat(READS));
    roles.zip(&keyring.keys)
}

const WRITES: &str = "writes";
const READS: &str = "reads";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::Provider;
    use crate::secret::Secret;

    #[test]
    fn names_and_roles_are_shown_and_no_key() {
        let key = |name: &str| Key {
            name: name.to_owned(),
            provider: Provider::Aescbc,
            secret: Secret::from("canary".to_owned()),
        };
        let mut keyring = Keyring::first(key("a"));
        assert_eq!(
            text("s", &keyring),
            "store s\nreads aescbc a\nbeing replaced: API servers learn to read with the new key\n"
        );
        for _ in 0..4 {
            keyring.advance();
        }
        keyring.rotate(key("b")).unwrap();
        insta::assert_snapshot!(json("s", &keyring), @r#"
        {
          "store": "s",
          "keys": [
            {
              "role": "writes",
              "provider": "aescbc",
              "name": "a"
            },
            {
              "role": "reads",
              "provider": "aescbc",
              "name": "b"
            }
          ],
          "step": "adding"
        }
        "#);
    }
}
