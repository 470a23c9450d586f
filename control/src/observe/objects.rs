//! Objects by name: each by a GET where few of its kind are wanted in a namespace, else all
//! by a LIST, of the namespace or of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

use super::AT_ONCE;
use crate::client::{RequestError, Server};
use crate::kind::{Kind, Kinds};
use crate::object::Key;

/// Those of `wanted` that exist. Of kinds that are not known nothing can be read.
pub(super) async fn read(
    server: &Server,
    kinds: &Kinds,
    wanted: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, Value>, RequestError> {
    let found: Vec<Vec<(Key, Value)>> = stream::iter(readings(kinds, wanted))
        .map(|reading| async move {
            match reading {
                Reading::Get(key, kind) => {
                    let object = server.object(key, kind).await?;
                    Ok(object
                        .map(|object| (key.clone(), object))
                        .into_iter()
                        .collect())
                }
                Reading::List(example, kind, namespace) => {
                    let keep = |key: &Key| wanted.contains(key);
                    match server.list(example, kind, namespace, keep).await {
                        // Its definition is yet to be applied.
                        Err(error) if error.missing => Ok(Vec::new()),
                        listed => listed,
                    }
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// One or more requests.
#[derive(Debug, PartialEq)]
enum Reading<'a> {
    Get(&'a Key, &'a Kind),
    /// Of the kind of the key, in this namespace or in all.
    List(&'a Key, &'a Kind, Option<&'a str>),
}

fn readings<'a>(kinds: &'a Kinds, wanted: &'a BTreeSet<Key>) -> Vec<Reading<'a>> {
    let mut by_kind: BTreeMap<_, Vec<&Key>> = BTreeMap::new();
    for key in wanted {
        by_kind
            .entry((&key.api_version, &key.kind))
            .or_default()
            .push(key);
    }
    by_kind
        .into_values()
        .filter_map(|keys| Some((kinds.of(keys[0])?, keys)))
        .flat_map(|(kind, keys)| of_one_kind(kind, &keys))
        .collect()
}

fn of_one_kind<'a>(kind: &'a Kind, keys: &[&'a Key]) -> Vec<Reading<'a>> {
    let mut by_namespace: BTreeMap<Option<&str>, Vec<&'a Key>> = BTreeMap::new();
    // What stands in no namespace though its kind does cannot be asked for.
    for key in keys
        .iter()
        .filter(|key| key.namespace.is_some() == kind.namespaced)
    {
        by_namespace
            .entry(key.namespace.as_deref())
            .or_default()
            .push(key);
    }
    let readings: Vec<_> = by_namespace
        .into_iter()
        .flat_map(|(namespace, keys)| {
            if keys.len() <= GETS {
                let gets = keys.into_iter().map(|key| Reading::Get(key, kind));
                gets.collect()
            } else {
                vec![Reading::List(keys[0], kind, namespace)]
            }
        })
        .collect();
    if readings.len() <= OF_A_KIND {
        return readings;
    }
    vec![Reading::List(keys[0], kind, None)]
}

/// As many objects of a kind and a namespace are asked for one by one: a list may hold
/// what is not ours to know.
const GETS: usize = 4;
/// More requests for one kind are not made; one list of the whole cluster is cheaper.
const OF_A_KIND: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[(&str, &str)]) -> BTreeSet<Key> {
        names
            .iter()
            .map(|(namespace, name)| Key::core("ConfigMap", namespace, name))
            .collect()
    }

    fn lists(wanted: &BTreeSet<Key>) -> Vec<Option<String>> {
        readings(&Kinds::default(), wanted)
            .into_iter()
            .filter_map(|reading| match reading {
                Reading::List(_, _, namespace) => Some(namespace.map(str::to_owned)),
                Reading::Get(..) => None,
            })
            .collect()
    }

    #[test]
    fn few_are_read_one_by_one_and_many_by_one_list() {
        let few = wanted(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(readings(&Kinds::default(), &few).len(), 3);
        assert!(lists(&few).is_empty());
        let five = ["1", "2", "3", "4", "5"];
        let mut many = wanted(&five.map(|name| ("a", name)));
        assert_eq!(lists(&many), [Some("a".to_owned())]);
        many.extend(wanted(&[("b", "1")]));
        assert_eq!(lists(&many), [Some("a".to_owned())]);
        assert_eq!(readings(&Kinds::default(), &many).len(), 2);
        let spread = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        assert_eq!(
            lists(&wanted(&spread.map(|namespace| (namespace, "1")))),
            [None]
        );
    }

    #[test]
    fn what_cannot_be_asked_for_is_not() {
        let mut odd = wanted(&[]);
        odd.insert(Key {
            namespace: None,
            ..Key::core("ConfigMap", "", "a")
        });
        odd.insert(Key::core("Unknown", "a", "a"));
        assert!(readings(&Kinds::default(), &odd).is_empty());
    }
}
