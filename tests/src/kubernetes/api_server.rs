//! One kube-apiserver of a cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Request;
use kube::{Client, Config};

use super::{client, config};
use crate::launch::Launch;
use crate::peer::Peer;
use crate::pki::{Issued, Pki};
use crate::place::Place;

/// A kube-apiserver.
#[derive(Debug)]
pub struct ApiServer {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
    config: Config,
}

impl ApiServer {
    /// Starts a server on `address(node)`; its certificate is for that address, and for the names
    /// and addresses by which pods and node-local proxies reach any of them.
    pub(super) fn start(
        place: &Place,
        program: &Path,
        pki: &Pki,
        admin: &Issued,
        node: u8,
        flags: &[String],
    ) -> Self {
        let address = place.socket_address(node, 6443);
        let name = format!("kube-apiserver-{node}");
        let addresses = [
            [127, 0, 0, 1].into(),
            place.address(1),
            [10, 96, 0, 1].into(),
            address.ip(),
        ];
        let certificate = pki.server(&name, &NAMES, &addresses);
        let peer = Launch::new(place, &name, program)
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--advertise-address={}", address.ip()))
            .arg(format!("--secure-port={}", address.port()))
            .arg(format!(
                "--cert-dir={}",
                place.folder().join(&name).display()
            ))
            .arg(format!(
                "--tls-cert-file={}",
                certificate.certificate.display()
            ))
            .arg(format!(
                "--tls-private-key-file={}",
                certificate.key.display()
            ))
            .args(
                flags
                    .iter()
                    .map(|flag| flag.replace("{address}", &address.ip().to_string())),
            )
            .start();
        Self {
            peer,
            address,
            config: config(pki, admin, &format!("https://{address}")),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for a kubeconfig.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A new client of this server, as the admin.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[must_use]
    pub fn client(&self) -> Client {
        client(self.config.clone())
    }

    /// Waits until it says at `/readyz` that it is ready, after a resume or a restart of etcd say.
    ///
    /// # Panics
    ///
    /// When it is not within two minutes, or ends.
    pub async fn ready(&mut self) {
        let client = self.client();
        let readyz = async || {
            let request = Request::get("/readyz")
                .body(Vec::new())
                .expect("a valid request");
            client.request_text(request).await
        };
        self.peer.ready(START_DEADLINE, readyz).await;
    }

    /// Starts it again, and waits until it is ready; kills it first if it runs.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.peer.restart();
        self.ready().await;
    }
}

/// As kubeadm and CKE have them.
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Some seconds on an idle machine; others may use it too.
const START_DEADLINE: Duration = Duration::from_secs(120);
