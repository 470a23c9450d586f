//! Objects that are ours: forced server-side apply, as CKE.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::client::{RequestError, Server};
use crate::kind::Kind;
use crate::object::Key;

/// Applies the object and gives the server's warnings. A definition is waited for until
/// its kind is served.
pub(super) async fn apply(
    server: &Server,
    key: &Key,
    plural: &str,
    content: &Value,
    depends_on: &[Key],
) -> Result<Vec<String>, RequestError> {
    let has_definition = depends_on.iter().any(is_definition);
    let deadline = Instant::now() + SERVED_WITHIN;
    let reply = loop {
        match server.apply(key, plural, content, false).await {
            // The definition is established; each API server follows in its own time.
            Err(error) if error.missing && has_definition && Instant::now() < deadline => {
                sleep(PAUSE).await;
            }
            reply => break reply?,
        }
    };
    if is_definition(key) {
        established(server, key, plural, deadline).await?;
    }
    Ok(reply.warnings)
}

async fn established(
    server: &Server,
    key: &Key,
    plural: &str,
    deadline: Instant,
) -> Result<(), RequestError> {
    let kind = Kind {
        plural: plural.to_owned(),
        namespaced: false,
    };
    loop {
        let live = server.object(key, &kind).await?.unwrap_or_default();
        let condition = |name: &str| {
            let conditions = live["status"]["conditions"].as_array();
            conditions.into_iter().flatten().find(|c| c["type"] == name)
        };
        if condition("Established").is_some_and(|c| c["status"] == "True") {
            return Ok(());
        }
        if let Some(refused) = condition("NamesAccepted").filter(|c| c["status"] == "False") {
            let why = refused["message"].as_str().unwrap_or_default();
            return Err(RequestError::new(&format!(
                "{key} was written, but its names are not accepted: {why}"
            )));
        }
        if Instant::now() >= deadline {
            return Err(RequestError::new(&format!(
                "{key} was written, but is not served after {}; what does its status say?",
                daemon::duration::format(SERVED_WITHIN)
            )));
        }
        sleep(PAUSE).await;
    }
}

fn is_definition(key: &Key) -> bool {
    key.kind == "CustomResourceDefinition"
}

/// A definition is served within a second or two, on every API server.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
