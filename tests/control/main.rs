//! The real `control` against real API servers.

mod demo;
mod errors;
mod nodes;
mod objects;
mod scene;
mod servers;
