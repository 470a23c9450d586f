//! What erodes unseen: the arrows between our crates, pure files that stay pure, tests that run.

mod arrows;
mod pure;
mod registered;
mod workspace;
