//! What the side-by-side runs are made of; the benchmarks of parts are in `benches/`. README.md tells how to
//! run both.

pub mod load;
pub mod proxy;
pub mod tls;
