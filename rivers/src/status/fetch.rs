//! A page of the admin endpoint of the rivers that runs, over HTTP/1.1, within bounds of size and time.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

/// Why there is no page.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error(
        "nobody answers at {0} ({1}); `--admin IP:PORT` names the admin address of the rivers that is meant"
    )]
    Nobody(SocketAddr, String),
    #[error("{0} did not answer within {LIMIT:?}; look at its log")]
    Late(SocketAddr),
    #[error(
        "what answers at {0} is not this version of rivers; `--admin IP:PORT` names the admin address of the one that is meant"
    )]
    Other(SocketAddr),
    /// There is no such thing as was asked for; the endpoint's own sentence.
    #[error("{0}")]
    NotFound(String),
}

/// What the endpoint at `admin` has under `path`, which may have a query.
///
/// # Errors
/// Nobody answers, or not with the page.
pub(super) async fn fetch(admin: SocketAddr, path: &str) -> Result<String, FetchError> {
    let asked = timeout(LIMIT, ask(admin, path)).await;
    let (status, body) = asked.map_err(|_| FetchError::Late(admin))??;
    match status {
        StatusCode::OK => Ok(body),
        StatusCode::NOT_FOUND if !body.contains("/ lists what there is") => {
            Err(FetchError::NotFound(body.trim_end().to_owned()))
        }
        _ => Err(FetchError::Other(admin)),
    }
}

async fn ask(admin: SocketAddr, path: &str) -> Result<(StatusCode, String), FetchError> {
    let nobody = |error: io::Error| FetchError::Nobody(admin, reason(&error));
    let stream = TcpStream::connect(admin).await.map_err(nobody)?;
    let other = |_: Box<dyn Error + Send + Sync>| FetchError::Other(admin);
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| other(error.into()))?;
    let request = Request::get(path)
        .header(HOST, admin.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| other(error.into()))?;
    let response = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await?;
        let body = String::from_utf8(body.to_bytes().into())?;
        Ok::<_, Box<dyn Error + Send + Sync>>((head.status, body))
    };
    tokio::pin!(response);
    tokio::select! {
        answered = &mut response => answered.map_err(other),
        // The connection may be done before its last bytes have been looked at.
        _ = connection => response.await.map_err(other),
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// Longer than the workers may take, with which a stuck one is told of and does not hide the rest.
const LIMIT: Duration = Duration::from_secs(5);
/// Thousands of upstreams, with all that happened lately.
const MAX_BODY: usize = 16 << 20;
