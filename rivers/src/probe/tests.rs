//! Probes of peers of every kind: those that can less, those that lie, and those that never stop talking.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;
use crate::{
    config::{Balance, Health, Replay},
    decide::Core,
};

/// A server that shows a certificate for 127.0.0.1, and the file of that.
struct Shown {
    address: SocketAddr,
    ca_file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Shown {
    /// `serve` gets each connection whose handshake is done.
    async fn start<F>(
        protocols: &[&str],
        serve: impl Fn(TlsStream<TcpStream>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.crt");
        std::fs::write(&ca_file, cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(trust::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    tokio::spawn(serve(stream));
                }
            }
        });
        Self {
            address,
            ca_file,
            _folder: folder,
        }
    }
}

/// A prober, and what it says.
struct Case {
    prober: Prober,
    sockets: Arc<[SocketAddr]>,
    events: mpsc::Receiver<Event>,
}

impl Case {
    fn new(address: SocketAddr, mode: Mode, ca_file: Option<PathBuf>) -> Self {
        let listener = Listener {
            name: "test".to_owned(),
            listen: "127.0.0.1:1".parse().unwrap(),
            upstreams: vec![address.into()],
            discovery: None,
            balance: Balance::default(),
            dial_timeout: LIMIT,
            keepalive: LIMIT,
            replay: Replay::default(),
            rebalance: None,
            health: Health {
                mode,
                ca_file,
                timeout: Duration::from_millis(500),
                ..Health::default()
            },
        };
        let mut core = Core::new(1);
        let id = crate::decide::ListenerId(0);
        let now = std::time::Instant::now();
        core.listen(id, &listener.upstreams, listener.health.clone(), now);
        let upstream = core.snapshot().choices(id)[0].id;
        let (sender, events) = mpsc::channel(8);
        let address = Arc::new(listener.upstreams[0].clone());
        let listener = Arc::new(listener);
        let prober = Prober::start(
            &listener,
            upstream,
            &address,
            &mut Bundles::default(),
            sender,
        );
        Self {
            prober,
            sockets: [listener.upstreams[0].to_string().parse().unwrap()].into(),
            events,
        }
    }

    /// What one probe finds, what it says of that, and of the certificate if anything.
    async fn probe(&mut self) -> (Finding, String, Option<bool>) {
        self.prober.probe(Ask::Ready, Arc::clone(&self.sockets));
        let mut certificate = None;
        loop {
            match timeout(LIMIT, self.events.recv()).await.unwrap().unwrap() {
                Event::Verified { is_verified, .. } => certificate = Some(is_verified),
                Event::Found {
                    finding, reason, ..
                } => {
                    let reason = reason.map_or(String::new(), |reason| reason.to_string());
                    return (finding, reason, certificate);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn answer_http_1(mut stream: TlsStream<TcpStream>) {
    let mut request = [0; 1024];
    let read = stream.read(&mut request).await.unwrap();
    assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
    let answer = b"HTTP/1.1 500 Internal Server Error\r\n\r\n[-]etcd failed: reason withheld\n";
    stream.write_all(answer).await.unwrap();
    let _ = stream.shutdown().await;
}

async fn flood(mut stream: TlsStream<TcpStream>) {
    while stream.write_all(&[0; 16 * 1024]).await.is_ok() {}
}

#[tokio::test]
async fn a_server_of_http_1_is_asked_by_a_get() {
    let server = Shown::start(&["http/1.1"], answer_http_1).await;
    let mut case = Case::new(server.address, Mode::Auto, Some(server.ca_file.clone()));
    for _ in 0..3 {
        let (finding, reason, certificate) = case.probe().await;
        assert_eq!(
            (finding, reason.as_str(), certificate),
            (Finding::Draining, "readyz says 500: etcd", Some(true))
        );
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_http_is_connected_to_in_auto_and_down_in_readyz() {
    let server = Shown::start(&[], |_| async {}).await;
    let mut auto = Case::new(server.address, Mode::Auto, Some(server.ca_file.clone()));
    assert_eq!(
        auto.probe().await,
        (Finding::Alive, String::new(), Some(true))
    );
    assert_eq!(auto.probe().await, (Finding::Alive, String::new(), None));
    let mut readyz = Case::new(server.address, Mode::Readyz, None);
    let said = (Finding::Failed, "speaks no HTTP over TLS".to_owned(), None);
    assert_eq!(readyz.probe().await, said);
    let mut tls = Case::new(server.address, Mode::Tls, Some(server.ca_file.clone()));
    assert_eq!(
        tls.probe().await,
        (Finding::Alive, String::new(), Some(true))
    );
}

#[tokio::test]
async fn a_certificate_that_is_no_good_is_not_looked_at_again_and_again() {
    let [server, other] = [
        Shown::start(&[], |_| async {}).await,
        Shown::start(&[], |_| async {}).await,
    ];
    let mut case = Case::new(server.address, Mode::Auto, Some(other.ca_file.clone()));
    let reason = "certificate signed by unknown authority".to_owned();
    assert_eq!(
        case.probe().await,
        (Finding::Failed, reason.clone(), Some(false))
    );
    assert_eq!(case.probe().await, (Finding::Failed, reason, None));
}

#[tokio::test]
async fn a_server_without_tls_is_connected_to_unless_a_certificate_is_due() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let mut case = Case::new(address, Mode::Auto, None);
    assert_eq!(case.probe().await, (Finding::Alive, String::new(), None));
    let server = Shown::start(&[], |_| async {}).await;
    let mut case = Case::new(address, Mode::Auto, Some(server.ca_file.clone()));
    let (finding, reason, certificate) = case.probe().await;
    assert_eq!((finding, certificate), (Finding::Failed, None));
    assert!(reason.contains("speaks no TLS"), "{reason}");
}

#[tokio::test]
async fn a_server_that_never_stops_talking_is_no_good() {
    for protocol in ["h2", "http/1.1"] {
        let server = Shown::start(&[protocol], flood).await;
        let mut case = Case::new(server.address, Mode::Auto, None);
        let (finding, ..) = case.probe().await;
        assert!(
            matches!(finding, Finding::Failed | Finding::Alive),
            "{finding:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_silent_however_often_it_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut case = Case::new(listener.local_addr().unwrap(), Mode::Auto, None);
    for waited in ["500ms", "1s"] {
        let said = format!("no answer to a TLS handshake for {waited}");
        assert_eq!(case.probe().await, (Finding::Silent, said, None));
    }
    // It waits on the same connection.
    listener.accept().await.unwrap();
    assert!(
        timeout(Duration::from_millis(50), listener.accept())
            .await
            .is_err()
    );
}

const LIMIT: Duration = Duration::from_secs(10);
