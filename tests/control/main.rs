//! The real `control` against real API servers.

mod demo;
mod errors;
mod nodes;
mod objects;
mod resources;
mod scene;
mod servers;
