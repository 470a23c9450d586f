//! What one API server, or a kubelet through them, says in its metrics.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use kube::Client;
use kube::client::Body;

use super::objects::encode;
use super::{RequestError, Server};

/// What an API server has loaded, and when.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LoadedEncryption {
    /// The hash of the configuration; None when it does not say.
    pub(crate) hash: Option<String>,
    /// When the process began, in seconds since 1970 by its host's clock.
    pub(crate) started: Option<f64>,
}

impl LoadedEncryption {
    /// Whether the process began after a file had been written on its host. Both times are
    /// exact to a second.
    #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
    pub(crate) fn began_after(&self, written: i64) -> bool {
        self.started
            .is_some_and(|started| started >= written as f64 + 2.0)
    }
}

impl Server {
    /// What the API server at this address says of its EncryptionConfiguration.
    pub(crate) async fn loaded_encryption(
        &self,
        address: IpAddr,
    ) -> Result<LoadedEncryption, RequestError> {
        let doing = format!("read the metrics of the API server {address}");
        let Some(client) = self.direct.get(&address) else {
            return Ok(LoadedEncryption::default());
        };
        let text = self.request(doing, metrics(client, "/metrics", MAX_METRICS));
        let text = text.await?;
        Ok(LoadedEncryption {
            hash: loaded(&text),
            started: started(&text),
        })
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

fn started(metrics: &str) -> Option<f64> {
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("process_start_time_seconds "))?;
    value.trim().parse().ok()
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
    fn who_began_in_the_second_of_a_file_proves_nothing() {
        let text = "process_start_time_seconds 1.79e+09\n";
        let loaded = LoadedEncryption {
            started: started(text),
            hash: None,
        };
        assert!(loaded.began_after(1_789_999_998));
        assert!(!loaded.began_after(1_789_999_999));
        assert!(!loaded.began_after(i64::MAX));
        assert!(!LoadedEncryption::default().began_after(0));
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
