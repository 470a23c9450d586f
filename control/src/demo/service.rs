//! One of our real programs in the demo: started on free ports, and waited for.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

use super::process::{LOG_LINES, Process};
use super::request;

/// One of our real programs.
#[derive(Debug)]
pub(crate) struct Service {
    /// Where it serves.
    pub(crate) listen: SocketAddr,
    /// Its admin endpoint.
    pub(crate) admin: SocketAddr,
    /// Its process.
    pub(crate) process: Process,
}

/// Starts one of our programs on free ports and waits until it says that it is ready. If somebody
/// else took a port in between, other ports are tried.
pub(crate) async fn start(
    name: &str,
    start: impl Fn(SocketAddr, SocketAddr) -> anyhow::Result<Process>,
) -> anyhow::Result<Service> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (listen, admin) = free_addresses().await?;
        let mut process = start(listen, admin)?;
        let Err(error) = wait_until_ready(&mut process, admin).await else {
            return Ok(Service {
                listen,
                admin,
                process,
            });
        };
        // Ended first, so that what still holds a port is somebody else.
        process.kill().await?;
        let lost_a_race = !(is_free(listen).await && is_free(admin).await);
        if !lost_a_race || attempts == START_ATTEMPTS {
            let log = process.last_lines(LOG_LINES).join("\n  ");
            bail!("{name} does not start: {error}; its log ends:\n  {log}");
        }
    }
}

async fn wait_until_ready(process: &mut Process, admin: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    while !request::is_ready(admin).await {
        if let Some(status) = process.exited()? {
            bail!("it ended with {status}");
        }
        if Instant::now() >= deadline {
            bail!(
                "http://{admin}/readyz does not say ready within {} s",
                START_PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Two addresses whose ports are free now: the first for UDP and TCP, the second for TCP.
async fn free_addresses() -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    loop {
        let listen = TcpListener::bind(any_port).await?.local_addr()?;
        let admin = TcpListener::bind(any_port).await?.local_addr()?;
        if listen != admin && is_free(listen).await {
            return Ok((listen, admin));
        }
    }
}

async fn is_free(address: SocketAddr) -> bool {
    UdpSocket::bind(address).await.is_ok() && TcpListener::bind(address).await.is_ok()
}

const START_ATTEMPTS: usize = 3;
const START_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_for_udp_or_tcp_is_not_free() {
        let (listen, _) = free_addresses().await.unwrap();
        assert!(is_free(listen).await);
        let udp = UdpSocket::bind(listen).await.unwrap();
        assert!(!is_free(listen).await);
        drop(udp);
        let _tcp = TcpListener::bind(listen).await.unwrap();
        assert!(!is_free(listen).await);
    }
}
