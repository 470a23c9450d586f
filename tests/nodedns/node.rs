//! A node: nodedns with a configuration, and what it counts.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tests::admin::Admin;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::peer::Peer;
use tests::place::Place;
use tests::{program, wait};

/// A running nodedns.
pub(crate) struct Node {
    pub(crate) peer: Peer,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    pub(crate) admin: Admin,
}

impl Node {
    /// Starts nodedns on the place's first address with these zones, as YAML list items, and waits
    /// until it is ready.
    pub(crate) async fn start(place: &Place, zones: &str) -> Self {
        let launch = launch(place, &configuration(place, zones));
        Self::of(launch, address(place), place.socket_address(1, 9253)).await
    }

    /// Starts nodedns as told, and waits until it is ready at its admin address.
    pub(crate) async fn of(launch: Launch, address: SocketAddr, admin: SocketAddr) -> Self {
        let admin = Admin(admin);
        let mut peer = launch.start();
        peer.ready(Duration::from_secs(10), async || admin.ready().await)
            .await;
        Self {
            peer,
            address,
            admin,
        }
    }

    /// Waits until so many questions were not in the cache.
    pub(crate) async fn misses(&self, count: f64) {
        wait::until("the misses", Duration::from_secs(10), async || {
            match self.lookups("miss").await {
                misses if misses >= count => Ok(()),
                misses => Err(format!("{misses} misses")),
            }
        })
        .await;
    }

    /// Looks into the cache that ended so: `hit` or `miss`.
    pub(crate) async fn lookups(&self, result: &str) -> f64 {
        let labels = [("result", result)];
        self.admin
            .metric("nodedns_cache_lookups_total", &labels)
            .await
    }

    /// The addresses that a name has, whatever else the reply says.
    pub(crate) async fn addresses(&self, name: &str) -> Vec<String> {
        let reply = Question::new(name, RecordType::A).ask(self.address).await;
        reply.unwrap().data(RecordType::A)
    }
}

/// Where nodedns answers in this place.
pub(crate) fn address(place: &Place) -> SocketAddr {
    place.socket_address(1, 5353)
}

/// A configuration for this place with these zones.
pub(crate) fn configuration(place: &Place, zones: &str) -> String {
    let (address, admin) = (address(place), place.socket_address(1, 9253));
    format!("listen: [\"{address}\"]\nadmin: \"{admin}\"\nzones:\n{zones}\n")
}

/// nodedns with this configuration, its log at debug.
pub(crate) fn launch(place: &Place, configuration: &str) -> Launch {
    program::nodedns(place)
        .arg("--config")
        .arg(write(place, configuration))
        .arg("--log-level=debug")
}

/// Writes the configuration.
pub(crate) fn write(place: &Place, configuration: &str) -> PathBuf {
    let file = place.folder().join("nodedns.yml");
    fs::write(&file, configuration).unwrap();
    file
}

/// A zone of the configuration, forwarded to these servers, whose names are not signed.
pub(crate) fn zone(name: &str, servers: &[String]) -> String {
    format!("- {{name: {name}, forward: {servers:?}, validate: false}}\n")
}
