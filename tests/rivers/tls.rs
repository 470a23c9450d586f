//! TLS as a test plays it: a client of an API server, and a server whose certificate is what matters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tests::pki::{Issued, Pki};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// A client's connection to an API server through `address`.
pub(crate) struct Client(TlsStream<TcpStream>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr, pki: &Pki) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(pki.ca_der())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("kubernetes").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self(connector.connect(name, stream).await?))
    }

    /// One request and its answer; the connection stays open.
    pub(crate) async fn version(&mut self) -> std::io::Result<()> {
        self.0
            .write_all(b"GET /version HTTP/1.1\r\nhost: kubernetes\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            if self.0.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        Ok(())
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(mut self) {
        while !matches!(self.0.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
    }
}

/// A server that shows a certificate to those who speak TLS, and sends back what anybody else says: a probe
/// is the one, a client of the test the other.
pub(crate) struct Server {
    clients: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Server {
    pub(crate) async fn start(address: SocketAddr, certificate: &Issued) -> Self {
        let chain = CertificateDer::pem_file_iter(&certificate.certificate).unwrap();
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await.unwrap();
        let clients = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&clients);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                tokio::spawn(serve(stream, acceptor, counter));
            }
        });
        Self {
            clients,
            task: task.abort_handle(),
        }
    }

    /// How many connections had a byte of a client.
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::SeqCst)
    }

    /// Accepts nobody any more.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, acceptor: TlsAcceptor, clients: Arc<AtomicUsize>) {
    let mut first = [0];
    // A probe that only connects says nothing.
    if stream.peek(&mut first).await.unwrap_or(0) == 0 {
        return;
    }
    if first == [TLS_HANDSHAKE] {
        // A probe that refuses our certificate is what tests are about.
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let _ = stream.read(&mut [0; 64]).await;
        }
        return;
    }
    clients.fetch_add(1, Ordering::SeqCst);
    let (mut from, mut to) = stream.split();
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// The first byte of a TLS connection (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
