//! A running rivers, and small servers behind it that a test plays itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tests::admin::Admin;
use tests::peer::Peer;
use tests::place::Place;
use tests::{program, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A rivers that accepts clients.
pub(crate) struct Rivers {
    pub(crate) peer: Peer,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Admin,
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
            .arg(format!("--state-dir={}", state_dir(place).display()))
            .arg(program::run_dir(place))
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
            admin: Admin(admin),
        };
        let accepts = async || TcpStream::connect(listen).await;
        rivers.peer.ready(PATIENCE, accepts).await;
        rivers
    }

    /// Waits until one upstream of each listener is up.
    pub(crate) async fn ready(&self) {
        wait::until("/readyz", PATIENCE, async || self.admin.ready().await).await;
    }

    pub(crate) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.listen).await.unwrap()
    }

    /// How often it has logged this.
    pub(crate) fn times(&self, text: &str) -> usize {
        self.peer.log().matches(text).count()
    }

    /// Waits until it has logged this more often than so many times.
    pub(crate) async fn said_again(&self, text: &str, before: usize) {
        wait::until(text, PATIENCE, async || {
            if self.times(text) > before {
                Ok(())
            } else {
                Err(self.peer.log())
            }
        })
        .await;
    }

    /// Whether an upstream is in the set, whatever is believed of it.
    pub(crate) async fn knows(&self, upstream: SocketAddr) -> bool {
        let upstream = upstream.to_string();
        let labels = [("upstream", upstream.as_str())];
        self.admin.metric("rivers_upstream_state", &labels).await > 0.5
    }

    /// Waits until rivers believes this of an upstream.
    pub(crate) async fn believes(&self, upstream: SocketAddr, state: &str) {
        let upstream = upstream.to_string();
        let labels = [("upstream", upstream.as_str()), ("state", state)];
        wait::until(&format!("{upstream} to be {state}"), PATIENCE, async || {
            let value = self.admin.metric("rivers_upstream_state", &labels).await;
            if value > 0.5 { Ok(()) } else { Err("not yet") }
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

/// Where it keeps what outlives it.
pub(crate) fn state_dir(place: &Place) -> PathBuf {
    place.folder().join("state")
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

/// An echo that tells its name, a letter, to each client before anything else.
pub(crate) async fn named_echo(address: SocketAddr, name: &'static str) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(name.as_bytes()).await;
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
}

/// The name that the server at the other end tells.
pub(crate) async fn whom(stream: &mut TcpStream) -> String {
    let mut name = [0];
    stream.read_exact(&mut name).await.unwrap();
    String::from_utf8(name.to_vec()).unwrap()
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
