//! One HTTP request on a connection of its own: what the checks and the load are made of.
//!
//! Nothing here retries or reuses a connection, and every request has a deadline: a request that
//! fails is a failure that a client would have seen.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The version of HTTP that a client offers; the server must take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A client that verifies servers against the demo's CA.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    http1: TlsConnector,
    http2: TlsConnector,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[error("{reason:#}")]
pub(crate) struct RequestError {
    /// Whether a byte of the server had come: from then on no balancer can ask another server.
    pub(crate) server_spoke: bool,
    reason: anyhow::Error,
}

impl RequestError {
    /// `reason`, and whether it came after the server's first byte.
    pub(crate) fn new(server_spoke: bool, reason: anyhow::Error) -> Self {
        Self {
            server_spoke,
            reason,
        }
    }
}

impl Client {
    /// A client that dials `address` and trusts the certificates in the PEM file `ca` only.
    pub(crate) fn new(address: SocketAddr, ca: &Path) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)
            .with_context(|| format!("cannot read {}", ca.display()))?
        {
            roots.add(certificate?)?;
        }
        let connector = |alpn: &[u8]| -> anyhow::Result<TlsConnector> {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![alpn.to_vec()];
            // Each handshake a full one: a resumed one would hide a certificate that does not match.
            config.resumption = rustls::client::Resumption::disabled();
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Self {
            address,
            http1: connector(b"http/1.1")?,
            http2: connector(b"h2")?,
        })
    }

    /// `GET /version` on a new connection; gives the name of the server that answered.
    pub(crate) async fn version(&self, protocol: Protocol) -> Result<String, RequestError> {
        self.get(protocol, "/version").await
    }

    /// `GET path` on a new connection; gives the name of the server that answered 200.
    pub(crate) async fn get(&self, protocol: Protocol, path: &str) -> Result<String, RequestError> {
        let server_spoke = Arc::new(AtomicBool::new(false));
        let exchange = self.exchange(protocol, path, Arc::clone(&server_spoke));
        let result = match tokio::time::timeout(DEADLINE, exchange).await {
            Ok(result) => result,
            Err(_) => Err(anyhow!("no answer within {} s", DEADLINE.as_secs())),
        };
        result.map_err(|reason| RequestError::new(server_spoke.load(Ordering::Relaxed), reason))
    }

    async fn exchange(
        &self,
        protocol: Protocol,
        path: &str,
        server_spoke: Arc<AtomicBool>,
    ) -> anyhow::Result<String> {
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let stream = Noticing {
            stream,
            server_spoke,
        };
        let tls = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        let server_name = ServerName::IpAddress(self.address.ip().into());
        let stream = tls
            .connect(server_name, stream)
            .await
            .context("TLS handshake")?;
        let name = name_of(&stream)?;
        let response = get(stream, protocol, &self.address.to_string(), path).await?;
        if response.status() != hyper::StatusCode::OK {
            bail!("GET {path} was answered {}", response.status());
        }
        Ok(name)
    }
}

/// Whom the server's certificate is for.
fn name_of(stream: &TlsStream<Noticing>) -> anyhow::Result<String> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.context("a server shows a certificate")?;
    let (_, certificate) = X509Certificate::from_der(certificate)?;
    let name = certificate.subject().iter_common_name().next();
    let name = name.context("the certificate is for nobody")?.as_str()?;
    Ok(name.to_owned())
}

/// Whether the admin endpoint at `address` says that its program is ready.
pub(crate) async fn is_ready(address: SocketAddr) -> bool {
    let request = async {
        let stream = TcpStream::connect(address).await?;
        get(stream, Protocol::Http1, &address.to_string(), "/readyz").await
    };
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(response)) => response.status() == hyper::StatusCode::OK,
        Ok(Err(_)) | Err(_) => false,
    }
}

/// One request over an open stream, its body read to the end and thrown away; then the connection
/// is closed in good order.
async fn get<S>(
    stream: S,
    protocol: Protocol,
    authority: &str,
    path: &str,
) -> anyhow::Result<hyper::Response<()>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    // Each sender is moved into its request and dropped with it: that is what ends the connection.
    let (response, _closed) = match protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await.context("HTTP/1.1")?;
            let request = hyper::Request::get(path)
                .header(hyper::header::HOST, authority)
                .body(Empty::<Bytes>::new())?;
            let exchange = async move { read(sender.send_request(request).await).await };
            tokio::join!(exchange, connection)
        }
        Protocol::Http2 => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .context("HTTP/2")?;
            let request = hyper::Request::get(format!("https://{authority}{path}"))
                .body(Empty::<Bytes>::new())?;
            let exchange = async move { read(sender.send_request(request).await).await };
            tokio::join!(exchange, connection)
        }
    };
    response
}

async fn read(
    response: hyper::Result<hyper::Response<Incoming>>,
) -> anyhow::Result<hyper::Response<()>> {
    let (head, body) = response.context("request")?.into_parts();
    Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map_err(|reason| anyhow!("the answer broke off: {reason}"))?;
    Ok(hyper::Response::from_parts(head, ()))
}

/// A stream that notices the first byte from the other side.
struct Noticing {
    stream: TcpStream,
    server_spoke: Arc<AtomicBool>,
}

impl AsyncRead for Noticing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.server_spoke.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Noticing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const DEADLINE: Duration = Duration::from_secs(5);
const BODY_LIMIT: usize = 64 * 1024;
