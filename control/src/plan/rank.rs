//! The order of a plan, CKE's: what others need comes first.

use serde_json::Value;

use super::{Action, Operation};
use crate::inventory;
use crate::object::Key;

/// Sorts by kind as CKE does, then by key.
pub(super) fn sort(operations: &mut [Operation]) {
    operations.sort_by(|a, b| {
        let order = |operation: &Operation| match &operation.action {
            Action::Create(content) | Action::Update(content) | Action::Issue { content, .. } => {
                if operation.key == inventory::key() {
                    return LAST;
                }
                wished(content).unwrap_or_else(|| rank(&operation.key))
            }
            Action::PatchNode(_)
            | Action::Deliver { .. }
            | Action::Restart { .. }
            | Action::RewriteSecrets => rank(&operation.key),
            Action::RemoveNode { .. } | Action::Delete { .. } => LAST - 1,
        };
        order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key))
    });
}

/// Whether the operator's own rank, if there is one, is within CKE's bounds: below 2000
/// for objects of the whole cluster, from 2000 on for those in a namespace.
pub(super) fn check(content: &Value, namespaced: bool) -> Result<(), String> {
    let Some(text) = annotation(content) else {
        return Ok(());
    };
    match text.parse::<u32>() {
        Ok(0) => Ok(()),
        Ok(rank) if namespaced == (rank >= NAMESPACED) => Ok(()),
        _ => Err(format!(
            "its annotation {RANK} is `{text}`; it must be a number below {NAMESPACED} for an \
             object of the whole cluster, from {NAMESPACED} on for one in a namespace"
        )),
    }
}

fn wished(content: &Value) -> Option<u32> {
    annotation(content)?.parse().ok().filter(|&rank| rank > 0)
}

fn annotation(content: &Value) -> Option<&str> {
    content
        .get("metadata")?
        .get("annotations")?
        .get(RANK)?
        .as_str()
}

/// The place of a kind. The numbers are CKE's, which operators may know from its
/// annotation `cke.cybozu.com/rank`.
fn rank(key: &Key) -> u32 {
    match (key.kind.as_str(), &key.namespace) {
        ("Namespace", _) => 10,
        ("ServiceAccount", _) => 20,
        ("CustomResourceDefinition", _) => 30,
        ("ClusterRole", _) => 40,
        ("ClusterRoleBinding", _) => 50,
        ("Role", _) => 2000,
        ("RoleBinding", _) => 2010,
        ("NetworkPolicy", _) => 2020,
        ("Secret", _) => 2030,
        ("ConfigMap", _) => 2040,
        (_, None) => 1000,
        (_, Some(_)) => 3000,
    }
}

const RANK: &str = "cke.cybozu.com/rank";
const NAMESPACED: u32 = 2000;
/// What takes away comes after all that gives, and the inventory knows of it.
const LAST: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Reason;

    const ORDER: [(&str, bool); 12] = [
        ("Namespace", false),
        ("ServiceAccount", true),
        ("CustomResourceDefinition", false),
        ("ClusterRole", false),
        ("ClusterRoleBinding", false),
        ("Node", false),
        ("Role", true),
        ("RoleBinding", true),
        ("NetworkPolicy", true),
        ("Secret", true),
        ("ConfigMap", true),
        ("Service", true),
    ];

    fn operation(place: usize, namespace: &str, name: &str) -> Operation {
        let (kind, namespaced) = ORDER[place];
        Operation {
            key: Key {
                kind: kind.to_owned(),
                api_version: "v1".to_owned(),
                namespace: namespaced.then(|| namespace.to_owned()),
                name: name.to_owned(),
            },
            plural: String::new(),
            action: Action::Create(Value::Null),
            reason: Reason::Missing,
            changes: Vec::new(),
            depends_on: Vec::new(),
        }
    }

    #[test]
    fn kinds_come_in_ckes_order() {
        let mut operations: Vec<_> = (0..ORDER.len())
            .rev()
            .map(|place| operation(place, "a", "a"))
            .collect();
        sort(&mut operations);
        let kinds: Vec<_> = operations.iter().map(|o| o.key.kind.as_str()).collect();
        assert_eq!(kinds, ORDER.map(|(kind, _)| kind));
    }

    #[test]
    fn the_operators_own_rank_goes_before_the_kinds() {
        let ranked = |rank: &str| serde_json::json!({"metadata": {"annotations": {RANK: rank}}});
        let mut operations = [operation(11, "a", "a"), operation(6, "a", "a")];
        operations[0].action = Action::Create(ranked("2000"));
        sort(&mut operations);
        assert_eq!(
            operations[0].key.kind, "Role",
            "the key decides between equals"
        );
        operations[1].action = Action::Create(ranked("2001"));
        sort(&mut operations);
        assert_eq!(operations[1].key.kind, "Service");

        assert!(check(&ranked("2000"), true).is_ok());
        assert!(check(&ranked("1999"), false).is_ok());
        assert!(check(&ranked("0"), true).is_ok());
        for (rank, namespaced) in [("1999", true), ("2000", false), ("x", true), ("-1", true)] {
            assert!(check(&ranked(rank), namespaced).is_err(), "{rank}");
        }
    }

    #[test]
    fn what_takes_away_comes_last_but_for_the_inventory() {
        let mut operations = [
            operation(0, "a", "a"),
            operation(11, "a", "a"),
            operation(10, "a", "a"),
        ];
        operations[0].action = Action::Delete { uid: String::new() };
        operations[2].key = inventory::key();
        sort(&mut operations);
        let kinds = operations.map(|operation| operation.key.kind);
        assert_eq!(kinds, ["Service", "Namespace", "ConfigMap"]);
    }

    proptest! {
        #[test]
        fn the_order_does_not_depend_on_where_one_begins(
            places in prop::collection::vec((0..ORDER.len(), "[a-c]", "[a-c]{1,2}"), 0..20),
            seed in any::<prop::sample::Index>(),
        ) {
            let mut one: Vec<_> = places
                .iter()
                .map(|(place, namespace, name)| operation(*place, namespace, name))
                .collect();
            let mut other = one.clone();
            if !other.is_empty() {
                let middle = seed.index(other.len());
                other.rotate_left(middle);
            }
            sort(&mut one);
            sort(&mut other);
            prop_assert_eq!(&one, &other);
            for pair in one.windows(2) {
                let (a, b) = (&pair[0].key, &pair[1].key);
                prop_assert!(rank(a) < rank(b) || (rank(a) == rank(b) && a <= b));
            }
        }
    }
}
