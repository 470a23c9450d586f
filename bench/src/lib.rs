//! Placeholder until the first benchmark.
