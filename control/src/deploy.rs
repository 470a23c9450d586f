//! `control rivers deploy`: rivers on all nodes as wanted, wave after wave.
//!
//! One reading of all nodes, an order for those that are not right ([`Rollout`]), and an
//! update of each (`apply::hosts`). What happens is told as it happens.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::stream::{self, StreamExt};

use crate::apply::hosts::{self, Unfit};
use crate::client::through::Through;
use crate::cluster::{Cluster, Node};
use crate::installed::{Found, Parcel, Part};
use crate::observe;
use crate::rollout::{Ended, Rollout, Standing};
use crate::ssh::{Ssh, SshError};

/// What is deployed, and to whom.
pub(crate) struct Deployment<'a> {
    /// Workers before the control plane.
    pub(crate) targets: &'a [Target<'a>],
    pub(crate) ssh: &'a Ssh,
    pub(crate) through: &'a Through,
    /// The target that goes first.
    pub(crate) canary: Option<usize>,
    pub(crate) at_once: usize,
}

/// One node, and what it is to have.
pub(crate) struct Target<'a> {
    pub(crate) node: &'a Node,
    pub(crate) parcel: Parcel,
}

/// What became of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was as wanted.
    Right,
    /// It is as wanted now.
    Updated { after: Duration },
    /// The new version does not work there, and what there was before is back.
    Restored { why: String },
    /// The new version refuses to run there; nothing was touched.
    Refused { why: String },
    /// The new version does not work there, and what there was before does not either.
    Broken { why: String },
    /// It could not be reached.
    Unreached { why: String },
    /// It was not begun, since the version failed elsewhere.
    Left,
}

/// Something that has just happened to the target of this number.
pub(crate) enum Event<'a> {
    /// All have been read: what differs on each, or why that is not known.
    Found(&'a [Result<Vec<&'static str>, String>]),
    /// An update begins, as the first one or as one of many.
    Begun { target: usize, is_canary: bool },
    /// What became of it.
    Ended { target: usize, fate: &'a Fate },
}

impl Fate {
    pub(crate) const fn is_right(&self) -> bool {
        matches!(self, Self::Right | Self::Updated { .. })
    }
}

/// The nodes of a cluster with what each is to have: `binary`, the unit, its configuration.
pub(crate) fn targets<'a>(
    cluster: &'a Cluster,
    nodes: &[&'a Node],
    binary: &Path,
) -> anyhow::Result<Vec<Target<'a>>> {
    let content = std::fs::read(binary).with_context(|| {
        format!(
            "{} cannot be read; name the program for the nodes with --binary",
            binary.display()
        )
    })?;
    let binary = Arc::new(Part::new(content));
    let unit = Arc::new(Part::new(UNIT.as_bytes().to_vec()));
    let target = |node: &'a Node| {
        let file = cluster.rivers_file(node).map_err(anyhow::Error::msg)?;
        let parcel = Parcel {
            binary: Arc::clone(&binary),
            unit: Arc::clone(&unit),
            config: Part::new(file.text.into_bytes()),
            api_server: file.api_server,
            admin: file.admin,
        };
        Ok(Target { node, parcel })
    };
    let mut targets = nodes
        .iter()
        .map(|node| target(node))
        .collect::<anyhow::Result<Vec<_>>>()?;
    targets.sort_by_key(|target| target.node.control_plane);
    Ok(targets)
}

/// What each of the targets has.
pub(crate) async fn look(ssh: &Ssh, targets: &[Target<'_>]) -> Vec<Result<Found, SshError>> {
    let nodes: Vec<&Node> = targets.iter().map(|target| target.node).collect();
    observe::hosts::rivers(ssh, &nodes).await
}

/// What differs on a node, an update that nobody has verified included.
pub(crate) fn differs(found: &Found, parcel: &Parcel) -> Vec<&'static str> {
    let mut differs = found.differs(parcel);
    if found.is_unverified {
        differs.push("not verified");
    }
    differs
}

/// Deploys; gives the fate of each target.
pub(crate) async fn deploy(
    deployment: &Deployment<'_>,
    mut tell: impl FnMut(Event<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Fate>> {
    let Deployment {
        targets,
        ssh,
        canary,
        at_once,
        ..
    } = deployment;
    let found = look(ssh, targets).await;
    let differing: Vec<_> = found
        .iter()
        .zip(*targets)
        .map(|(found, target)| match found {
            Ok(found) => Ok(differs(found, &target.parcel)),
            Err(error) => Err(error.to_string()),
        })
        .collect();
    tell(Event::Found(&differing))?;
    let standings: Vec<_> = differing.iter().map(standing).collect();
    let mut fates: Vec<_> = differing
        .into_iter()
        .map(|differing| match differing {
            Ok(differs) if differs.is_empty() => Fate::Right,
            Ok(_) => Fate::Left,
            Err(why) => Fate::Unreached { why },
        })
        .collect();
    let mut rollout = Rollout::new(&standings, *canary, *at_once);
    loop {
        let is_canary = !rollout.is_proven();
        let wave = rollout.next_wave();
        if wave.is_empty() {
            return Ok(fates);
        }
        for &target in &wave {
            tell(Event::Begun { target, is_canary })?;
        }
        let updates = wave.into_iter().map(|target| {
            let found = found[target].as_ref();
            let found = found.expect("what is updated has been read");
            async move { (target, update(deployment, target, found).await) }
        });
        let mut updates = stream::iter(updates).buffer_unordered(*at_once);
        while let Some((target, fate)) = updates.next().await {
            rollout.ended(ended(&fate));
            tell(Event::Ended {
                target,
                fate: &fate,
            })?;
            fates[target] = fate;
        }
    }
}

async fn update(deployment: &Deployment<'_>, target: usize, found: &Found) -> Fate {
    let Target { node, parcel } = &deployment.targets[target];
    let begun = Instant::now();
    let host = match deployment.ssh.connect(node.address, &node.user).await {
        Ok(host) => host,
        Err(error) => {
            let why = error.to_string();
            return Fate::Unreached { why };
        }
    };
    let updated = hosts::update(&host, parcel, found, deployment.through).await;
    host.close().await;
    match updated {
        Ok(()) => Fate::Updated {
            after: begun.elapsed(),
        },
        Err(Unfit::Refused(why)) => Fate::Refused { why },
        Err(Unfit::Broken {
            why,
            not_restored: None,
        }) => Fate::Restored { why },
        Err(Unfit::Broken {
            why,
            not_restored: Some(not_restored),
        }) => Fate::Broken {
            why: format!("{why}; and going back failed: {not_restored}"),
        },
        Err(Unfit::Lost(error)) => Fate::Unreached {
            why: format!("{error}; run it again, it goes on from there"),
        },
    }
}

const fn standing(differing: &Result<Vec<&'static str>, String>) -> Standing {
    match differing {
        Ok(differs) if differs.is_empty() => Standing::Right,
        Ok(_) => Standing::Wrong,
        Err(_) => Standing::Unknown,
    }
}

const fn ended(fate: &Fate) -> Ended {
    match fate {
        Fate::Right | Fate::Updated { .. } => Ended::Verified,
        Fate::Restored { .. } | Fate::Refused { .. } | Fate::Broken { .. } => Ended::Failed,
        Fate::Unreached { .. } | Fate::Left => Ended::Unreached,
    }
}

/// As it is for those who install rivers by hand.
const UNIT: &str = include_str!("../../deploy/systemd/rivers.service");
