//! `control demo`: rivers and nodedns, the real ones, shown at work on one machine without a cluster.
//!
//! ```text
//! command/demo ─► scene: folder, certificates ─┬─► stand-ins: api_server ×3, dns ×2   (part, process)
//!                   │                          └─► rivers and nodedns, the real binaries
//!                   └ assets? cluster: etcd, API servers and CoreDNS, in the stand-ins' place
//!              ─► checks: request, load ──TLS──► rivers ──► API servers
//!                         question ──UDP, TCP──► nodedns ──► name servers
//!              ─► report: a row a check
//! ```
//!
//! The stand-ins speak real TLS, HTTP and DNS with real signatures, but are not Kubernetes: they are for
//! machines that have no more than a Rust compiler.

mod api_server;
mod assets;
mod certificates;
mod checks;
mod cluster;
mod dns;
mod folder;
mod load;
mod part;
mod peer;
mod process;
mod progress;
pub(crate) mod question;
mod report;
mod request;
mod scene;
mod service;

pub(crate) use assets::Assets;
pub(crate) use checks::{all as all_checks, clean_stop};
pub(crate) use part::{Args as PartArgs, run as run_part};
pub(crate) use progress::Progress;
pub(crate) use report::{Outcome, Report};
pub(crate) use scene::{Binaries, Scene};
