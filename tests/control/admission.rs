//! A real admission webhook: HTTPS with the certificate of a Secret, which it loads anew as
//! a pod's mounted Secret changes.
//!
//! It ends each connection after one answer, so that every call is a new handshake: a
//! certificate that an API server does not trust is found out at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A running webhook. It ends when it is dropped.
pub(crate) struct Webhook {
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Webhook {
    /// Serves at `address` with the certificate in the Secret; waits for neither.
    pub(crate) fn start(address: SocketAddr, secrets: Api<Secret>, name: &'static str) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(address, secrets, name, Arc::clone(&calls)));
        Self { calls, task }
    }

    /// How many calls it has answered.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    address: SocketAddr,
    secrets: Api<Secret>,
    name: &'static str,
    calls: Arc<AtomicUsize>,
) {
    let listener = TcpListener::bind(address).await.unwrap();
    let mut shown = None;
    let mut reload = tokio::time::interval(RELOAD);
    loop {
        tokio::select! {
            _ = reload.tick() => {
                // An API server that is busy is asked again.
                if let Ok(secret) = secrets.get(name).await {
                    shown = acceptor(&secret).or(shown);
                }
            }
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                if let Some(acceptor) = shown.clone() {
                    tokio::spawn(converse(acceptor, stream, Arc::clone(&calls)));
                }
            }
        }
    }
}

fn acceptor(secret: &Secret) -> Option<TlsAcceptor> {
    let data = secret.data.as_ref()?;
    let chain = CertificateDer::pem_slice_iter(&data.get("tls.crt")?.0)
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let key = PrivateKeyDer::from_pem_slice(&data.get("tls.key")?.0).ok()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .ok()?;
    Some(TlsAcceptor::from(Arc::new(config)))
}

async fn converse(acceptor: TlsAcceptor, stream: TcpStream, calls: Arc<AtomicUsize>) {
    // Who does not trust our certificate goes away here.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let answer = service_fn(async |request| {
        let review = review(request).await;
        calls.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(review.to_string()))))
    });
    let _ = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// Allows whatever is not called `forbidden`.
async fn review(request: Request<Incoming>) -> Value {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": asked["request"]["uid"],
            "allowed": asked["request"]["name"] != "forbidden",
        },
    })
}

const RELOAD: Duration = Duration::from_millis(200);
