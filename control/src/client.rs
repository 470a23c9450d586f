//! The way to the API servers: whose credentials, which addresses, and what
//! every failed request looks like to the person who reads about it.
//!
//! The kubeconfig gives credentials and CA. The addresses are those of
//! cluster.yml's control plane, port 6443, so that one dead server does not stop
//! us; only a kubeconfig whose server is this very machine (rivers) is asked
//! alone.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use hyper::Request;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rivers::config::address::{Address, Host};
use rivers::kube_client;
use thiserror::Error;

use crate::cluster::Cluster;
use crate::output::printable;

mod checks;
mod metrics;
mod nodes;
mod objects;
mod secrets;
pub(crate) mod through;

pub(crate) use objects::encode;

/// The API servers of one cluster.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) client: Client,
    /// A client for each server of the control plane alone, to ask for its health.
    direct: BTreeMap<IpAddr, Client>,
    /// For errors: whom we asked.
    addresses: String,
    /// For errors: with whose credentials.
    kubeconfig: String,
    /// For one request, dialling included.
    deadline: Duration,
}

/// Why there is no client. The causes are part of the sentence: a chain of their
/// own would quote the kubeconfig, which holds secrets (see [`kube_client::flat`]).
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("no kubeconfig: {path} does not exist; name one with --kubeconfig or $KUBECONFIG")]
    Missing { path: String },
    #[error("kubeconfig {path}: {}", kube_client::flat(cause))]
    Malformed {
        path: String,
        cause: KubeconfigError,
    },
    #[error("kubeconfig {path}: {}", kube_client::flat(cause))]
    Unusable {
        path: String,
        cause: kube_client::Error,
    },
}

impl ConnectError {
    /// Why the kubeconfig at `path` cannot be loaded.
    fn of(cause: KubeconfigError, path: &str) -> Self {
        match cause {
            KubeconfigError::ReadConfig(cause, path)
                if cause.kind() == std::io::ErrorKind::NotFound =>
            {
                Self::Missing {
                    path: path.display().to_string(),
                }
            }
            cause => Self::Malformed {
                path: path.to_owned(),
                cause,
            },
        }
    }
}

/// A request that did not succeed, in one sentence.
#[derive(Debug, Error)]
#[error("{sentence}")]
pub(crate) struct RequestError {
    sentence: String,
    /// The object has changed since it was read.
    pub(crate) conflict: bool,
    /// A list has changed too much since its first page; it must be begun anew.
    pub(crate) expired: bool,
    /// What was asked for does not exist.
    pub(crate) missing: bool,
    /// The server asks to try again later: a disruption budget, or too much load.
    pub(crate) later: bool,
}

impl RequestError {
    /// Parts of `sentence` may be the server's own words.
    pub(crate) fn new(sentence: &str) -> Self {
        Self {
            sentence: printable(sentence),
            conflict: false,
            expired: false,
            missing: false,
            later: false,
        }
    }
}

impl Server {
    /// A client with the credentials of `kubeconfig` (else `$KUBECONFIG`, else
    /// `~/.kube/config`). No server is reached yet.
    pub(crate) async fn connect(
        cluster: &Cluster,
        kubeconfig: Option<&Path>,
    ) -> Result<Self, ConnectError> {
        let path = kubeconfig_name(kubeconfig);
        let config = load(kubeconfig)
            .await
            .map_err(|cause| ConnectError::of(cause, &path))?;
        let unusable = |cause| ConnectError::Unusable {
            path: path.clone(),
            cause,
        };
        let servers = kube_client::servers(&config, control_plane(cluster)).map_err(unusable)?;
        let addresses = servers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let mut direct = BTreeMap::new();
        for node in cluster.control_plane() {
            let address = vec![api_server(node.address)];
            let client = kube_client::connect(config.clone(), address).map_err(unusable)?;
            direct.insert(node.address, client);
        }
        let client = kube_client::connect(config, servers).map_err(unusable)?;
        Ok(Self {
            client,
            direct,
            addresses,
            kubeconfig: path,
            deadline: DEADLINE,
        })
    }

    /// The API server at this address alone, each request within `deadline`; None when cluster.yml
    /// has none there.
    pub(crate) fn alone(&self, address: IpAddr, deadline: Duration) -> Option<Self> {
        let client = self.direct.get(&address)?.clone();
        Some(Self {
            client,
            addresses: address.to_string(),
            deadline,
            ..self.clone()
        })
    }

    /// Each API server of cluster.yml alone.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        let addresses = self.direct.keys();
        addresses.filter_map(|&address| self.alone(address, self.deadline))
    }

    /// Whether the API server at this address says that it is ready.
    pub(crate) async fn is_ready(&self, address: IpAddr) -> bool {
        let Some(client) = self.direct.get(&address) else {
            return false;
        };
        match Request::get("/readyz").body(Vec::new()) {
            Ok(request) => client.request_text(request).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Waits for a request, which `doing` names ("read ConfigMap a/b"), within the deadline.
    pub(crate) async fn request<T>(
        &self,
        doing: impl std::fmt::Display,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, RequestError> {
        match tokio::time::timeout(self.deadline, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.explain(&doing.to_string(), &error)),
            Err(_) => Err(RequestError::new(&format!(
                "cannot {doing}: no answer from {} within {}; is the API server overloaded, \
                 or a firewall between?",
                self.addresses,
                daemon::duration::format(self.deadline)
            ))),
        }
    }

    fn explain(&self, doing: &str, error: &kube::Error) -> RequestError {
        let (why, code) = match error {
            kube::Error::Api(status) => (self.refused(status), Some(status.code)),
            kube::Error::Service(cause) => {
                (self.unanswered(&kube_client::flat(cause.as_ref())), None)
            }
            other => (kube_client::flat(other), None),
        };
        RequestError {
            conflict: code == Some(409),
            expired: code == Some(410),
            missing: code == Some(404),
            later: code == Some(429),
            ..RequestError::new(&format!("cannot {doing}: {why}"))
        }
    }

    /// The API server's own no.
    fn refused(&self, status: &kube::core::Status) -> String {
        let Self { kubeconfig, .. } = self;
        match status.code {
            401 => format!(
                "the API server does not accept the credentials in {kubeconfig} (401); \
                 have they expired, or are they another cluster's?"
            ),
            403 => format!(
                "the credentials in {kubeconfig} lack the right (403: {}); use those of a \
                 cluster administrator",
                status.message
            ),
            code => format!(
                "the API server says {code} {}: {}",
                status.reason, status.message
            ),
        }
    }

    /// No answer at all; `detail` names the servers.
    fn unanswered(&self, detail: &str) -> String {
        if detail.contains("certificate") {
            format!(
                "{detail}; `certificate-authority` in {} must be the CA of the API servers",
                self.kubeconfig
            )
        } else {
            format!("{detail}; do the API servers run, and are their addresses right?")
        }
    }
}

async fn load(path: Option<&Path>) -> Result<Config, KubeconfigError> {
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}

fn kubeconfig_name(path: Option<&Path>) -> String {
    path.map_or_else(
        || {
            std::env::var("KUBECONFIG")
                .ok()
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| "~/.kube/config".to_owned())
        },
        |path| path.display().to_string(),
    )
}

/// The API servers of `cluster`, where kubeconfig does not name a rivers.
fn control_plane(cluster: &Cluster) -> Vec<Address> {
    cluster
        .control_plane()
        .map(|node| api_server(node.address))
        .collect()
}

fn api_server(address: IpAddr) -> Address {
    Address {
        host: Host::Ip(address),
        port: API_SERVER_PORT,
    }
}

/// One request, dialling included. An overloaded API server may take long, and
/// tells us after 60 s by itself.
const DEADLINE: Duration = Duration::from_secs(30);
/// Where kube-apiserver listens on control plane nodes, as CKE starts it.
const API_SERVER_PORT: u16 = 6443;

#[cfg(test)]
mod tests;
