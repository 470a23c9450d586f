//! The HTTP/2 connection that probes keep open to an upstream: PING and `GET /readyz` on it.
//!
//! An answer that is late is waited for on the same connection: a server that hangs and comes back finds no
//! half-done handshakes of ours.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use h2::{
    Ping, PingPong,
    client::{Builder, SendRequest},
};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::Instant,
};

use super::{
    heeded::{Alert, Heeded},
    readyz::judge,
    trouble::{Trouble, refused, trouble},
};
use crate::decide::Finding;

/// A connection that is kept open.
pub(super) struct Kept {
    requests: SendRequest<&'static [u8]>,
    pings: PingPong,
    /// When the PING that has no answer yet was sent.
    pinged: Option<Instant>,
    /// The question at `/readyz` that has no answer yet, and since when.
    question: Option<(Instant, Question)>,
    authority: String,
    alert: Alert,
    /// Drives the connection; ends with it.
    driver: JoinSet<Result<(), h2::Error>>,
}

type Question = Pin<Box<dyn Future<Output = Result<Answer, h2::Error>> + Send>>;
type Answer = (Finding, Option<String>);

/// What came in on it.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer to a PING.
    Pong,
    /// The answer of `/readyz`.
    Readyz(Answer),
    /// It is over, orderly if there is no trouble.
    Ended(Option<Trouble>),
}

impl Kept {
    /// Begins HTTP/2 on this stream; `authority` is the `host:port` of requests.
    pub(super) async fn open<S>(stream: S, authority: String) -> Result<Self, Trouble>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let alert = Alert::default();
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(MAX_HEADERS)
            .max_concurrent_reset_streams(4)
            .handshake(Heeded {
                stream,
                alert: Arc::clone(&alert),
            })
            .await
            .map_err(|error| why(&error, &alert))?;
        let pings = connection.ping_pong().expect("asked for once");
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self {
            requests,
            pings,
            pinged: None,
            question: None,
            authority,
            alert,
            driver,
        })
    }

    /// Sends a PING unless one is still to be answered.
    pub(super) fn ping(&mut self) {
        // It fails only when the connection is over, which is heard next.
        if self.pinged.is_none() && self.pings.send_ping(Ping::opaque()).is_ok() {
            self.pinged = Some(Instant::now());
        }
    }

    /// When the PING that has no answer yet was sent.
    pub(super) const fn pinged(&self) -> Option<Instant> {
        self.pinged
    }

    /// Asks `/readyz` unless an answer is still to come; says since when.
    pub(super) fn ask(&mut self) -> Instant {
        let requests = self.requests.clone();
        let url = format!("https://{}/readyz", self.authority);
        let (since, _) = self
            .question
            .get_or_insert_with(|| (Instant::now(), Box::pin(readyz(requests, url))));
        *since
    }

    /// Waits no longer for an answer of `/readyz`.
    pub(super) fn forget_question(&mut self) {
        self.question = None;
    }

    /// What comes in next. Cancel safe.
    pub(super) async fn next(&mut self) -> Heard {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if let Some((_, question)) = &mut self.question
            && let Poll::Ready(answer) = question.as_mut().poll(context)
        {
            self.question = None;
            // A request that was refused on a connection that lives says nothing.
            if let Ok(answer) = answer {
                return Poll::Ready(Heard::Readyz(answer));
            }
        }
        if self.pinged.is_some()
            && let Poll::Ready(Ok(_)) = self.pings.poll_pong(context)
        {
            self.pinged = None;
            return Poll::Ready(Heard::Pong);
        }
        match self.driver.poll_join_next(context) {
            Poll::Ready(Some(Ok(ended))) => Poll::Ready(Heard::Ended(
                ended.err().map(|error| why(&error, &self.alert)),
            )),
            Poll::Ready(_) => Poll::Ready(Heard::Ended(None)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// HTTP/2 keeps only the text of an error below it.
fn why(error: &h2::Error, alert: &Alert) -> Trouble {
    match (alert.get(), error.get_io()) {
        (Some(alert), _) => refused(*alert),
        (None, Some(io)) => trouble(io),
        (None, None) => Trouble::Failed(format!("HTTP/2: {error}")),
    }
}

async fn readyz(requests: SendRequest<&'static [u8]>, url: String) -> Result<Answer, h2::Error> {
    let request = Request::get(url)
        .header("user-agent", USER_AGENT)
        .body(())
        .expect("an address makes a URL");
    let (response, _) = requests.ready().await?.send_request(request, true)?;
    let (head, mut body) = response.await?.into_parts();
    let status = head.status.as_u16();
    let mut text = Vec::new();
    while status >= 500 && text.len() < MAX_BODY {
        match body.data().await {
            Some(Ok(part)) => text.extend_from_slice(&part),
            _ => break,
        }
    }
    Ok(judge(status, &text))
}

/// What we are called in the logs of API servers.
pub(super) const USER_AGENT: &str = concat!("rivers/", env!("CARGO_PKG_VERSION"));
/// Never handed back, so that it bounds what a body can be.
const WINDOW: u32 = 16 * 1024;
const MAX_HEADERS: u32 = 16 * 1024;
/// Fifty checks of an API server fit.
const MAX_BODY: usize = 4 * 1024;
