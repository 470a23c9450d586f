//! Looks up the names of upstreams, off the data path: `getaddrinfo` blocks, for as long as the name
//! servers of the host please, so it gets threads of its own, and only so many of them.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{
    config::address::{Address, Host},
    dial,
};

/// Looks up names, [`AT_ONCE`] at a time. Clones share that limit.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    threads: Arc<Semaphore>,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The socket addresses of `address`, in the order in which the host prefers them, at most
    /// [`dial::MAX_ADDRESSES`]. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no such name, or no answer came within [`LIMIT`].
    pub(crate) async fn lookup(&self, address: &Address) -> io::Result<Arc<[SocketAddr]>> {
        let asked = match &address.host {
            Host::Ip(ip) => return Ok([SocketAddr::new(*ip, address.port)].into()),
            Host::Name(name) => (name.clone(), address.port),
        };
        let threads = Arc::clone(&self.threads);
        let looked_up = async move {
            // A thread that hangs keeps its place: others may not pile up behind it.
            let place = threads.acquire_owned().await;
            spawn_blocking(move || {
                let _place = place;
                let mut found: Vec<SocketAddr> = Vec::new();
                for socket in asked.to_socket_addrs()? {
                    if found.len() < dial::MAX_ADDRESSES && !found.contains(&socket) {
                        found.push(socket);
                    }
                }
                Ok(found.into())
            })
            .await?
        };
        timeout_at(Instant::now() + LIMIT, looked_up)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// Threads that may wait for name servers.
const AT_ONCE: usize = 4;
/// The C library's resolver gives up after 5 s for each name server by default.
const LIMIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_this_host_are_found_once_each() {
        let address = "localhost:6443".parse().unwrap();
        let found = Names::new().lookup(&address).await.unwrap();
        assert!(!found.is_empty() && found.len() <= 2, "{found:?}");
        assert!(
            found
                .iter()
                .all(|socket| socket.ip().is_loopback() && socket.port() == 6443)
        );
    }

    #[tokio::test]
    async fn a_name_that_there_is_not_is_an_error() {
        // Never there: RFC 6761 §6.4.
        let address = "nowhere.invalid:6443".parse().unwrap();
        Names::new().lookup(&address).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_threads_hang_a_lookup_ends_in_time() {
        let names = Names::new();
        let _hanging = Arc::clone(&names.threads)
            .acquire_many_owned(4)
            .await
            .unwrap();
        let address = "localhost:6443".parse().unwrap();
        let begin = Instant::now();
        let error = names.lookup(&address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed(), LIMIT);
    }
}
