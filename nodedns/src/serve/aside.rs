//! How a listener leaves its port to the process that takes over.
//!
//! A handshake ends at the listener at which it began. Where that has been closed meanwhile the
//! client is refused, though another process listens on the same port: so the kernel is told to
//! begin no more of them here, and the listener stays until those under way are over.
//!
//! Whom it is to choose instead is a number (see [`sys::choose_socket`]) that only a trial
//! tells: the listener connects to itself, and sees whether it gets that connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::sys;

/// Gives each connection that still comes to `welcome`, until none can come any more because
/// another process gets them, or at once where nobody else listens on the port. The listener is
/// then to be closed.
pub(super) async fn step_aside(
    listener: &TcpListener,
    mut welcome: impl FnMut(TcpStream, SocketAddr),
) {
    // Where it fails, those whose handshake is under way may be refused.
    let until = if another_is_chosen(listener, &mut welcome)
        .await
        .unwrap_or(false)
    {
        Instant::now() + HANDSHAKE
    } else {
        Instant::now()
    };
    while let Ok(Ok((stream, client))) = timeout_at(until, listener.accept()).await {
        welcome(stream, client);
    }
}

/// Whether there is another listener, which from now on is chosen for each connection.
async fn another_is_chosen(
    listener: &TcpListener,
    welcome: &mut impl FnMut(TcpStream, SocketAddr),
) -> io::Result<bool> {
    // Of two numbers one is not its own.
    for number in [0, 1] {
        sys::choose_socket(listener, number)?;
        if !gets_the_next(listener, welcome).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the next connection comes to this listener.
async fn gets_the_next(
    listener: &TcpListener,
    welcome: &mut impl FnMut(TcpStream, SocketAddr),
) -> io::Result<bool> {
    // An unspecified address is the machine's own.
    let trial = timeout(TRIAL, TcpStream::connect(listener.local_addr()?)).await??;
    let me = trial.local_addr()?;
    let until = Instant::now() + TRIAL;
    while let Ok(accepted) = timeout_at(until, listener.accept()).await {
        match accepted? {
            (_, client) if client == me => return Ok(true),
            (stream, client) => welcome(stream, client),
        }
    }
    Ok(false)
}

/// From connect(2) to accept(2) on the same machine, with much to spare.
const TRIAL: Duration = Duration::from_millis(50);
/// A handshake with a client on the same machine, or on one beside it.
const HANDSHAKE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    fn listener(address: SocketAddr) -> TcpListener {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(64).unwrap();
        TcpListener::from_std(socket.into()).unwrap()
    }

    async fn gets_all(listener: &TcpListener) {
        for _ in 0..20 {
            assert!(gets_the_next(listener, &mut |_, _| ()).await.unwrap());
        }
    }

    #[tokio::test]
    async fn the_elder_leaves_all_to_the_younger_and_the_younger_to_the_elder() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let elder = listener(address.parse().unwrap());
            let younger = listener(elder.local_addr().unwrap());
            for (leaves, stays) in [(&elder, &younger), (&younger, &elder)] {
                step_aside(leaves, |_, _| ()).await;
                gets_all(stays).await;
            }
            drop(elder);
            gets_all(&younger).await;
        }
    }

    #[tokio::test]
    async fn alone_it_is_given_what_has_come() {
        let alone = listener("127.0.0.1:0".parse().unwrap());
        let client = TcpStream::connect(alone.local_addr().unwrap())
            .await
            .unwrap();
        let mut welcomed = Vec::new();
        step_aside(&alone, |_, client| welcomed.push(client)).await;
        assert_eq!(welcomed, [client.local_addr().unwrap()]);
    }

    #[tokio::test]
    async fn what_one_has_left_behind_the_next_puts_right() {
        let elder = listener("127.0.0.1:0".parse().unwrap());
        let younger = listener(elder.local_addr().unwrap());
        step_aside(&elder, |_, _| ()).await;
        sys::choose_by_hash(&younger).unwrap();
        let mut of_elder = 0;
        for _ in 0..20 {
            of_elder += u32::from(gets_the_next(&elder, &mut |_, _| ()).await.unwrap());
        }
        assert!((1..20).contains(&of_elder), "{of_elder}");
    }
}
