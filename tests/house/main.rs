//! The two promises that erode unseen: the arrows between our crates, and that pure files stay pure.

mod arrows;
mod pure;
