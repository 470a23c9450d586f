//! etcd, one member, which like a cluster's own asks its clients for a certificate.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::binaries;
use crate::launch::Launch;
use crate::peer::Peer;
use crate::pki::{Issued, Pki};
use crate::place::Place;

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
    ca: PathBuf,
    certificate: Issued,
}

impl Etcd {
    /// Starts it on `address(2)`, port 2379, as on the first control plane node, and waits until it
    /// accepts connections.
    ///
    /// `None` when there is no etcd on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(place: &Place, pki: &Pki) -> Option<Self> {
        let program = binaries::built("etcd")?;
        let address = place.socket_address(2, 2379);
        let certificate = pki.server("etcd", &["localhost"], &[address.ip()]);
        let ca = pki.ca_file();
        let [client, member] =
            [2379, 2380].map(|port| format!("https://{}", place.socket_address(2, port)));
        let mut peer = Launch::new(place, "etcd", &program)
            .arg(format!(
                "--data-dir={}",
                place.folder().join("etcd").display()
            ))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={member}"))
            .arg(format!("--initial-advertise-peer-urls={member}"))
            .arg(format!("--initial-cluster=default={member}"))
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
        peer.ready(START_DEADLINE, async || TcpStream::connect(address))
            .await;
        Some(Self {
            peer,
            address,
            ca,
            certificate,
        })
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

const START_DEADLINE: Duration = Duration::from_secs(60);
