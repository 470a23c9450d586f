//! Puts a new certificate and its key into a Secret that is about to be written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::RequestError;
use crate::object::Key;
use crate::pki::inspect::{self, Pair};
use crate::store::Store;

/// Has a certificate for `names` issued into `content`. One that the next round would find
/// fault with is not written: it would be issued again and again.
pub(super) async fn issue(
    store: &Store,
    key: &Key,
    content: &mut Value,
    names: &[String],
) -> Result<(), RequestError> {
    let failed = |why: &dyn std::fmt::Display| {
        RequestError::new(&format!("cannot issue the certificate of {key}: {why}"))
    };
    let now = Timestamp::now();
    let trust = store.trust().await.map_err(|error| failed(&error))?;
    let issued = store
        .issue(names, now)
        .await
        .map_err(|error| failed(&error))?;
    let certificate = issued.certificate.pem();
    let pair = Pair {
        certificate: certificate.as_bytes(),
        key: issued.key.expose().as_bytes(),
    };
    if let Some(defect) = inspect::defect(pair, names, trust.as_ref(), now) {
        return Err(failed(&format_args!(
            "{store} issued one that is no good: {defect}"
        )));
    }
    content["data"]["tls.crt"] = json!(STANDARD.encode(pair.certificate));
    content["data"]["tls.key"] = json!(STANDARD.encode(pair.key));
    Ok(())
}
