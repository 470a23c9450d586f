//! CoreDNS: the cluster's DNS, or with its plugins a server that misbehaves as told.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::binaries;
use crate::dns::{Question, RecordType};
use crate::launch::Launch;
use crate::peer::Peer;
use crate::place::Place;

/// A running CoreDNS.
#[derive(Debug)]
pub struct CoreDns {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
}

impl CoreDns {
    /// Starts it with a Corefile that listens on this address for some zone, and waits until it
    /// answers there, be it with REFUSED.
    ///
    /// `None` when there is no CoreDNS on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(place: &Place, address: SocketAddr, corefile: &str) -> Option<Self> {
        let program = binaries::built("coredns")?;
        let name = format!("coredns-{}-{}", address.ip(), address.port());
        let file = place.folder().join(format!("{name}.corefile"));
        fs::write(&file, corefile).expect("a test can write to its folder");
        let mut peer = Launch::new(place, &name, &program)
            .arg("-conf")
            .arg(&file)
            .start();
        let question = Question::new(".", RecordType::NS);
        peer.ready(START_DEADLINE, async || question.ask(address).await)
            .await;
        Some(Self { peer, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Its kubernetes plugin waits five seconds for the API by itself.
const START_DEADLINE: Duration = Duration::from_secs(60);
