//! Response bodies within bounds: a server, or who poses as one, must not be able to fill the memory of
//! this process, nor to make it wait for ever.
//!
//! A watch lasts, so what is bounded in it is one line, which is one event.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// A body that ends in an error when it goes beyond its bounds.
pub(super) struct Bounded<B = Incoming> {
    body: B,
    kind: Kind,
    /// Bytes so far, of a watch those of the line.
    length: usize,
    max_length: usize,
}

enum Kind {
    /// To be whole by then.
    Whole(Pin<Box<Sleep>>),
    Lines,
}

/// How a body was out of bounds.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the API server's response was cut off")]
    Lost(#[source] hyper::Error),
    #[error("the API server's response is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    #[error(
        "the API server's response was not complete within {}",
        daemon::duration::format(TIME_LIMIT)
    )]
    Late,
}

/// Which kind of response a request will get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Whole,
    Watch,
}

impl Expected {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let watches = |pair| matches!(pair, "watch=true" | "watch=1");
        if query.split('&').any(watches) {
            Self::Watch
        } else {
            Self::Whole
        }
    }
}

impl<B> Bounded<B> {
    /// A body, or each line of it, of at most `max_length` bytes. To be called inside a tokio runtime.
    pub(super) fn new(body: B, expected: Expected, max_length: usize) -> Self {
        Self {
            body,
            kind: match expected {
                Expected::Whole => Kind::Whole(Box::pin(sleep(TIME_LIMIT))),
                Expected::Watch => Kind::Lines,
            },
            length: 0,
            max_length,
        }
    }

    fn count(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let last_line = match self.kind {
            Kind::Whole(_) => None,
            Kind::Lines => data.iter().rposition(|&byte| byte == b'\n'),
        };
        self.length = match last_line {
            Some(at) => data.len() - at - 1,
            None => self.length + data.len(),
        };
        if self.length > self.max_length {
            return Err(BodyError::TooLarge(self.max_length));
        }
        Ok(())
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Kind::Whole(deadline) = &mut this.kind
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(BodyError::Late)));
        }
        Pin::new(&mut this.body).poll_frame(context).map(|frame| {
            Some(match frame? {
                Ok(frame) => match frame.data_ref() {
                    Some(data) => this.count(data).map(|()| frame),
                    None => Ok(frame),
                },
                Err(error) => Err(BodyError::Lost(error)),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// From the head of the response to its end.
const TIME_LIMIT: Duration = Duration::from_secs(65);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MAX_LENGTH: usize = 2 << 20;

    /// A body of these chunks, and then silence.
    struct Chunks(VecDeque<Bytes>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            match self.0.pop_front() {
                Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                None => Poll::Pending,
            }
        }
    }

    /// What becomes of a body of so many chunks of a MiB each.
    async fn read(expected: Expected, chunks: usize, chunk: Vec<u8>) -> BodyError {
        let chunks = vec![Bytes::from(chunk); chunks].into();
        let mut body = Bounded::new(Chunks(chunks), expected, MAX_LENGTH);
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            match tokio::time::timeout(2 * TIME_LIMIT, frame).await {
                Ok(frame) => {
                    if let Err(error) = frame.unwrap() {
                        return error;
                    }
                }
                Err(_) => panic!("it lasts"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_does_not_end_is_given_up() {
        let error = read(Expected::Whole, 1, vec![b' '; 1]).await;
        assert!(matches!(error, BodyError::Late), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_too_large_is_given_up() {
        let error = read(Expected::Whole, 3, vec![b'\n'; 1 << 20]).await;
        assert!(matches!(error, BodyError::TooLarge(MAX_LENGTH)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_with_a_line_that_is_too_large_is_given_up() {
        let error = read(Expected::Watch, 3, vec![b' '; 1 << 20]).await;
        assert!(matches!(error, BodyError::TooLarge(MAX_LENGTH)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "it lasts")]
    async fn a_watch_of_many_lines_may_be_as_long_and_last_as_long_as_it_likes() {
        let mut line = vec![b' '; 1 << 20];
        line[7] = b'\n';
        read(Expected::Watch, 100, line).await;
    }

    #[test]
    fn a_watch_is_told_by_its_query() {
        let expected = |uri: &str| Expected::of(&Request::get(uri).body(()).unwrap());
        assert_eq!(
            expected("/api/v1/nodes?limit=5&watch=true"),
            Expected::Watch
        );
        assert_eq!(
            expected("/api/v1/nodes?labelSelector=watch"),
            Expected::Whole
        );
        assert_eq!(expected("/api/v1/nodes"), Expected::Whole);
    }
}
