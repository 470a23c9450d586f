//! The real `control` against real API servers.

mod demo;
mod endpoints;
mod errors;
mod nodes;
mod objects;
mod resources;
mod run;
mod scene;
mod servers;
mod takeover;
