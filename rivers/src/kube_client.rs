//! A Kubernetes client whose connections are dialled as rivers dials: staggered across the API servers,
//! the first that completes TCP *and* TLS wins.
//!
//! `control` sends its requests through it. A kubeconfig gives credentials and CA; where to dial is said
//! apart, by [`servers`], because the address in a kubeconfig may well be the one server that is down.
//!
//! A hung API server costs seconds: a handshake that does not complete is overtaken after 200 ms, a
//! connection that stops answering HTTP/2 PINGs is dropped after [`PING_EVERY`] and [`PING_TIMEOUT`], and
//! a response must begin within [`RESPONSE_TIMEOUT`] and stay within bounds (`body`). A read (GET) that loses its connection before the
//! response began is sent once more; a write is not, since it may have been executed.

mod body;
mod stream;

use std::{
    error::Error as _,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request, Response, Uri};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use tokio_rustls::TlsConnector;
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

use self::{
    body::{Bounded, Expected},
    stream::Tls,
};
use crate::{
    config::address::{Address, AddressError, Host},
    decide::dial_plan::Order,
    dial,
};

/// Why a client cannot be made. Reaching the servers is not part of making one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An empty list.
    #[error("there is no API server to dial; name at least one, as HOST:6443")]
    NoServer,
    /// A kubeconfig whose server is no `https://HOST:PORT`.
    #[error("the kubeconfig's server `{0}` must be https://HOST:PORT, without a path")]
    NotHttps(Uri),
    /// A host in the kubeconfig that cannot be dialled.
    #[error("the kubeconfig's server is wrong")]
    Server(#[source] AddressError),
    /// `proxy-url` in the kubeconfig.
    #[error(
        "the kubeconfig asks for the proxy {0}; API servers are dialled directly, so remove `proxy-url`"
    )]
    Proxy(Uri),
    /// A host that cannot stand in a certificate.
    #[error("`{name}` cannot be the name in a server's certificate")]
    ServerName {
        /// The host or `tls-server-name`.
        name: String,
        /// What is wrong with it.
        source: InvalidDnsNameError,
    },
    /// Certificates or credentials of the kubeconfig cannot be used.
    #[error("the kubeconfig's credentials or certificates cannot be used")]
    Credentials(#[source] Box<kube::Error>),
}

/// Where the requests of `config` are to go: to a rivers on this machine when the kubeconfig names one (a
/// loopback server), else to the `control_plane`.
///
/// # Errors
/// The kubeconfig's server cannot be dialled by anybody.
pub fn servers(config: &Config, control_plane: Vec<Address>) -> Result<Vec<Address>, Error> {
    let server = configured_server(&config.cluster_url)?;
    if server.is_loopback() {
        return Ok(vec![server]);
    }
    Ok(control_plane)
}

fn configured_server(url: &Uri) -> Result<Address, Error> {
    let not_https = || Error::NotHttps(url.clone());
    if url.scheme() != Some(&http::uri::Scheme::HTTPS) || !matches!(url.path(), "" | "/") {
        return Err(not_https());
    }
    let authority = url.authority().ok_or_else(not_https)?;
    let port = authority.port_u16().unwrap_or(HTTPS_PORT);
    format!("{}:{port}", authority.host())
        .parse()
        .map_err(Error::Server)
}

/// A client with the credentials and the CA of `config`, dialling `servers` in their order, beginning
/// with the one that won the last dial. `config`'s server and time-outs are not used.
///
/// A server's certificate must carry `config.tls_server_name` if there is one, else the host that was
/// dialled. To be called inside a tokio runtime.
///
/// # Errors
/// See [`Error`]; nothing has been dialled yet.
pub fn connect(config: Config, servers: Vec<Address>) -> Result<Client, Error> {
    for server in &servers {
        server_name(server, config.tls_server_name.as_deref())?;
    }
    follow(config, move || servers.clone(), MAX_LENGTH)
}

/// A client as [`connect`] makes it, for `servers` that change: they are asked for at each dial. A response,
/// and each event of a watch, may have `max_length` bytes.
///
/// # Errors
/// See [`Error`]; nothing has been dialled yet.
pub(crate) fn follow(
    mut config: Config,
    servers: impl Fn() -> Vec<Address> + Send + Sync + 'static,
    max_length: usize,
) -> Result<Client, Error> {
    let Some(first) = servers().into_iter().next() else {
        return Err(Error::NoServer);
    };
    if let Some(proxy) = config.proxy_url {
        return Err(Error::Proxy(proxy));
    }
    // Only a name for the pool and the Host header: the connector dials whom it likes.
    let base = format!("https://{first}");
    config.cluster_url = base
        .parse()
        .map_err(|_| Error::Server(AddressError::BadHost(first.to_string())))?;

    let connector = Arc::new(Connector::new(&config, Box::new(servers))?);
    let http = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_adaptive_window(true)
        .build(tower::service_fn(move |_: Uri| {
            let connector = Arc::clone(&connector);
            // The pool wants a future that can be moved.
            Box::pin(async move { connector.dial().await })
        }));

    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(RetryPolicy::default()))
        .option_layer(config.auth_layer().map_err(credentials)?)
        .layer(config.extra_headers_layer().map_err(credentials)?)
        .map_err(BoxError::from)
        .service(tower::service_fn(move |request| {
            send(http.clone(), request, max_length)
        }));
    Ok(Client::new(service, config.default_namespace))
}

/// An error and its causes in one line, each once. What follows a line break is left out: a YAML error
/// quotes the file there, and a kubeconfig holds secrets.
#[must_use]
pub fn flat(error: &dyn std::error::Error) -> String {
    let first_line = |error: &dyn std::error::Error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let mut text = first_line(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = first_line(cause);
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn credentials(error: kube::Error) -> Error {
    Error::Credentials(Box::new(error))
}

/// What makes a connection for the pool.
struct Connector {
    servers: Box<dyn Fn() -> Vec<Address> + Send + Sync>,
    tls: TlsConnector,
    /// In every server's certificate, whatever its address.
    tls_server_name: Option<String>,
    /// The server that won last, so that connections of one client stay together.
    preferred: Mutex<Option<Address>>,
}

impl Connector {
    fn new(
        config: &Config,
        servers: Box<dyn Fn() -> Vec<Address> + Send + Sync>,
    ) -> Result<Self, Error> {
        Ok(Self {
            servers,
            tls: Arc::new(tls_config(config)?).into(),
            tls_server_name: config.tls_server_name.clone(),
            preferred: Mutex::new(None),
        })
    }

    async fn dial(&self) -> Result<TokioIo<Tls>, DialError> {
        let mut servers = (self.servers)();
        let preferred = self
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(at) = servers
            .iter()
            .position(|server| Some(server) == preferred.as_ref())
        {
            servers.rotate_left(at);
        }
        let order = Order::fixed(servers);
        let won = dial::race(order, CONNECT_TIMEOUT, |server| {
            self.attempt(server.clone())
        })
        .await;
        let won = won.map_err(DialError)?;
        *self
            .preferred
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(won.candidate);
        Ok(TokioIo::new(won.value))
    }

    async fn attempt(&self, server: Address) -> io::Result<Tls> {
        let name = server_name(&server, self.tls_server_name.as_deref());
        let name = name.map_err(io::Error::other)?;
        let stream = dial::tcp(&server, KEEPALIVE, CONNECT_TIMEOUT).await?;
        Ok(Tls(self.tls.connect(name, stream).await?))
    }
}

/// No API server could be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach an API server: {0}")]
struct DialError(dial::Failed<Address>);

fn server_name(address: &Address, configured: Option<&str>) -> Result<ServerName<'static>, Error> {
    let name = match (configured, &address.host) {
        (Some(name), _) => name,
        (None, Host::Name(name)) => name.as_str(),
        (None, Host::Ip(ip)) => return Ok(ServerName::IpAddress((*ip).into())),
    };
    let name = name.trim_end_matches('.');
    ServerName::try_from(name.to_owned()).map_err(|source| Error::ServerName {
        name: name.to_owned(),
        source,
    })
}

/// Makes aws-lc-rs the process's provider of cryptography, on which kube builds.
pub fn install_provider() {
    // A second installation is refused, and that is fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn tls_config(config: &Config) -> Result<ClientConfig, Error> {
    install_provider();
    let mut tls = config.rustls_client_config().map_err(credentials)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// Sends one request; a GET that finds its connection dead, once more.
async fn send<C>(
    http: legacy::Client<C, Body>,
    request: Request<Body>,
    max_length: usize,
) -> Result<Response<Bounded>, BoxError>
where
    C: legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let expected = Expected::of(&request);
    let again = (request.method() == Method::GET).then(|| copy_of(&request));
    let response = match (respond(&http, request).await, again) {
        (Err(Unanswered::Lost(_)), Some(again)) => respond(&http, again).await?,
        (outcome, _) => outcome?,
    };
    Ok(response.map(|body| Bounded::new(body, expected, max_length)))
}

/// A request without a body, once more.
fn copy_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

async fn respond<C>(
    http: &legacy::Client<C, Body>,
    request: Request<Body>,
) -> Result<Response<hyper::body::Incoming>, Unanswered>
where
    C: legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    match tokio::time::timeout(RESPONSE_TIMEOUT, http.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) if error.is_connect() => Err(Unanswered::Unreachable(error)),
        Ok(Err(error)) => Err(Unanswered::Lost(error)),
        Err(_) => Err(Unanswered::Late),
    }
}

/// A request to which no response began.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// The source is a [`DialError`], which says all.
    #[error("{}", .0.source().map_or_else(|| .0.to_string(), ToString::to_string))]
    Unreachable(legacy::Error),
    #[error("the connection to the API server was lost")]
    Lost(#[source] legacy::Error),
    #[error(
        "the API server did not answer within {}",
        daemon::duration::format(RESPONSE_TIMEOUT)
    )]
    Late,
}

/// For TCP and TLS to one of the servers. A healthy one needs milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An API server ends a request by itself after 60 s (`--request-timeout`); a watch begins at once.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(65);
/// Of a response: a LIST of 5,000 Nodes with their images has about 50 MiB.
const MAX_LENGTH: usize = 128 << 20;
/// While a response is awaited the server must answer a PING; the time between two.
const PING_EVERY: Duration = Duration::from_secs(2);
/// The time a PING may take before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// An unused connection is closed after this.
const POOL_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(15);
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests;
