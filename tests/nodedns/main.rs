//! nodedns against real servers: CoreDNS with a real API server behind it, NSD, unbound and
//! BIND; and against servers of our own where misbehaviour is the subject.

mod answers;
mod cache;
mod clock;
mod cluster;
mod encrypted;
mod failures;
mod hostile;
mod node;
mod ports;
mod process;
mod recursion;
mod reload;
mod replicas;
mod resolvers;
mod servers;
mod trust;
mod upgrade;
mod upstreams;
mod validation;
