//! An API server's stand-in: TLS, HTTP/1.1 and HTTP/2, and the few paths that the demo asks for.
//!
//! It runs as a process of its own (see [`super::part`]), so that killing it is a real SIGKILL. It
//! knows no objects, no users and no storage; it only answers readiness and its version.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, tls.clone()));
            }
            // Out of descriptors, or the client was gone before it was accepted: the listener is sound.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The server's side of TLS from PEM files, offering HTTP/2 before HTTP/1.1 as a real one does.
pub(crate) fn tls(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read certificates from {}", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read a private key from {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// One connection. Its errors are its client's business: a stand-in has nobody to tell.
async fn connection(stream: TcpStream, tls: TlsAcceptor) {
    // As Go's servers do; else Nagle and the client's delayed ACK add 40 ms to a request.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(Ok(stream)) = tokio::time::timeout(CLIENT_PATIENCE, tls.accept(stream)).await else {
        return;
    };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_PATIENCE);
    let service = service_fn(async |request| Ok::<_, Infallible>(respond(&request)));
    let _client_error = server.serve_connection(TokioIo::new(stream), service).await;
}

fn respond(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/readyz" | "/livez") => (StatusCode::OK, "text/plain", "ok".to_owned()),
        (&Method::GET, "/version") => (StatusCode::OK, "application/json", version()),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "a stand-in knows /readyz, /livez and /version only\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}

/// Kubernetes' `/version`, which says that this is none.
fn version() -> String {
    let version = serde_json::json!({
        "major": "0",
        "minor": "0",
        "gitVersion": "v0.0.0-stand-in",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    format!("{version:#}\n")
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::demo::certificates::Certificates;
    use crate::demo::request::{Client, Protocol};

    #[tokio::test]
    async fn it_is_ready_and_tells_its_name_over_both_versions_of_http() {
        let folder = tempfile::tempdir().unwrap();
        let (address, certificates) = start(folder.path(), Ipv4Addr::LOCALHOST).await;
        let client = Client::new(address, &certificates.ca).unwrap();
        for protocol in [Protocol::Http1, Protocol::Http2] {
            client.get(protocol, "/readyz").await.unwrap();
            assert_eq!(client.version(protocol).await.unwrap(), "a");
        }
    }

    #[tokio::test]
    async fn what_it_does_not_know_it_denies() {
        let folder = tempfile::tempdir().unwrap();
        let (address, certificates) = start(folder.path(), Ipv4Addr::LOCALHOST).await;
        let client = Client::new(address, &certificates.ca).unwrap();
        let error = client
            .get(Protocol::Http1, "/api/v1/nodes")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
    }

    #[tokio::test]
    async fn a_client_of_another_ca_refuses_it() {
        let folder = tempfile::tempdir().unwrap();
        let (address, _) = start(folder.path(), Ipv4Addr::LOCALHOST).await;
        let other = tempfile::tempdir().unwrap();
        let other = Certificates::create(other.path()).unwrap();
        let client = Client::new(address, &other.ca).unwrap();
        let error = client.version(Protocol::Http1).await.unwrap_err();
        assert!(
            error.to_string().contains("invalid peer certificate"),
            "{error}"
        );
        assert!(error.server_spoke);
    }

    #[tokio::test]
    async fn a_client_that_dials_an_address_not_in_the_certificate_refuses_it() {
        let folder = tempfile::tempdir().unwrap();
        let (address, certificates) = start(folder.path(), Ipv4Addr::new(127, 0, 0, 2)).await;
        let client = Client::new(address, &certificates.ca).unwrap();
        client.version(Protocol::Http1).await.unwrap_err();
    }

    /// A stand-in on 127.0.0.1 whose certificate is for `named`.
    async fn start(folder: &Path, named: Ipv4Addr) -> (SocketAddr, Certificates) {
        let certificates = Certificates::create(folder).unwrap();
        let issued = certificates.server("a", &[named]).unwrap();
        let tls = tls(&issued.certificate, &issued.key).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, tls));
        (address, certificates)
    }
}
