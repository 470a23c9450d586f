//! DNS servers side by side: what they are asked ([`questions`]), how ([`ask`]), from which zones
//! ([`zones`]), and who they are ([`server`]).

pub mod ask;
pub mod questions;
pub mod server;
pub mod zones;
