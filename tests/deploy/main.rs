//! What is in `deploy/`: images, manifests and the like, by the tools that they are for.

mod images;
mod packages;
