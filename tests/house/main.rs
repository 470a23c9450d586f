//! What erodes unseen: the arrows between our crates, pure files that stay pure, code for any
//! processor, tests that run.

mod arrows;
mod processors;
mod pure;
mod registered;
mod workspace;
