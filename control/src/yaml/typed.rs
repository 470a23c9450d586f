//! A [`Node`] into a type: what does not fit is named with its field and its place.

use std::collections::btree_map;
use std::fmt;
use std::iter::Enumerate;
use std::slice;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde_json::Value;

use super::{Content, Field, Node, Place};

/// The value at `node` as a `T`.
///
/// # Errors
/// It is none.
pub(crate) fn from_node<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Misfit> {
    T::deserialize(Typed(node))
}

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Where it stands.
    pub(crate) place: Option<Place>,
    /// The field, as `nodes[0].labels`; empty for the whole document.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) message: String,
}

impl Misfit {
    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    fn below(mut self, step: &str) -> Self {
        let joint = match self.field.chars().next() {
            None | Some('[') => "",
            Some(_) => ".",
        };
        self.field = format!("{step}{joint}{}", self.field);
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            place: None,
            field: String::new(),
            message: message.to_string(),
        }
    }
}

struct Typed<'de>(&'de Node);

impl<'de> Typed<'de> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.content {
            Content::Scalar(Value::String(text)) => visitor.visit_borrowed_str(text),
            Content::Scalar(Value::Bool(yes)) => visitor.visit_bool(*yes),
            Content::Scalar(Value::Number(number)) => {
                number.deserialize_any(visitor).map_err(de::Error::custom)
            }
            Content::Scalar(_) => visitor.visit_unit(),
            Content::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Content::Map(fields) => visitor.visit_map(Fields {
                rest: fields.iter(),
                value: None,
            }),
        }
    }

    /// A text, where a text is asked for: `no` and `1` are none, which surprises.
    fn visit_text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.0.content {
            Content::Scalar(Value::Null) => Err(de::Error::custom("has no value")),
            Content::Scalar(value) if !value.is_string() => {
                let message = format!("is {value}, which is no text in YAML; quote it");
                Err(de::Error::custom(message))
            }
            _ => self.visit(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for Typed<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let place = self.0.place;
        self.visit(visitor).map_err(|misfit| misfit.at(place))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let place = self.0.place;
        self.visit_text(visitor).map_err(|misfit| misfit.at(place))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    /// Not a list of the fields' values, which serde would take, too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if matches!(self.0.content, Content::Map(_)) {
            return self.deserialize_any(visitor);
        }
        let misfit: Misfit = de::Error::custom("must be a mapping");
        Err(misfit.at(self.0.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier
    }
}

struct Items<'de>(Enumerate<slice::Iter<'de, Node>>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some((index, item)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Typed(item))
            .map(Some)
            .map_err(|misfit| misfit.below(&format!("[{index}]")))
    }
}

struct Fields<'de> {
    rest: btree_map::Iter<'de, String, Field>,
    /// The field whose key has been read.
    value: Option<(&'de str, &'de Node)>,
}

impl<'de> de::MapAccess<'de> for Fields<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        let Some((key, field)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some((key, &field.value));
        let key: StrDeserializer<'de, Misfit> = key.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|misfit| misfit.at(field.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        seed.deserialize(Typed(node))
            .map_err(|misfit| misfit.below(key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        name: String,
        count: Option<u8>,
        #[serde(default)]
        flag: bool,
        #[serde(default)]
        tags: BTreeMap<String, Vec<String>>,
    }

    fn read(text: &str) -> Result<Vec<Thing>, String> {
        let documents = super::super::documents(text).unwrap();
        from_node(&documents[0]).map_err(|misfit| {
            let Place { line, column } = misfit.place.unwrap();
            format!("{line}:{column} {misfit}")
        })
    }

    #[test]
    fn what_fits_is_read() {
        assert_eq!(
            read("- {name: a, count: 010, flag: yes, tags: {t: [x]}}\n- {name: 'no', count: ~}\n"),
            Ok(vec![
                Thing {
                    name: "a".to_owned(),
                    count: Some(8),
                    flag: true,
                    tags: [("t".to_owned(), vec!["x".to_owned()])].into(),
                },
                Thing {
                    name: "no".to_owned(),
                    count: None,
                    flag: false,
                    tags: BTreeMap::new(),
                },
            ])
        );
    }

    #[test]
    fn what_does_not_fit_has_its_field_and_its_place() {
        for (text, expected) in [
            ("- {name: no}", "1:10 [0].name: is false, which is no text"),
            ("- name:\n", "1:7 [0].name: has no value"),
            ("- {name: a, count: 300}", "1:20 [0].count: invalid value"),
            (
                "- name: a\n  tags: {t: [x, 1]}\n",
                "2:17 [0].tags.t[1]: is 1,",
            ),
            ("- name: a\n  nmae: b\n", "2:3 [0]: unknown field `nmae`"),
            ("- {count: 1}", "1:3 [0]: missing field `name`"),
            ("name: a", "1:1 invalid type: map"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
