//! A running rivers, and small servers behind it that a test plays itself.

use std::net::SocketAddr;
use std::time::Duration;

use tests::peer::Peer;
use tests::place::Place;
use tests::{program, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A rivers that accepts clients.
pub(crate) struct Rivers {
    pub(crate) peer: Peer,
    pub(crate) listen: SocketAddr,
    admin: SocketAddr,
}

impl Rivers {
    /// Starts it on the place's node in front of these servers, with further flags.
    pub(crate) async fn start(place: &Place, upstreams: &[SocketAddr], flags: &[&str]) -> Self {
        let (listen, admin) = (listen(place), admin(place));
        let upstreams: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
        let peer = program::rivers(place)
            .arg(format!("--listen={listen}"))
            .arg(format!("--upstreams={}", upstreams.join(",")))
            .arg(format!("--admin={admin}"))
            .arg("--loglevel=debug")
            .args(flags)
            .start();
        Self::accepting(peer, listen, admin).await
    }

    /// Waits until a rivers that was started otherwise accepts clients.
    pub(crate) async fn accepting(peer: Peer, listen: SocketAddr, admin: SocketAddr) -> Self {
        let mut rivers = Self {
            peer,
            listen,
            admin,
        };
        let accepts = async || TcpStream::connect(listen).await;
        rivers.peer.ready(PATIENCE, accepts).await;
        rivers
    }

    /// Waits until one upstream of each listener is up.
    pub(crate) async fn ready(&self) {
        wait::until("/readyz", PATIENCE, async || {
            let text = self.get("/readyz").await;
            if text.starts_with("HTTP/1.1 200") {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
    }

    pub(crate) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.listen).await.unwrap()
    }

    /// The response of the admin endpoint, head and all.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: rivers\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    /// The value of the metric that has this name and these labels; 0 when there is none.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.get("/metrics").await;
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until rivers believes this of an upstream.
    pub(crate) async fn believes(&self, upstream: SocketAddr, state: &str) {
        let upstream = upstream.to_string();
        let labels = [("upstream", upstream.as_str()), ("state", state)];
        wait::until(&format!("{upstream} to be {state}"), PATIENCE, async || {
            let value = self.metric("rivers_upstream_state", &labels).await;
            if value > 0.5 { Ok(()) } else { Err("not yet") }
        })
        .await;
    }

    /// Waits until it has logged this.
    pub(crate) async fn says(&self, text: &str) {
        wait::until(text, PATIENCE, async || {
            let log = self.peer.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
        .await;
    }
}

/// Where rivers listens for clients in a place.
pub(crate) fn listen(place: &Place) -> SocketAddr {
    place.socket_address(1, 16443)
}

/// Where its admin endpoint is.
pub(crate) fn admin(place: &Place) -> SocketAddr {
    place.socket_address(1, 16480)
}

/// A server that sends back what it gets, FIN included, until the test's end.
pub(crate) async fn echo(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                // A client that resets is the test's own doing.
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
}

/// Sends a word through, and waits for it to come back.
pub(crate) async fn exchange(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"word").await?;
    let mut word = [0; 4];
    stream.read_exact(&mut word).await?;
    assert_eq!(&word, b"word");
    Ok(())
}

/// For what takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
