//! A client of etcd: a member's health, and what it keeps, over HTTP.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How etcd is asked.
#[derive(Clone)]
pub(crate) struct EtcdClient {
    tls: TlsConnector,
}

impl std::fmt::Debug for EtcdClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EtcdClient")
    }
}

impl EtcdClient {
    /// With the CA of etcd, and a client's certificate and key.
    ///
    /// # Errors
    /// A file cannot be read, or is none.
    pub(crate) fn new(ca: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let named = |path: &Path| format!("{} cannot be used for etcd", path.display());
        let certificates = |path: &Path| {
            CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| named(path))
        };
        let mut roots = RootCertStore::empty();
        for root in certificates(ca)? {
            roots.add(root).with_context(|| named(ca))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            certificates(certificate)?,
            PrivateKeyDer::from_pem_file(key).with_context(|| named(key))?,
        )
        .with_context(|| named(certificate))?;
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// What its `/health` says.
    pub(crate) async fn is_healthy(&self, address: SocketAddr) -> anyhow::Result<bool> {
        let request = format!("GET /health HTTP/1.0\r\nHost: {address}\r\n\r\n");
        let answer = self.exchange(address, &request, MAX_ANSWER).await?;
        Ok(String::from_utf8_lossy(&answer).contains("\"health\":\"true\""))
    }

    /// At most `limit` keys of a member from `first` on and before `end`, with their values.
    pub(crate) async fn range(
        &self,
        member: IpAddr,
        first: &[u8],
        end: &[u8],
        limit: usize,
    ) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let address = SocketAddr::new(member, ETCD_PORT);
        let [key, range_end] = [first, end].map(|key| STANDARD.encode(key));
        let body = json!({"key": key, "range_end": range_end, "limit": limit}).to_string();
        let length = body.len();
        // A 1.0 answer is not in chunks.
        let request = format!(
            "POST /v3/kv/range HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let asked = self.exchange(address, &request, MAX_RANGE);
        let answer = timeout(RANGE_PATIENCE, asked)
            .await
            .context("no answer")??;
        let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let body = &answer[body.context("no HTTP")? + 4..];
        let range: Range = serde_json::from_slice(body).context("its answer is no range")?;
        let decode = |pair: Pair| Ok((STANDARD.decode(pair.key)?, STANDARD.decode(pair.value)?));
        range.kvs.into_iter().map(decode).collect()
    }

    /// One request, and at most so many bytes of the answer.
    async fn exchange(
        &self,
        address: SocketAddr,
        request: &str,
        most: u64,
    ) -> anyhow::Result<Vec<u8>> {
        let tcp = TcpStream::connect(address).await?;
        let mut stream = self
            .tls
            .connect(ServerName::from(address.ip()), tcp)
            .await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        (&mut stream).take(most).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// etcd's answer to a range, as its gateway says it.
#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

/// Where members serve clients.
pub(crate) const ETCD_PORT: u16 = 2379;
/// etcd's answer has some hundred bytes.
const MAX_ANSWER: u64 = 16 << 10;
/// Ten Secrets of a megabyte in base64 fit.
const MAX_RANGE: u64 = 32 << 20;
const RANGE_PATIENCE: Duration = Duration::from_secs(10);
