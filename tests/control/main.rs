//! The real `control` against real API servers.

mod errors;
mod nodes;
mod objects;
mod scene;
mod servers;
