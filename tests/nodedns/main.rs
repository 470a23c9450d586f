//! nodedns against real servers: CoreDNS with a real API server behind it, and NSD.

mod answers;
mod cluster;
mod failures;
mod node;
mod process;
mod servers;
mod validation;
