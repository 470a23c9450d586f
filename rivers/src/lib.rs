//! rivers
pub mod config;
pub mod decide;
pub mod dial;
pub mod kube_client;
