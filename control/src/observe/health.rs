//! Which API servers and etcd members are well: `/readyz`, and etcd's `/health`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::Server;
use crate::etcd::{ETCD_PORT, EtcdClient};

/// The health of each API server, by address.
pub(super) async fn api_servers(server: &Server, addresses: &[IpAddr]) -> BTreeMap<IpAddr, bool> {
    let probes = addresses.iter().map(|&address| async move {
        let ready = timeout(PATIENCE, server.is_ready(address)).await;
        (address, ready.unwrap_or(false))
    });
    join_all(probes).await.into_iter().collect()
}

/// The health of each etcd member, by address. Without a client's certificate a member
/// that accepts connections counts as well.
pub(super) async fn etcd(
    client: Option<&EtcdClient>,
    addresses: &[IpAddr],
) -> BTreeMap<IpAddr, bool> {
    let probes = addresses.iter().map(|&ip| async move {
        let address = SocketAddr::new(ip, ETCD_PORT);
        let probe = async {
            match client {
                Some(client) => client.is_healthy(address).await.unwrap_or(false),
                None => TcpStream::connect(address).await.is_ok(),
            }
        };
        (ip, timeout(PATIENCE, probe).await.unwrap_or(false))
    });
    join_all(probes).await.into_iter().collect()
}

/// A healthy server answers in milliseconds; the endpoints must follow within 5 s.
const PATIENCE: Duration = Duration::from_millis(1500);
