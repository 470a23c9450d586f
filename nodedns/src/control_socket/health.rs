//! Whether this very process answers: asked at each of its addresses until an answer
//! is its own, for another process may share them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use daemon::readiness::Readiness;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use crate::control_socket::protocol::{Health, Reply};
use crate::instance::Instance;

/// How this process is. Its addresses are asked only where all else is well.
pub(super) async fn health(
    readiness: &Readiness,
    instance: &Instance,
    addresses: &[SocketAddr],
) -> Reply {
    let (pending, stuck) = (readiness.pending(), readiness.stuck());
    let mut silent = Vec::new();
    if pending.is_empty() && stuck.is_empty() {
        for address in addresses {
            if let Err(fault) = prove(*address, instance).await {
                silent.push(fault);
            }
        }
    }
    Reply::Health(Health {
        pending,
        stuck,
        silent,
    })
}

/// Asks at `address`, each time from another port, until this process has answered.
async fn prove(address: SocketAddr, instance: &Instance) -> Result<(), String> {
    let deadline = Instant::now() + DEADLINE;
    let mut others = 0_u32;
    while Instant::now() < deadline {
        match ask(reachable(address), instance).await {
            Ok(true) => return Ok(()),
            Ok(false) => others += 1,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => return Err(format!("{address}/udp cannot be asked: {error}")),
        }
    }
    Err(if others == 0 {
        format!("{address}/udp does not answer")
    } else {
        format!("{address}/udp is answered by another process only, {others} times")
    })
}

/// Whether the one who answers is this process.
async fn ask(address: SocketAddr, instance: &Instance) -> io::Result<bool> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    let id = rand::random();
    socket.send(&Instance::question(id)).await?;
    let mut answer = [0; 512];
    let length = timeout(PATIENCE, socket.recv(&mut answer))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(instance.is_from(&answer[..length], id))
}

/// An address of this machine in place of all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// For one address: a process that hangs takes its share of the questions.
const DEADLINE: Duration = Duration::from_millis(1_500);
/// For one answer, on the same machine.
const PATIENCE: Duration = Duration::from_millis(100);
