//! What is in `deploy/`: images, manifests and the like, by the tools that they are for.

mod images;
mod manifests;
mod migration;
mod monitoring;
mod packages;
mod rights;
mod scene;
mod units;
