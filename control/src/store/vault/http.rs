//! One request to Vault and its answer: a connection each, a deadline for all of it, a
//! bound for the answer. There are a handful in a run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::secret::Secret;

/// Where Vault is, and whom we trust to be it.
pub(super) struct Endpoint {
    url: String,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.url)
    }
}

/// What is done to a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    Get,
    Post,
}

/// Why there is no answer, or no good one.
#[derive(Debug)]
pub(super) enum HttpError {
    /// Vault's own no.
    Refused { status: u16, errors: Vec<String> },
    /// No answer that could be read.
    Unanswered(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(why) => f.write_str(why),
            Self::Refused { status, errors } => {
                match status {
                    403 => f.write_str("the AppRole lacks the right (403)")?,
                    404 => f.write_str("there is no such thing (404)")?,
                    503 => f.write_str("it is sealed or in maintenance (503)")?,
                    status => write!(f, "it says {status}")?,
                }
                if !errors.is_empty() {
                    write!(f, ": {}", errors.join("; "))?;
                }
                Ok(())
            }
        }
    }
}

impl Endpoint {
    /// With the system's authorities where `ca` is empty.
    pub(super) fn new(url: &str, ca: &str) -> Result<Self, &'static str> {
        let parsed: Uri = url.trim_end_matches('/').parse().map_err(|_| "is no URL")?;
        if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
            return Err("must end after host and port, as https://vault.example:8200");
        }
        if parsed
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err("must not hold credentials; they stand in --vault-config");
        }
        let host = parsed.host().ok_or("has no host")?;
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let is_local = bare
            .parse::<std::net::IpAddr>()
            .map_or(bare == "localhost", |address| address.is_loopback());
        let tls = match parsed.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(bare.clone())
                    .map_err(|_| "has a host that no certificate can have")?;
                Some((connector(ca)?, name))
            }
            Some("http") if is_local => None,
            Some("http") => {
                return Err(
                    "must be https:// unless Vault is on this machine: secrets would go \
                            over the network for all to read",
                );
            }
            _ => return Err("must begin with https://"),
        };
        let port = if tls.is_some() { 443 } else { 80 };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            port: parsed.port_u16().unwrap_or(port),
            host: bare,
            tls,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The body of a good answer.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, HttpError> {
        let (status, body) = timeout(DEADLINE, self.attempt(method, path, token, body))
            .await
            .map_err(|_| {
                unanswered("no answer in time; is it overloaded, or a firewall between?")
            })??;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            errors: Vec<String>,
        }
        let refusal: Option<Refusal> = serde_json::from_slice(&body).ok();
        let mut errors = refusal.map(|refusal| refusal.errors).unwrap_or_default();
        errors.truncate(ERRORS_SHOWN);
        errors.retain_mut(|error| {
            *error = error.trim().chars().take(ERROR_LENGTH).collect();
            !error.is_empty()
        });
        Err(HttpError::Refused { status, errors })
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>), HttpError> {
        let request = self
            .request(method, path, token, body)
            .map_err(|_| unanswered("the token that it gave cannot be sent back"))?;
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| unanswered(&format!("{error}; does it run?")))?;
        match &self.tls {
            None => send(stream, request).await,
            Some((connector, name)) => {
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| {
                        unanswered(&format!("{error}; is `ca-cert` in --vault-config its CA?"))
                    })?;
                send(stream, request).await
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> hyper::http::Result<Request<Full<Bytes>>> {
        let method = match method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
        };
        let authority = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, authority)
            .header("X-Vault-Request", "true");
        if let Some(token) = token {
            let mut token = hyper::header::HeaderValue::from_str(token.expose())?;
            token.set_sensitive(true);
            request = request.header("X-Vault-Token", token);
        }
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request.body(Full::new(body))
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Vec<u8>), HttpError> {
    let broken = |error: hyper::Error| unanswered(&format!("the connection broke: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| unanswered("its answer broke off, or is larger than any"))?;
        Ok((status, body.to_bytes().to_vec()))
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        ended = &mut connection => ended.map_err(broken)?,
    }
    // What it had sent before its end can still be read.
    exchange.await
}

fn connector(ca: &str) -> Result<TlsConnector, &'static str> {
    let mut roots = RootCertStore::empty();
    if ca.trim().is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            certificate
                .ok()
                .and_then(|certificate| roots.add(certificate).ok())
                .ok_or("has a `ca-cert` that is no certificate in PEM")?;
        }
    }
    if roots.is_empty() {
        return Err("has no CA to trust; give `ca-cert` in --vault-config");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| "cannot be reached by TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn unanswered(why: &str) -> HttpError {
    HttpError::Unanswered(why.to_owned())
}

/// One request, dialling included.
const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes; a certificate with its chain has some thousand.
const MAX_ANSWER: usize = 1 << 20;
const ERRORS_SHOWN: usize = 3;
const ERROR_LENGTH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_no_network_in_the_clear() {
        for (url, mistake) in [
            ("http://vault.example:8200", "must be https://"),
            ("ftp://vault.example", "must begin with https://"),
            ("https://vault.example/v1", "must end after host and port"),
            (
                "https://me:secret@vault.example",
                "must not hold credentials",
            ),
            ("https://", "must begin with https"),
        ] {
            let error = Endpoint::new(url, "").map(|_| ()).unwrap_err();
            assert!(error.starts_with(mistake), "{url}: {error}");
        }
        for url in [
            "http://127.0.0.1:8200",
            "http://[::1]:8200/",
            "http://localhost",
        ] {
            assert!(Endpoint::new(url, "").is_ok(), "{url}");
        }
        assert!(Endpoint::new("https://vault.example", "nonsense").is_err());
    }
}
