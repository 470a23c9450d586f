//! A way to an upstream: TCP, TLS with its certificate verified, and HTTP/2 to be kept open, or whatever
//! less than that the upstream can do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    kept::{Kept, USER_AGENT},
    metered::{Allowance, Metered},
    readyz::judge,
    trouble::{Trouble, is_silence, trouble},
    trust::{Witness, provider, words},
};
use crate::{config::Mode, decide::Finding, dial};

/// Whom to reach, and how.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) sockets: Arc<[SocketAddr]>,
    pub(super) name: ServerName<'static>,
    /// `host:port`, for requests.
    pub(super) authority: String,
    pub(super) mode: Mode,
    pub(super) keepalive: Duration,
    /// For the TCP connection. The rest has [`PATIENCE`].
    pub(super) limit: Duration,
}

/// What an upstream turned out to be able to do.
pub(super) enum Opened {
    /// HTTP/2, to be kept open.
    Kept(Box<Kept>),
    /// HTTP/1.1; it was asked at once, and this was its answer.
    Answered(Finding, Option<String>),
    /// A TLS handshake, which was all that was wanted.
    Shaken,
}

/// Opens a way. What its certificate was worth is told to `witness` on the way, whatever the outcome.
pub(super) async fn open(
    way: Way,
    witness: Arc<Witness>,
    allowance: Allowance,
) -> Result<Opened, Trouble> {
    let stream = connect(&way.sockets, way.keepalive, way.limit).await?;
    if let Ok(peer) = stream.peer_addr() {
        witness.meets(peer);
    }
    // Where packets are swallowed the kernel gives up, and a new connection finds the way back sooner than
    // the pauses of this one's retransmissions. What a hung process has not read yet does not count.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(SWALLOWED));
    match timeout(PATIENCE, speak(stream, way, witness, allowance)).await {
        Ok(opened) => opened,
        Err(_) => Err(Trouble::Silent("no answer to a TLS handshake".to_owned())),
    }
}

/// A TCP connection.
pub(super) async fn connect(
    sockets: &[SocketAddr],
    keepalive: Duration,
    limit: Duration,
) -> Result<TcpStream, Trouble> {
    match timeout(limit, dial::any(sockets, keepalive, limit)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if !is_silence(&error) => Err(Trouble::Failed(dial::reason(&error))),
        Ok(Err(_)) | Err(_) => Err(Trouble::Silent(format!(
            "no answer to a connect for {}",
            daemon::duration::format(limit)
        ))),
    }
}

async fn speak(
    stream: TcpStream,
    way: Way,
    witness: Arc<Witness>,
    allowance: Allowance,
) -> Result<Opened, Trouble> {
    let stream = Metered { stream, allowance };
    let mut stream = TlsConnector::from(client(witness, way.mode)?)
        .connect(way.name, stream)
        .await
        .map_err(|error| trouble(&error))?;
    let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    match protocol.as_deref() {
        _ if way.mode == Mode::Tls => {
            // So that the server sees a connection that was closed, not one that broke.
            let _ = stream.shutdown().await;
            Ok(Opened::Shaken)
        }
        Some(b"h2") => {
            let kept = Kept::open(stream, way.authority).await?;
            Ok(Opened::Kept(Box::new(kept)))
        }
        Some(b"http/1.1") => get(stream, &way.authority).await,
        _ => {
            let _ = stream.shutdown().await;
            Err(Trouble::Unable("speaks no HTTP over TLS".to_owned()))
        }
    }
}

/// Each handshake whole: a resumed one shows no certificate.
fn client(witness: Arc<Witness>, mode: Mode) -> Result<Arc<ClientConfig>, Trouble> {
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Trouble::Failed(words(&error)))?
        .dangerous()
        .with_custom_certificate_verifier(witness)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    if mode != Mode::Tls {
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Ok(Arc::new(client))
}

/// `/readyz` once over HTTP/1.1. Nothing of the answer is kept but its status and what follows of 4 KiB.
async fn get(
    mut stream: TlsStream<Metered<TcpStream>>,
    authority: &str,
) -> Result<Opened, Trouble> {
    let request = format!(
        "GET /readyz HTTP/1.1\r\nhost: {authority}\r\nuser-agent: {USER_AGENT}\r\nconnection: close\r\n\r\n"
    );
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        (&mut stream)
            .take(MAX_ANSWER)
            .read_to_end(&mut answer)
            .await
    };
    let ended = exchange.await;
    let status = answer
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok());
    let Some(status) = status else {
        return Err(match ended {
            Err(error) => trouble(&error),
            Ok(_) => Trouble::Unable("speaks no HTTP over TLS".to_owned()),
        });
    };
    let _ = stream.shutdown().await;
    let (finding, reason) = judge(status, &answer);
    Ok(Opened::Answered(finding, reason))
}

/// How long the kernel waits for an acknowledgement.
const SWALLOWED: Duration = Duration::from_secs(3);
/// How long a server that accepts may take for a handshake. A hung one is silent all the while; as long as
/// our half-done handshake stays, there will not be another for it to complain about.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_ANSWER: u64 = 4 * 1024;
