//! Objects that are ours: forced server-side apply, as CKE.

use kube::api::{Patch, PatchParams};
use serde_json::Value;

use crate::FIELD_MANAGER;
use crate::client::{RequestError, Server};
use crate::object::Key;

pub(super) async fn apply(server: &Server, key: &Key, content: &Value) -> Result<(), RequestError> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    server
        .request(
            format_args!("write {key}"),
            server
                .api(key)
                .patch(&key.name, &params, &Patch::Apply(content)),
        )
        .await?;
    Ok(())
}
