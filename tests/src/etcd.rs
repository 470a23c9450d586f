//! etcd, one member or a cluster of several, which like a real one's asks clients for a certificate.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Request;
use kube::{Client, Config};

use crate::binaries;
use crate::launch::Launch;
use crate::peer::Peer;
use crate::pki::{Issued, Pki};
use crate::place::Place;

/// A running member.
#[derive(Debug)]
pub struct Etcd {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
    ca: PathBuf,
    certificate: Issued,
}

impl Etcd {
    /// Starts one member on `address(2)`, port 2379, as on the first control plane node, and waits until it
    /// can write.
    ///
    /// `None` when there is no etcd on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(place: &Place, pki: &Pki) -> Option<Self> {
        let [member] = Self::cluster(place, pki, [2]).await?;
        Some(member)
    }

    /// Starts a cluster with a member on `address(node)` of each of these nodes, and waits until each
    /// can write.
    ///
    /// `None` when there is no etcd on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn cluster<const MEMBERS: usize>(
        place: &Place,
        pki: &Pki,
        nodes: [u8; MEMBERS],
    ) -> Option<[Self; MEMBERS]> {
        let program = binaries::built("etcd")?;
        let everyone = nodes.map(|node| format!("{}={}", name(node), member_url(place, node)));
        let initial_cluster = format!("--initial-cluster={}", everyone.join(","));
        let mut members =
            nodes.map(|node| Self::launch(place, pki, node, &program, &initial_cluster));
        for member in &mut members {
            member.ready().await;
        }
        Some(members)
    }

    fn launch(place: &Place, pki: &Pki, node: u8, program: &Path, initial_cluster: &str) -> Self {
        let (name, address) = (name(node), place.socket_address(node, 2379));
        // Clients on a node reach it through a proxy there.
        let addresses = [address.ip(), place.address(1), [127, 0, 0, 1].into()];
        let certificate = pki.server(&name, &["localhost"], &addresses);
        let ca = pki.ca_file();
        let (client, member) = (format!("https://{address}"), member_url(place, node));
        let peer = Launch::new(place, &name, program)
            .arg(format!("--name={name}"))
            .arg(format!(
                "--data-dir={}",
                place.folder().join(&name).display()
            ))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={member}"))
            .arg(format!("--initial-advertise-peer-urls={member}"))
            .arg(initial_cluster)
            .arg("--client-cert-auth")
            .arg(format!("--trusted-ca-file={}", ca.display()))
            .arg(format!("--cert-file={}", certificate.certificate.display()))
            .arg(format!("--key-file={}", certificate.key.display()))
            .arg("--peer-client-cert-auth")
            .arg(format!("--peer-trusted-ca-file={}", ca.display()))
            .arg(format!(
                "--peer-cert-file={}",
                certificate.certificate.display()
            ))
            .arg(format!("--peer-key-file={}", certificate.key.display()))
            // A test's data need not survive a power cut.
            .arg("--unsafe-no-fsync")
            .arg("--log-level=warn")
            .start();
        Self {
            peer,
            address,
            ca,
            certificate,
        }
    }

    /// Starts it again after its end, and waits until it can write.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.peer.restart();
        self.ready().await;
    }

    /// It listens long before it has found a leader.
    async fn ready(&mut self) {
        let client = client(
            &self.ca,
            &self.certificate,
            &format!("https://{}", self.address),
        );
        let healthy = async || {
            let request = Request::get("/health").body(Vec::new());
            let said = client.request_text(request.expect("a path")).await?;
            if said.contains(r#""health":"true""#) {
                Ok(())
            } else {
                Err(said.into())
            }
        };
        let healthy = async || {
            healthy()
                .await
                .map_err(|error: Box<dyn Error>| error.to_string())
        };
        self.peer.ready(START_DEADLINE, healthy).await;
    }

    /// Where it listens for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The flags with which an API server reaches it.
    pub(crate) fn api_server_flags(&self) -> [String; 4] {
        [
            format!("--etcd-servers=https://{}", self.address),
            format!("--etcd-cafile={}", self.ca.display()),
            format!("--etcd-certfile={}", self.certificate.certificate.display()),
            format!("--etcd-keyfile={}", self.certificate.key.display()),
        ]
    }
}

/// A client of etcd's HTTP gateway, which shows this certificate and tries nothing twice.
///
/// # Panics
///
/// When the URL is none, or a file is not there.
#[must_use]
pub fn client(ca: &Path, user: &Issued, url: &str) -> Client {
    let mut config = Config::new(url.parse().expect("a URL"));
    config.root_cert_file = Some(ca.to_owned());
    config.auth_info.client_certificate = Some(user.certificate.display().to_string());
    config.auth_info.client_key = Some(user.key.display().to_string());
    config.default_retry = false;
    Client::try_from(config).expect("the CA and the user's files are ours")
}

fn name(node: u8) -> String {
    format!("etcd-{node}")
}

/// Where the members talk to each other.
fn member_url(place: &Place, node: u8) -> String {
    format!("https://{}", place.socket_address(node, 2380))
}

const START_DEADLINE: Duration = Duration::from_secs(60);
