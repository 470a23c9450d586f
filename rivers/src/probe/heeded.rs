//! A TLS stream whose last alert is remembered. In TLS 1.3 a server misses a client certificate only after
//! the handshake, when somebody else reads or writes, who keeps no more than an error's text.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The alert that ended a connection, if one did.
pub(super) type Alert = Arc<OnceLock<AlertDescription>>;

/// A stream that remembers.
#[derive(Debug)]
pub(super) struct Heeded<S> {
    pub(super) stream: S,
    pub(super) alert: Alert,
}

impl<S: AsyncRead + Unpin> Heeded<S> {
    fn heed(&self, error: &io::Error) {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            // The first one is the reason.
            let _ = self.alert.set(*alert);
        }
    }

    /// Writing has failed: what the peer said before it went may still be there to be read.
    fn last_words(&mut self, context: &mut Context<'_>) {
        let mut words = [0; 256];
        let mut buffer = ReadBuf::new(&mut words);
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_read(context, &mut buffer)
        {
            self.heed(&error);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heeded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &polled {
            self.heed(error);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heeded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, data);
        if matches!(polled, Poll::Ready(Err(_))) {
            self.last_words(context);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(polled, Poll::Ready(Err(_))) {
            self.last_words(context);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
