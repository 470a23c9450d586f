//! The real `control` against real API servers.

mod admission;
mod demo;
mod dns;
mod encryption;
mod endpoints;
mod errors;
mod kube_proxy;
mod nodes;
mod objects;
mod resources;
mod rivers;
mod run;
mod scene;
mod servers;
mod status;
mod takeover;
mod webhooks;
