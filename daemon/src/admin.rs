//! The admin endpoint: `/metrics`, `/healthz` and `/readyz` over HTTP/1.1, and the
//! pages that a program adds.
//!
//! It runs on a thread and a runtime of its own, so that it answers while the
//! data path is saturated.

pub mod html;
mod page;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::warn;

pub use self::page::{Page, Reply};
use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// What the endpoint tells about.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Behind `/readyz` and `/healthz`.
    pub readiness: Readiness,
    /// Behind `/metrics`.
    pub metrics: Metrics,
    /// Further pages, in the order in which `/` lists them. One at `/` takes the
    /// place of the list.
    pub pages: Vec<Page>,
}

/// A running endpoint. It lives as long as the process, or until it is stopped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// The address on which it listens, with the port that the kernel chose for
    /// port 0.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Gives the address up, and with it the connections there: when this returns
    /// somebody else can have it.
    pub fn stop(self) {
        // An error means that it has ended by itself, which the log tells.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// The endpoint could not be started.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for the admin endpoint: {}", reason(.source))]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

impl AdminError {
    /// Whether somebody else listens there already.
    #[must_use]
    pub fn is_address_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// Binds `address` and serves `endpoint` there from a thread of its own.
///
/// # Errors
/// The address cannot be bound, or the thread cannot be started.
pub fn serve(address: SocketAddr, endpoint: Endpoint) -> Result<Server, AdminError> {
    let failed = |source| AdminError { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, Arc::new(endpoint)) => {}
                    // Nobody can stop it any more when the other end is gone.
                    Ok(()) = stopped => {}
                }
            });
        })
        .map_err(failed)?;
    Ok(Server {
        address: local,
        stop,
        thread,
    })
}

async fn accept(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(%error, "the admin endpoint cannot run");
            return;
        }
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let endpoint = Arc::clone(&endpoint);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let endpoint = Arc::clone(&endpoint);
                        async move { Ok::<_, Infallible>(answer(&endpoint, &request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service);
                    // A client that goes away or stalls is its own affair.
                    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
                    drop(slot);
                });
            }
            // Descriptors ran out, most likely: they come back.
            Err(error) => {
                warn!(%error, "the admin endpoint cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(endpoint: &Endpoint, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
    }
    let path = request.uri().path();
    if let Some(page) = endpoint.pages.iter().find(|page| page.path == path) {
        return page.answer(request.uri().query().unwrap_or("")).await;
    }
    match path {
        "/metrics" => {
            let mut response = text(StatusCode::OK, endpoint.metrics.render());
            response.headers_mut().insert(
                CONTENT_TYPE,
                hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"),
            );
            response
        }
        "/healthz" => verdict("stuck", &endpoint.readiness.stuck(), &[]),
        "/readyz" => {
            let readiness = &endpoint.readiness;
            verdict("waiting for", &readiness.pending(), &readiness.remarks())
        }
        "/" => text(StatusCode::OK, contents(endpoint)),
        _ => text(
            StatusCode::NOT_FOUND,
            "nothing here; / lists what there is\n",
        ),
    }
}

fn contents(endpoint: &Endpoint) -> String {
    let pages = endpoint.pages.iter();
    let pages = pages.map(|page| format!("{}  {}\n", page.path, page.about));
    ["/metrics\n/healthz\n/readyz\n".to_owned()]
        .into_iter()
        .chain(pages)
        .collect()
}

/// Good when there are no `names`; a line for each of `remarks` either way.
fn verdict(what: &str, names: &[String], remarks: &[String]) -> Response<Full<Bytes>> {
    let (status, mut body) = if names.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        let body = format!("{what}: {}\n", names.join(", "));
        (StatusCode::SERVICE_UNAVAILABLE, body)
    };
    for remark in remarks {
        body.push_str(remark);
        body.push('\n');
    }
    text(status, body)
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use; choose another, or end the process that holds it (`ss -ltnp` names it)"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Two scrapers, a kubelet and some people at once need a dozen.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A scraper's kept-open connection is closed after it, and opened again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    fn start() -> (SocketAddr, Readiness) {
        let (server, readiness) = server();
        (server.local_addr(), readiness)
    }

    fn server() -> (Server, Readiness) {
        let readiness = Readiness::new();
        let echo = |query: String| async move {
            match query.as_str() {
                "" => Reply::not_found("ask something"),
                query => Reply::json(format!("{query:?}")),
            }
        };
        let server = serve(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            Endpoint {
                readiness: readiness.clone(),
                metrics: Metrics::install(),
                pages: vec![Page::new("/echo", "says the query", echo)],
            },
        )
        .unwrap();
        (server, readiness)
    }

    #[test]
    fn a_page_of_the_program_answers_and_is_listed() {
        let (address, _) = start();
        let answer = get(address, "/echo?who=me");
        assert!(answer.ends_with("\r\n\r\n\"who=me\""), "{answer}");
        assert!(get(address, "/echo").starts_with("HTTP/1.1 404"));
        assert!(get(address, "/").contains("/echo  says the query\n"));
    }

    #[test]
    fn when_it_is_stopped_its_address_is_free() {
        let (server, _) = server();
        let address = server.local_addr();
        let _idle = TcpStream::connect(address).unwrap();
        server.stop();
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn readyz_names_what_is_pending_and_then_says_ok() {
        let (address, readiness) = start();
        let pending = readiness.task("listen on 127.0.0.1:16443");
        let response = get(address, "/readyz");
        assert!(response.starts_with("HTTP/1.1 503"), "{response}");
        assert!(response.ends_with("waiting for: listen on 127.0.0.1:16443\n"));
        pending.done();
        readiness.remark("configuration", Some("refused".to_owned()));
        let response = get(address, "/readyz");
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(
            response.ends_with("ok\nconfiguration: refused\n"),
            "{response}"
        );
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn metrics_and_unknown_paths_are_answered() {
        let (address, _) = start();
        assert!(get(address, "/metrics").contains("text/plain; version=0.0.4"));
        assert!(get(address, "/nothing").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn garbage_does_not_end_the_endpoint() {
        let (address, _) = start();
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n")
            .unwrap();
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn a_taken_address_is_said_in_one_sentence() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = serve(
            address,
            Endpoint {
                readiness: Readiness::new(),
                metrics: Metrics::install(),
                pages: Vec::new(),
            },
        )
        .unwrap_err();
        assert!(error.is_address_in_use());
        assert!(
            error.to_string().contains(&format!("{address}"))
                && error.to_string().contains("in use"),
            "{error}"
        );
    }
}
