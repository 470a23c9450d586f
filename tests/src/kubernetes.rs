//! A cluster's API: one etcd and one to three real kube-apiservers, with a CA and users.
//!
//! The servers stand on `address(2)` to `address(4)`, port 6443, as on three control plane nodes.
//! There is no controller manager, no scheduler and no kubelet, unless a test starts [`Controllers`] and a
//! [`crate::node::Node`]: what it puts into the API stays as it is. No reconciler writes the `kubernetes` Endpoints, which is CKE's way and control's task.

mod api_server;
mod controllers;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, Config};

use crate::binaries;
use crate::etcd::Etcd;
use crate::pki::{Issued, Pki};
use crate::place::Place;
use crate::wait;

pub use api_server::ApiServer;
pub use controllers::Controllers;

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The API servers.
    pub api_servers: Vec<ApiServer>,
    /// The etcd behind them. It ends after them, so that their logs tell of nothing else.
    pub etcd: Etcd,
    /// Its members on `address(3)` and `address(4)`, if the builder was asked for three.
    pub other_etcd: Vec<Etcd>,
    /// The cluster's CA.
    pub pki: Pki,
    /// A user who may do everything.
    pub admin: Issued,
    program: PathBuf,
    flags: Vec<String>,
}

impl Cluster {
    /// Begins to describe a cluster in this place; a place has room for one.
    #[must_use]
    pub fn builder(place: &Place) -> Builder<'_> {
        Builder {
            place,
            api_servers: 1,
            service_accounts: false,
            three_etcd_members: false,
            flags: Vec::new(),
        }
    }

    /// Moves all API servers to other addresses: ends them, then starts as many on `address(first)` and those that
    /// follow.
    ///
    /// # Panics
    ///
    /// When one does not start.
    pub async fn move_api_servers(&mut self, place: &Place, first: u8) {
        let number = self.api_servers.drain(..).map(drop).count();
        let number = u8::try_from(number).expect("three at most");
        self.start_api_servers(place, first..first + number).await;
    }

    async fn start_api_servers(&mut self, place: &Place, nodes: Range<u8>) {
        let mut started: Vec<ApiServer> = nodes
            .map(|node| {
                ApiServer::start(
                    place,
                    &self.program,
                    &self.pki,
                    &self.admin,
                    node,
                    &self.flags,
                )
            })
            .collect();
        for server in &mut started {
            server.ready().await;
        }
        self.api_servers.extend(started);
    }

    /// The API servers' addresses with ports, as rivers takes them.
    #[must_use]
    pub fn upstreams(&self) -> Vec<String> {
        self.api_servers
            .iter()
            .map(|server| server.address().to_string())
            .collect()
    }

    /// The second number of the version of its API servers: 35 of 1.35.4.
    ///
    /// # Panics
    ///
    /// When the first one does not say.
    pub async fn minor_version(&self) -> u32 {
        let version = self.client(0).apiserver_version().await;
        let minor = version.expect("a server that is ready").minor;
        minor.parse().expect("the peers are built with a number")
    }

    /// A client of one API server, counted from 0, as the admin.
    ///
    /// # Panics
    ///
    /// When there are not that many.
    #[must_use]
    pub fn client(&self, index: usize) -> Client {
        self.api_servers[index].client()
    }

    /// A client of what answers at this URL, a proxy's say, as the admin.
    ///
    /// # Panics
    ///
    /// When it is no URL.
    #[must_use]
    pub fn client_at(&self, url: &str) -> Client {
        self.client_of(&self.admin, url)
    }

    /// [`Self::client_at`], as another user.
    ///
    /// # Panics
    ///
    /// When it is no URL.
    #[must_use]
    pub fn client_of(&self, user: &Issued, url: &str) -> Client {
        client(config(&self.pki, user, url))
    }

    /// Writes the admin's kubeconfig with this server URL.
    #[must_use]
    pub fn kubeconfig(&self, url: &str) -> PathBuf {
        self.pki.kubeconfig(&self.admin, url)
    }
}

/// What a cluster is to be.
#[derive(Debug)]
pub struct Builder<'a> {
    place: &'a Place,
    api_servers: u8,
    service_accounts: bool,
    three_etcd_members: bool,
    flags: Vec<String>,
}

impl Builder<'_> {
    /// One to three API servers; one unless this says otherwise.
    ///
    /// # Panics
    ///
    /// When it is another number.
    #[must_use]
    pub fn api_servers(mut self, number: u8) -> Self {
        assert!(
            (1..=3).contains(&number),
            "a test's machine has room for three API servers"
        );
        self.api_servers = number;
        self
    }

    /// Pods get service accounts, for which somebody has to run [`Controllers`].
    #[must_use]
    pub fn service_accounts(mut self) -> Self {
        self.service_accounts = true;
        self
    }

    /// An etcd of three members; all API servers ask the first.
    #[must_use]
    pub fn three_etcd_members(mut self) -> Self {
        self.three_etcd_members = true;
        self
    }

    /// Adds a flag to all API servers, in which `{address}` stands for the server's own one. Kubernetes
    /// takes the last of flags that occur twice.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts it, and waits until each server is ready: some seconds.
    ///
    /// `None` when a peer is missing on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(self) -> Option<Cluster> {
        let program = binaries::built("kube-apiserver")?;
        let pki = Pki::new(&self.place.folder().join("pki"));
        let (etcd, other_etcd) = if self.three_etcd_members {
            let [first, second, third] = Etcd::cluster(self.place, &pki, [2, 3, 4]).await?;
            (first, vec![second, third])
        } else {
            (Etcd::start(self.place, &pki).await?, Vec::new())
        };
        let admin = pki.client("admin", Some("system:masters"));
        let mut flags = common_flags(&pki);
        if !self.service_accounts {
            // Without a controller manager no default service account appears, and this plugin would
            // wait for one before it lets a pod in.
            flags.push("--disable-admission-plugins=ServiceAccount".to_owned());
        }
        flags.extend(etcd.api_server_flags());
        flags.extend(self.flags);
        let mut cluster = Cluster {
            api_servers: Vec::new(),
            etcd,
            other_etcd,
            pki,
            admin,
            program,
            flags,
        };
        let end = 2 + self.api_servers;
        let first = if may_end_beside_others(&cluster.program) {
            3
        } else {
            end
        };
        cluster.start_api_servers(self.place, 2..first).await;
        cluster.start_api_servers(self.place, first..end).await;
        settled(&cluster.client(0)).await;
        Some(cluster)
    }
}

fn common_flags(pki: &Pki) -> Vec<String> {
    let (tokens_public, tokens_private) = pki.service_account_key();
    // The user as which API servers talk to kubelets.
    let kubelet_client = pki.client("kubernetes", None);
    vec![
        format!("--client-ca-file={}", pki.ca_file().display()),
        format!(
            "--kubelet-client-certificate={}",
            kubelet_client.certificate.display()
        ),
        format!("--kubelet-client-key={}", kubelet_client.key.display()),
        format!("--service-account-key-file={}", tokens_public.display()),
        format!(
            "--service-account-signing-key-file={}",
            tokens_private.display()
        ),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
    ]
}

/// Whether one of several that find an empty etcd may end, because another one has just made what it makes ("cannot
/// create cluster IP allocator"): those of 1.33, which keep two allocators.
fn may_end_beside_others(program: &Path) -> bool {
    let said = Command::new(program).arg("--version").output();
    let said = said.expect("an API server that runs says its version");
    said.stdout.starts_with(b"Kubernetes v1.33.")
}

/// Waits for what an API server puts into an empty cluster only after it is ready, so that a test
/// finds the same each time.
async fn settled(client: &Client) {
    let services: Api<Service> = Api::default_namespaced(client.clone());
    wait::until("the Service of the API", SETTLE_DEADLINE, async || {
        services.get("kubernetes").await
    })
    .await;
}

fn config(pki: &Pki, user: &Issued, url: &str) -> Config {
    let mut config = Config::new(url.parse().expect("a URL"));
    config.root_cert = Some(vec![pki.ca_der()]);
    config.auth_info.client_certificate = Some(user.certificate.display().to_string());
    config.auth_info.client_key = Some(user.key.display().to_string());
    // A test wants to see what fails.
    config.default_retry = false;
    config
}

fn client(config: Config) -> Client {
    Client::try_from(config).expect("the CA and the user's files are ours")
}

const SETTLE_DEADLINE: Duration = Duration::from_secs(60);
