//! Names and servers, which the file has as texts.

use std::fmt;

use daemon::config_file::text;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::config::{Forward, Name, Subnet};

pub(super) fn name_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    text(deserializer, Name::from_text)
}

pub(super) fn as_text<S: Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn forwards<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Forward>, D::Error> {
    struct Text(Forward);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text(deserializer, str::parse).map(Self)
        }
    }

    let texts = Vec::<Text>::deserialize(deserializer)?;
    if texts.is_empty() {
        return Err(D::Error::custom(
            "name at least one server, or leave the field out: then the zone is resolved from the root down",
        ));
    }
    Ok(texts.into_iter().map(|text| text.0).collect())
}

pub(super) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Name>, D::Error> {
    struct Text(Name);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text(deserializer, Name::from_text).map(Self)
        }
    }

    let texts = Vec::<Text>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

pub(super) fn subnets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Subnet>, D::Error> {
    struct Text(Subnet);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text(deserializer, str::parse).map(Self)
        }
    }

    let texts = Vec::<Text>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

pub(super) fn as_texts<S: Serializer>(
    values: &[impl fmt::Display],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}
