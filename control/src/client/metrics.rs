//! What one API server says in its metrics.

use std::net::IpAddr;

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use kube::client::Body;

use super::{RequestError, Server};

impl Server {
    /// The hash of the EncryptionConfiguration that the API server at this address has loaded;
    /// None when it does not say.
    pub(crate) async fn loaded_encryption(
        &self,
        address: IpAddr,
    ) -> Result<Option<String>, RequestError> {
        let doing = format!("read the metrics of the API server {address}");
        let Some(client) = self.direct.get(&address) else {
            return Ok(None);
        };
        let text = self.request(doing, async {
            let request = Request::get("/metrics").body(Body::empty());
            let response = client
                .send(request.map_err(kube::Error::HttpError)?)
                .await?;
            let (head, body) = response.into_parts();
            let text = Limited::new(body, MAX_METRICS).collect().await;
            let text = text.map_err(kube::Error::Service)?.to_bytes();
            if !head.status.is_success() {
                let status = super::objects::status(head.status.as_u16(), &text);
                return Err(kube::Error::Api(Box::new(status)));
            }
            Ok(loaded(&String::from_utf8_lossy(&text)))
        });
        text.await
    }
}

fn loaded(metrics: &str) -> Option<String> {
    let labels = metrics.lines().find_map(|line| line.strip_prefix(LOADED))?;
    // Another label is a hash too, that of the server's identity.
    let hash = labels
        .split(['{', ',', '}'])
        .find_map(|label| label.strip_prefix("hash=\""))?;
    Some(hash.trim_end_matches('"').to_owned())
}

const LOADED: &str = "apiserver_encryption_config_controller_last_config_info";
/// Bytes; an API server of a large cluster tells some tens of millions.
const MAX_METRICS: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_the_configuration_is_found_among_the_others() {
        let text = "# HELP apiserver_encryption_config_controller_last_config_info [ALPHA]\n\
            apiserver_encryption_config_controller_automatic_reloads_total{hash=\"x\"} 1\n\
            apiserver_encryption_config_controller_last_config_info{apiserver_id_hash=\"sha256:aa\",hash=\"sha256:bb\"} 1\n";
        assert_eq!(loaded(text), Some("sha256:bb".to_owned()));
        assert_eq!(
            loaded("apiserver_encryption_config_controller_last_config_info{} 1\n"),
            None
        );
        assert_eq!(loaded(""), None);
    }
}
