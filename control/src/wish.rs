//! What all commands that look at the cluster begin with.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::etcd::EtcdClient;
use crate::hosts::Hosts;
use crate::plan::Limits;
use crate::resources::Resources;
use crate::store::Store;

/// What a person asks for, in files and flags.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) cluster: Cluster,
    pub(crate) resources: Option<Resources>,
    pub(crate) limits: Limits,
    /// How etcd is asked for its health, if it can be.
    pub(crate) etcd: Option<EtcdClient>,
    /// Where secrets live.
    pub(crate) store: Arc<Store>,
    /// Where files of the control plane's hosts are put, if control is to.
    pub(crate) hosts: Option<Hosts>,
}
