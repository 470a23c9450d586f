//! Whether an API server answers at the other end of a stream that somebody else has dialled:
//! a rivers on a node, reached over SSH.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::client::ConfigExt;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{ConnectError, kubeconfig_name, load};
use rivers::kube_client::{self, flat};

/// The kubeconfig's CA and credentials, without a server.
#[derive(Clone)]
pub(crate) struct Through {
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Through {
    /// From `kubeconfig`, as [`super::Server::connect`] reads it.
    pub(crate) async fn new(kubeconfig: Option<&Path>) -> Result<Self, ConnectError> {
        let path = kubeconfig_name(kubeconfig);
        let config = load(kubeconfig)
            .await
            .map_err(|cause| ConnectError::of(cause, &path))?;
        let name = config.tls_server_name.clone();
        let name = name.unwrap_or_else(|| LOCALHOST.to_owned());
        let unusable = |cause| ConnectError::Unusable {
            path: path.clone(),
            cause,
        };
        let name = ServerName::try_from(name.clone())
            .map_err(|source| unusable(kube_client::Error::ServerName { name, source }))?;
        kube_client::install_provider();
        let tls = config
            .rustls_client_config()
            .map_err(|error| unusable(kube_client::Error::Credentials(Box::new(error))))?;
        Ok(Self {
            tls: Arc::new(tls).into(),
            name,
        })
    }

    /// Has an API server answer at `/readyz`; one that wants other credentials has, too.
    pub(crate) async fn ready(&self, stream: impl Stream) -> Result<(), String> {
        let asked = async {
            let connected = self.tls.connect(self.name.clone(), stream).await;
            let tls = connected.map_err(|error| flat(&error))?;
            get(tls).await
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(200 | 401 | 403)) => Ok(()),
            Ok(Ok(status)) => Err(format!("the API server says {status} at /readyz")),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

impl std::fmt::Debug for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Through").field("name", &self.name).finish()
    }
}

/// Asks an admin endpoint at `/readyz`.
pub(crate) async fn is_ready(stream: impl Stream) -> Result<(), String> {
    match timeout(PATIENCE, get(stream)).await {
        Ok(Ok(200)) => Ok(()),
        Ok(Ok(status)) => Err(format!("rivers says {status} at /readyz")),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The status of `/readyz`.
async fn get(mut stream: impl Stream) -> Result<u16, String> {
    let failed = |error: std::io::Error| flat(&error);
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {LOCALHOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut head = [0; STATUS_LINE];
    stream.read_exact(&mut head).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            "the connection was closed without an answer".to_owned()
        } else {
            failed(error)
        }
    })?;
    let head = String::from_utf8_lossy(&head);
    head.strip_prefix("HTTP/1.1 ")
        .and_then(|status| status.trim().parse().ok())
        .ok_or_else(|| "it speaks no HTTP".to_owned())
}

/// What kubelet asks for, where the kubeconfig asks for nothing else.
const LOCALHOST: &str = "localhost";
/// Bytes of `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn answered(with: &'static [u8]) -> Result<(), String> {
        let (near, mut far) = duplex(1024);
        let server = async move {
            let mut request = [0; 11];
            far.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET /readyz");
            far.write_all(with).await.unwrap();
        };
        let (answer, ()) = tokio::join!(is_ready(near), server);
        answer
    }

    #[tokio::test]
    async fn only_a_yes_is_one() {
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\n\r\nok").await, Ok(()));
        for (said, why) in [
            (b"HTTP/1.1 503 Busy\r\n\r\n".as_slice(), "rivers says 503"),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", "no HTTP"),
            (b"", "closed"),
            (b"HTTP/1.1 2", "closed"),
        ] {
            let answer = answered(said).await.unwrap_err();
            assert!(answer.contains(why), "{answer}");
        }
    }
}
