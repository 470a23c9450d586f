//! What one API server, or a kubelet through them, says in its metrics.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use kube::Client;
use kube::client::Body;

use super::objects::encode;
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
        let text = self.request(doing, metrics(client, "/metrics", MAX_METRICS));
        Ok(loaded(&text.await?))
    }

    /// Where a Node's kubelet has sent most of its requests since it began, as in
    /// `localhost:16443`; None when it does not say.
    pub(crate) async fn kubelet_asks(&self, node: &str) -> Result<Option<String>, RequestError> {
        let path = format!("/api/v1/nodes/{}/proxy/metrics", encode(node));
        let doing = format!("read the metrics of the kubelet of {node}");
        let text = self.request(&doing, metrics(&self.client, &path, MAX_OF_KUBELET));
        match tokio::time::timeout(super::checks::KUBELET, text).await {
            Ok(text) => Ok(busiest(&text?)),
            Err(_) => Err(RequestError::new(&format!("cannot {doing}: no answer"))),
        }
    }
}

/// A text of at most so many bytes.
async fn metrics(client: &Client, path: &str, most: usize) -> kube::Result<String> {
    let request = Request::get(path).body(Body::empty());
    let response = client
        .send(request.map_err(kube::Error::HttpError)?)
        .await?;
    let (head, body) = response.into_parts();
    let text = Limited::new(body, most).collect().await;
    let text = text.map_err(kube::Error::Service)?.to_bytes();
    if !head.status.is_success() {
        let status = super::objects::status(head.status.as_u16(), &text);
        return Err(kube::Error::Api(Box::new(status)));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The server to which a client of client-go has sent the most requests.
fn busiest(metrics: &str) -> Option<String> {
    let mut requests: BTreeMap<&str, f64> = BTreeMap::new();
    for line in metrics.lines() {
        let Some(labels) = line.strip_prefix(REQUESTS) else {
            continue;
        };
        let host = labels
            .split(['{', ','])
            .find_map(|label| label.strip_prefix("host=\""));
        let value = line.rsplit(' ').next().and_then(|value| value.parse().ok());
        if let (Some(host), Some(value)) =
            (host.and_then(|host| Some(host.split_once('"')?.0)), value)
        {
            *requests.entry(host).or_default() += f64::max(value, 0.0);
        }
    }
    let most = requests.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    most.map(|(host, _)| (*host).to_owned())
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
/// What client-go counts in every program that uses it.
const REQUESTS: &str = "rest_client_requests_total{";
/// Bytes; a kubelet of hundreds of pods tells a few millions.
const MAX_OF_KUBELET: usize = 64 << 20;

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

    #[test]
    fn the_server_that_is_asked_most_is_found() {
        let text = "# TYPE rest_client_requests_total counter\n\
            rest_client_requests_total{code=\"200\",host=\"10.9.0.2:6443\",method=\"GET\"} 3\n\
            rest_client_requests_total{code=\"200\",host=\"localhost:16443\",method=\"GET\"} 2\n\
            rest_client_requests_total{code=\"201\",host=\"localhost:16443\",method=\"PUT\"} 1e+06\n\
            rest_client_requests_total{host=\"[::1]:16443\"} x\n\
            other{host=\"a\"} 1e+09\n";
        assert_eq!(busiest(text), Some("localhost:16443".to_owned()));
        for odd in [
            "",
            "rest_client_requests_total{",
            "rest_client_requests_total{host=\"} 1",
        ] {
            assert_eq!(busiest(odd), None, "{odd}");
        }
    }
}
