//! A question in a datagram, from a port of its own.

use std::io;
use std::net::SocketAddr;

use crate::cache::key::Key;
use crate::upstream::accept::{Belief, believe, given};
use crate::upstream::pool::Server;
use crate::upstream::query::{Form, Sent};
use crate::upstream::sockets::Lent;
use crate::wire::Rcode;
use crate::wire::response::Response;

/// What a datagram brought.
#[derive(Debug)]
pub(super) enum Reply {
    /// A whole response.
    Whole(Response),
    /// The response was cut.
    Cut,
    /// A response, but the case of the name is not as sent: the server does not
    /// keep it, or somebody has guessed the rest.
    OtherCase,
    /// An error with nothing but a header: the server cannot read the question,
    /// or somebody has guessed the ID.
    Bare(Rcode),
    /// A response without a cookie, where the server has given us one before: it gives none any
    /// more, or somebody has guessed the rest.
    NoCookie(Response),
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    server: &'a Server,
    sent: Sent,
    socket: Lent<'a>,
}

impl<'a> Exchange<'a> {
    /// Asks for `key` from a socket whose port is drawn for it. Connecting the socket leaves
    /// packets from elsewhere out, lets "port unreachable" through, and tells which address
    /// of ours the server sees.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn begin(server: &'a Server, key: &Key, form: Form) -> io::Result<Self> {
        let address = server.forward().address;
        let socket = server.sockets().connected(address)?;
        let cookie = if form.edns && form.cookie {
            let own = socket.local_addr()?.ip();
            Some(server.cookies().to_show(own))
        } else {
            None
        };
        let sent = Sent::new(key, form, cookie);
        socket.send(sent.wire()).await?;
        Ok(Self {
            server,
            sent,
            socket,
        })
    }

    /// What was sent.
    pub(super) const fn sent(&self) -> &Sent {
        &self.sent
    }

    /// The next packet that may be the reply, waited for without end: the caller
    /// has the deadline. Cancel safe.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn reply(&self) -> io::Result<Reply> {
        let address = self.server.forward().address;
        let read = |datagram: &[u8], from: SocketAddr| {
            // What came before the socket was connected may be from anywhere.
            if from.ip() == address.ip() && from.port() == address.port() {
                believe(&self.sent, datagram)
            } else {
                Belief::NotOurs
            }
        };
        loop {
            let belief = self.socket.receive(read).await?;
            let ignored = &self.server.metrics().ignored;
            match belief {
                Belief::Ours(response) if self.lacks_cookie(&response) => {
                    ignored.increment(1);
                    return Ok(Reply::NoCookie(response));
                }
                Belief::Ours(response) if response.is_truncated() => return Ok(Reply::Cut),
                Belief::Ours(response) => return Ok(Reply::Whole(response)),
                Belief::OtherCase(_) => {
                    ignored.increment(1);
                    return Ok(Reply::OtherCase);
                }
                Belief::Bare(rcode) => {
                    ignored.increment(1);
                    return Ok(Reply::Bare(rcode));
                }
                Belief::NotOurs => ignored.increment(1),
            }
        }
    }

    /// The next packet that is the reply beyond doubt. Cancel safe.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn sure_reply(&self) -> io::Result<Reply> {
        loop {
            match self.reply().await? {
                Reply::OtherCase | Reply::Bare(_) | Reply::NoCookie(_) => {}
                sure => return Ok(sure),
            }
        }
    }

    /// Keeps the cookie that the server has given, if it has; whether it owes one.
    fn lacks_cookie(&self, response: &Response) -> bool {
        let cookies = self.server.cookies();
        match (given(&self.sent, response), self.sent.cookie()) {
            (Ok(Some(next)), _) => cookies.given(next),
            (_, Some(shown)) => return cookies.are_due(shown),
            (_, None) => {}
        }
        false
    }
}
