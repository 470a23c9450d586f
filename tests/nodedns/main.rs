//! nodedns against real servers: CoreDNS with a real API server behind it, NSD, unbound and
//! BIND; and against servers of our own where misbehaviour is the subject.

mod answers;
mod cache;
mod clock;
mod cluster;
mod connections;
mod cookies;
mod denials;
mod edns;
mod encrypted;
mod failures;
mod floods;
mod hostile;
mod limits;
mod memory;
mod ndots;
mod node;
mod outage;
mod piles;
mod ports;
mod process;
mod recursion;
mod reload;
mod replicas;
mod resolvers;
mod seeing;
mod servers;
mod trust;
mod upgrade;
mod upstreams;
mod validation;
