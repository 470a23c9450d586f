//! The operator's own resources, as they are: only what control itself keeps is refused.

use std::collections::BTreeSet;

use super::{Desired, Refusal};
use crate::object::Key;
use crate::resources::Resources;

/// Adds them to what is wanted; `own` are the objects that control keeps.
pub(super) fn add(desired: &mut Desired, resources: &Resources, own: &[Key]) {
    let mut registered = BTreeSet::new();
    for resource in &resources.objects {
        let key = &resource.object.key;
        if own.contains(key) || key.kind == "Node" {
            let why = format!(
                "control itself keeps it, from cluster.yml; remove it from {}",
                resource.source
            );
            desired.refused.push(Refusal {
                key: key.clone(),
                why,
            });
        } else {
            registered.insert(key.clone());
            desired.objects.push(resource.object.clone());
        }
    }
    desired.registered = Some(registered);
}
