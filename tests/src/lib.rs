//! The harness: starts real peers and our own binaries for a test, and leaves nothing behind.
//!
//! It knows nothing of our crates. A test asks for a [`place::Place`] (a folder, and addresses of its own
//! or a whole network namespace), starts what it needs there, waits for conditions with
//! [`wait::until`], and returns:
//!
//! ```no_run
//! use tests::kubernetes::Cluster;
//! use tests::place::Place;
//! use tests::{program, wait};
//! use std::time::Duration;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() {
//!     let place = Place::loopback();
//!     let Some(mut cluster) = Cluster::builder(&place).api_servers(3).start().await else { return };
//!     let listen = place.socket_address(1, 16443);
//!     let _rivers = program::rivers(&place)
//!         .arg(format!("--listen={listen}"))
//!         .arg(format!("--upstreams={}", cluster.upstreams().join(",")))
//!         .start();
//!
//!     cluster.api_servers[0].peer.kill();
//!     let client = cluster.client_at(&format!("https://{listen}"));
//!     wait::until("the API through rivers", Duration::from_secs(10), async || {
//!         client.apiserver_version().await
//!     })
//!     .await;
//! }
//! ```
//!
//! From top to bottom: the peers ([`kubernetes`], [`etcd`], [`coredns`], [`authoritative`], [`root`], [`recursive`],
//! [`resolver`], [`bind`], [`vault`], [`node`], [`machine`]) and our
//! programs ([`program`]) are each a [`launch::Launch`], which becomes a [`peer::Peer`], in a
//! [`place::Place`]. [`dns`], [`clients`] and [`admin`] ask and [`wait`] waits; [`pki`] makes certificates; [`binaries`] finds
//! what to start and skips loudly.

pub mod admin;
pub mod authoritative;
pub mod binaries;
pub mod bind;
pub mod clients;
pub mod coredns;
pub mod dns;
pub mod etcd;
pub mod kubernetes;
pub mod launch;
pub mod machine;
mod netns;
pub mod node;
pub mod peer;
pub mod pki;
pub mod place;
mod ports;
pub mod program;
pub mod recursive;
pub mod resolver;
pub mod root;
pub mod signed;
mod spawner;
pub mod vault;
pub mod wait;

/// How much longer than usual tests are to look, or how much more to move: `TEST_SCALE`, else 1.
///
/// # Panics
/// It is no number.
#[must_use]
pub fn scale() -> u32 {
    std::env::var("TEST_SCALE").map_or(1, |scale| scale.parse().unwrap())
}
