//! Carries out a dial plan with sockets: the first to connect wins, the losers are closed.
//!
//! [`race`] is the one loop; what an attempt is (a TCP connect here, TCP and TLS for the
//! [`kube_client`](crate::kube_client)) is the caller's. It knows neither metrics nor health: it hands
//! back what became of each attempt.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    config::address::{Address, Host},
    decide::dial_plan::{DialPlan, Order, Step},
};

/// The attempt that won, with those that did not.
#[derive(Debug)]
pub struct Won<C, T> {
    /// Whom it reached.
    pub candidate: C,
    /// What the attempt gave.
    pub value: T,
    /// How long the winning attempt took.
    pub took: Duration,
    /// Every other attempt that was started.
    pub lost: Vec<Lost<C>>,
}

/// No attempt won.
#[derive(Debug)]
pub struct Failed<C> {
    /// Whether the deadline ended it; else every attempt failed by itself.
    pub timed_out: bool,
    /// Every attempt that was started.
    pub lost: Vec<Lost<C>>,
}

/// An attempt that did not win.
#[derive(Debug)]
pub struct Lost<C> {
    /// Whom it tried to reach.
    pub candidate: C,
    /// How long it lasted.
    pub took: Duration,
    /// Its error; `None` when it was still under way as the race ended.
    pub error: Option<io::Error>,
}

/// Runs `attempt` on the candidates of `order` as a [`DialPlan`] says, for at most `limit`.
///
/// Cancel safe: dropping the future drops the attempts, which closes their sockets.
///
/// # Errors
/// No attempt gave a value within `limit`.
pub async fn race<C, T, A>(
    order: Order<C>,
    limit: Duration,
    mut attempt: impl FnMut(&C) -> A,
) -> Result<Won<C, T>, Failed<C>>
where
    A: Future<Output = io::Result<T>>,
{
    let mut plan = DialPlan::new(order, Instant::now().into_std(), limit);
    let mut running: Vec<Attempt<C, A>> = Vec::new();
    let mut lost = Vec::new();
    loop {
        let timed_out = match plan.step(Instant::now().into_std()) {
            Step::Start(candidate) => {
                running.push(Attempt {
                    future: Box::pin(attempt(&candidate)),
                    candidate,
                    started: Instant::now(),
                });
                continue;
            }
            Step::WaitUntil(moment) => {
                tokio::select! {
                    biased;
                    (candidate, took, outcome) = first_to_end(&mut running) => match outcome {
                        Ok(value) => {
                            lost.extend(running.into_iter().map(Attempt::overtaken));
                            return Ok(Won { candidate, value, took, lost });
                        }
                        Err(error) => {
                            lost.push(Lost { candidate, took, error: Some(error) });
                            plan.failed(Instant::now().into_std());
                        }
                    },
                    () = sleep_until(moment.into()) => {}
                }
                continue;
            }
            // It goes in no rounds.
            Step::Exhausted | Step::Choose => false,
            Step::TimedOut => true,
        };
        lost.extend(running.into_iter().map(Attempt::overtaken));
        return Err(Failed { timed_out, lost });
    }
}

/// One attempt under way.
struct Attempt<C, A> {
    candidate: C,
    started: Instant,
    future: Pin<Box<A>>,
}

impl<C, A> Attempt<C, A> {
    fn overtaken(self) -> Lost<C> {
        Lost {
            candidate: self.candidate,
            took: self.started.elapsed(),
            error: None,
        }
    }
}

/// Waits for whichever attempt ends first, and takes it out of `running`.
async fn first_to_end<C, T, A>(running: &mut Vec<Attempt<C, A>>) -> (C, Duration, io::Result<T>)
where
    A: Future<Output = io::Result<T>>,
{
    poll_fn(|context: &mut Context<'_>| {
        for index in 0..running.len() {
            if let Poll::Ready(outcome) = running[index].future.as_mut().poll(context) {
                let ended = running.swap_remove(index);
                return Poll::Ready((ended.candidate, ended.started.elapsed(), outcome));
            }
        }
        Poll::Pending
    })
    .await
}

/// Connects to `address` over TCP, as [`any`] does; a name is resolved first, within `limit`.
///
/// # Errors
/// The name does not resolve, or the last of its addresses cannot be connected in time.
pub async fn tcp(address: &Address, keepalive: Duration, limit: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + limit;
    let sockets = match &address.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, address.port)],
        Host::Name(name) => resolve(name, address.port, limit).await?,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    any(&sockets, keepalive, left).await
}

/// Connects over TCP to the first of `sockets` that accepts, keepalive and `TCP_NODELAY` set. They are tried
/// in turn, each with an equal share of what is left of `limit`.
///
/// # Errors
/// The last of them cannot be connected in time, or there is none: its name has not been found.
pub async fn any(
    sockets: &[SocketAddr],
    keepalive: Duration,
    limit: Duration,
) -> io::Result<TcpStream> {
    let deadline = Instant::now() + limit;
    let mut last = None;
    for (index, &socket) in sockets.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(sockets.len() - index).unwrap_or(u32::MAX);
        match timeout(share, connect(socket, keepalive)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the name was not found")))
}

/// The addresses of a name.
///
/// # Errors
/// It is not found within `limit`.
pub(crate) async fn resolve(name: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    match timeout(limit, lookup_host((name, port))).await {
        Ok(found) => Ok(found?.take(MAX_ADDRESSES).collect()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn connect(address: SocketAddr, keepalive: Duration) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    let stream = socket.connect(address).await?;
    tune(&stream, keepalive)?;
    Ok(stream)
}

/// The socket options that both legs of a relayed connection carry. `keepalive` is the silence after
/// which the peer is asked for a sign of life, and the time between questions; three unanswered ones
/// end the connection.
///
/// # Errors
/// The kernel refuses an option.
pub fn tune(stream: &TcpStream, keepalive: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(keepalive)
        .with_interval(keepalive)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Whether a failed attempt says nothing about the server: this host ran out of something.
#[must_use]
pub fn is_local(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        matches!(
            Errno::from_raw_os_error(code),
            Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::ADDRNOTAVAIL
                | Errno::ADDRINUSE
                | Errno::ACCESS
                | Errno::PERM
        )
    })
}

/// An error of a connect in the fewest words: `connection refused`, not `Connection refused (os error 111)`.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

impl<C: fmt::Display> fmt::Display for Failed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lost.is_empty() {
            return f.write_str("there was nobody to dial");
        }
        for (index, lost) in self.lost.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let reason = lost
                .error
                .as_ref()
                .map_or_else(|| "no answer".to_owned(), reason);
            write!(f, "{separator}{}: {reason}", lost.candidate)?;
        }
        Ok(())
    }
}

impl<C: fmt::Debug + fmt::Display> std::error::Error for Failed<C> {}

/// A name with more addresses than this is cut: each would get too small a share of the time.
pub(crate) const MAX_ADDRESSES: usize = 8;
const KEEPALIVE_PROBES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::dial_plan::STAGGER;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Stands for a server: answers after a while, refuses after a while, or is a black hole.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Server {
        Answers(u64),
        Refuses(u64),
        BlackHole,
    }
    use Server::{Answers, BlackHole, Refuses};

    async fn dial(servers: &[Server]) -> Result<Won<Server, ()>, Failed<Server>> {
        race(
            Order::fixed(servers.to_vec()),
            LIMIT,
            |&server| async move {
                match server {
                    Answers(after) => tokio::time::sleep(Duration::from_millis(after)).await,
                    Refuses(after) => {
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        return Err(io::ErrorKind::ConnectionRefused.into());
                    }
                    BlackHole => std::future::pending().await,
                }
                Ok(())
            },
        )
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_black_hole_costs_one_stagger() {
        let begin = Instant::now();
        let won = dial(&[BlackHole, Answers(1)]).await.unwrap();
        assert_eq!(won.candidate, Answers(1));
        assert_eq!(begin.elapsed(), STAGGER + Duration::from_millis(1));
        assert_eq!(won.lost.len(), 1);
        assert!(won.lost[0].error.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_costs_nothing() {
        let begin = Instant::now();
        let won = dial(&[Refuses(0), Refuses(0), Answers(2)]).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::from_millis(2));
        assert_eq!(won.lost.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_still_wins_when_it_answers_before_the_second() {
        let won = dial(&[Answers(260), Answers(100)]).await.unwrap();
        assert_eq!(won.candidate, Answers(260));
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_bounds_the_whole_dial() {
        let begin = Instant::now();
        let failed = dial(&[BlackHole; 100]).await.unwrap_err();
        assert!(failed.timed_out);
        assert_eq!(begin.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_refuse_the_dial_ends_at_once_and_says_so() {
        let begin = Instant::now();
        let failed = dial(&[Refuses(1), Refuses(1)]).await.unwrap_err();
        assert!(!failed.timed_out);
        assert_eq!(begin.elapsed(), Duration::from_millis(2));
    }

    #[tokio::test]
    async fn without_an_address_it_says_that_the_name_was_not_found() {
        let error = any(&[], LIMIT, LIMIT).await.unwrap_err();
        assert_eq!(reason(&error), "the name was not found");
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_its_addresses_are_tried_in_turn() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address {
            host: Host::Name("localhost".to_owned()),
            port,
        };
        let stream = tcp(&address, LIMIT, LIMIT).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }
}
