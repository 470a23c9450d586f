//! Benchmarks of the three programs' parts; all of them are in `benches/`. README.md tells how to run them.
