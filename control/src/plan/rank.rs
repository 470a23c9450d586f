//! The order of a plan, CKE's: what others need comes first.

use super::Operation;
use crate::object::Key;

/// Sorts by kind as CKE does, then by key.
pub(super) fn sort(operations: &mut [Operation]) {
    operations.sort_by(|a, b| {
        let order = |operation: &Operation| rank(&operation.key);
        order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key))
    });
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Action, Reason};

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
            action: Action::Create(serde_json::Value::Null),
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
