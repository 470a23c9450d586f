//! The way to the API servers: whose credentials, which addresses, and what
//! every failed request looks like to the person who reads about it.
//!
//! The kubeconfig gives credentials and CA. The addresses are those of
//! cluster.yml's control plane, port 6443, so that one dead server does not stop
//! us; only a kubeconfig whose server is this very machine (rivers) is asked
//! alone.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use serde_json::Value;
use thiserror::Error;

use crate::cluster::Cluster;
use crate::object::Key;

mod nodes;

/// The API servers of one cluster.
pub(crate) struct Server {
    pub(crate) client: Client,
    /// For errors: whom we asked.
    addresses: String,
    /// For errors: with whose credentials.
    kubeconfig: String,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("no kubeconfig: {path} does not exist; name one with --kubeconfig or $KUBECONFIG")]
    Missing { path: String },
    #[error("kubeconfig {path}: {}", flat(source))]
    Malformed {
        path: String,
        source: KubeconfigError,
    },
    #[error(
        "kubeconfig {path}: its credentials or certificates cannot be used: {}",
        flat(source)
    )]
    Unusable { path: String, source: kube::Error },
}

/// A request that did not succeed, in one sentence.
#[derive(Debug, Error)]
#[error("{sentence}")]
pub(crate) struct RequestError {
    sentence: String,
    /// The object has changed since it was read.
    pub(crate) conflict: bool,
}

impl RequestError {
    fn new(sentence: String) -> Self {
        Self {
            sentence,
            conflict: false,
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
        let config = load(kubeconfig).await.map_err(|source| match source {
            KubeconfigError::ReadConfig(error, path)
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                ConnectError::Missing {
                    path: path.display().to_string(),
                }
            }
            source => ConnectError::Malformed {
                path: path.clone(),
                source,
            },
        })?;
        let servers = servers(&config, cluster);
        let addresses = servers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let client = client(config, servers).map_err(|source| ConnectError::Unusable {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            client,
            addresses,
            kubeconfig: path,
        })
    }

    /// Waits for a request, which `doing` names ("read ConfigMap a/b"), within
    /// [`DEADLINE`].
    pub(crate) async fn request<T>(
        &self,
        doing: impl std::fmt::Display,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, RequestError> {
        match tokio::time::timeout(DEADLINE, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.explain(&doing.to_string(), &error)),
            Err(_) => Err(RequestError::new(format!(
                "cannot {doing}: no answer from {} within {}; is the API server overloaded, \
                 or a firewall between?",
                self.addresses,
                daemon::duration::format(DEADLINE)
            ))),
        }
    }

    /// One object; None when it does not exist.
    pub(crate) async fn object(&self, key: &Key) -> Result<Option<Value>, RequestError> {
        let api = self.api(key);
        let object = self
            .request(format_args!("read {key}"), api.get_opt(&key.name))
            .await?;
        Ok(object.map(|object| serde_json::to_value(object).expect("it came as JSON")))
    }

    /// The API of `key`'s kind, in its namespace.
    pub(crate) fn api(&self, key: &Key) -> Api<DynamicObject> {
        let (group, version) = key
            .api_version
            .split_once('/')
            .unwrap_or(("", &key.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &key.kind));
        match &key.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    fn explain(&self, doing: &str, error: &kube::Error) -> RequestError {
        let (why, conflict) = match error {
            kube::Error::Api(status) => (self.refused(status), status.code == 409),
            other => (self.unanswered(other), false),
        };
        RequestError {
            sentence: format!("cannot {doing}: {why}"),
            conflict,
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
                "the credentials in {kubeconfig} are not allowed to (403: {}); use those of a \
                 cluster administrator",
                status.message
            ),
            code => format!(
                "the API server says {code} {}: {}",
                status.reason, status.message
            ),
        }
    }

    /// No answer at all.
    fn unanswered(&self, error: &kube::Error) -> String {
        let Self {
            addresses,
            kubeconfig,
            ..
        } = self;
        let detail = flat(error);
        if detail.contains("certificate") {
            format!(
                "the certificate of {addresses} is not trusted ({detail}); \
                 `certificate-authority` in {kubeconfig} must be the CA that signed it"
            )
        } else {
            format!(
                "the API servers cannot be reached at {addresses} ({detail}); do they run, \
                 and are the addresses right?"
            )
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

fn servers(config: &Config, cluster: &Cluster) -> Vec<SocketAddr> {
    let _ = config;
    cluster
        .control_plane()
        .map(|node| SocketAddr::new(node.address, API_SERVER_PORT))
        .collect()
}

fn client(mut config: Config, servers: Vec<SocketAddr>) -> kube::Result<Client> {
    config.cluster_url = format!("https://{}", servers[0]).parse().unwrap();
    Client::try_from(config)
}

/// An error and its causes, each once.
fn flat(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// One request, dialling included. An overloaded API server may take long, and
/// tells us after 60 s by itself.
const DEADLINE: Duration = Duration::from_secs(30);
/// Where kube-apiserver listens on control plane nodes, as CKE starts it.
const API_SERVER_PORT: u16 = 6443;
