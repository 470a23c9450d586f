//! A node: nodedns with a configuration, and what it counts.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::peer::Peer;
use tests::place::Place;
use tests::program;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A running nodedns.
pub(crate) struct Node {
    pub(crate) peer: Peer,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl Node {
    /// Starts nodedns on the place's first address with these zones, as YAML list items, and waits
    /// until it is ready.
    pub(crate) async fn start(place: &Place, zones: &str) -> Self {
        let (address, admin) = (address(place), place.socket_address(1, 9253));
        let mut peer = launch(place, &configuration(place, zones)).start();
        let node = |peer| Self {
            peer,
            address,
            admin,
        };
        peer.ready(Duration::from_secs(10), async || {
            get(admin, "/readyz").await.and_then(|(code, body)| {
                (code == 200)
                    .then_some(())
                    .ok_or_else(|| io::Error::other(body))
            })
        })
        .await;
        node(peer)
    }

    /// The sum of a metric's series whose labels contain `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = get(self.admin, "/metrics").await.unwrap();
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(labels))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// The addresses that a name has, whatever else the reply says.
    pub(crate) async fn addresses(&self, name: &str) -> Vec<String> {
        let reply = Question::new(name, RecordType::A).ask(self.address).await;
        reply.unwrap().data(RecordType::A)
    }
}

/// Where nodedns answers in this place.
pub(crate) fn address(place: &Place) -> SocketAddr {
    place.socket_address(1, 5353)
}

/// A configuration for this place with these zones.
pub(crate) fn configuration(place: &Place, zones: &str) -> String {
    let (address, admin) = (address(place), place.socket_address(1, 9253));
    format!("listen: [\"{address}\"]\nadmin: \"{admin}\"\nzones:\n{zones}\n")
}

/// nodedns with this configuration, its log at debug.
pub(crate) fn launch(place: &Place, configuration: &str) -> Launch {
    program::nodedns(place)
        .arg("--config")
        .arg(write(place, configuration))
        .arg("--log-level=debug")
}

/// Writes the configuration.
pub(crate) fn write(place: &Place, configuration: &str) -> PathBuf {
    let file = place.folder().join("nodedns.yml");
    fs::write(&file, configuration).unwrap();
    file
}

/// A zone of the configuration, forwarded to these servers.
pub(crate) fn zone(name: &str, servers: &[String]) -> String {
    format!("- {{name: {name}, forward: {servers:?}}}\n")
}

/// The status and the body of a page.
async fn get(server: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = reply
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    status
        .zip(body)
        .ok_or_else(|| io::Error::other(format!("no HTTP: {reply}")))
}
