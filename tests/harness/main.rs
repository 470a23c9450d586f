//! The harness tests itself: what it starts works, and is gone afterwards.

mod cluster;
mod dns;
mod gone;
mod peer;
mod place;
mod skip;
