//! What the side-by-side runs are made of; the benchmarks of parts are in `benches/`. README.md tells how to
//! run both.

pub mod chart;
pub mod dns;
pub mod figures;
pub mod load;
pub mod mmsg;
pub mod process;
pub mod proxy;
pub mod tls;
