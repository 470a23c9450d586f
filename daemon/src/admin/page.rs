//! Pages that a program adds to its admin endpoint.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// A page of the endpoint. Clones share it.
#[derive(Clone)]
pub struct Page {
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    answer: Arc<dyn Fn(String) -> Answer + Send + Sync>,
}

type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;

impl Page {
    /// A page at `path`, which begins with a slash; `about` says in a few words what is there. `answer`
    /// gets the query, as it was sent, without its question mark; it must come to an end by itself.
    pub fn new<A>(
        path: &'static str,
        about: &'static str,
        answer: impl Fn(String) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: Future<Output = Reply> + Send + 'static,
    {
        Self {
            path,
            about,
            answer: Arc::new(move |query| Box::pin(answer(query))),
        }
    }

    pub(super) async fn answer(&self, query: &str) -> Response<Full<Bytes>> {
        (self.answer)(query.to_owned()).await.into()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Page").field(&self.path).finish()
    }
}

/// What a page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Reply {
    /// A page for a browser.
    #[must_use]
    pub const fn html(body: String) -> Self {
        Self::ok("text/html; charset=utf-8", body)
    }

    /// A document for a program.
    #[must_use]
    pub const fn json(body: String) -> Self {
        Self::ok("application/json", body)
    }

    /// There is no such thing as the query asks for, or it asks for nothing sensible; a sentence.
    #[must_use]
    pub fn not_found(sentence: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "text/plain; charset=utf-8",
            body: format!("{sentence}\n"),
        }
    }

    const fn ok(kind: &'static str, body: String) -> Self {
        Self {
            status: StatusCode::OK,
            kind,
            body,
        }
    }
}

impl From<Reply> for Response<Full<Bytes>> {
    fn from(reply: Reply) -> Self {
        let mut response = Self::new(Full::new(reply.body.into()));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
