//! One node's rivers made as wanted: staged, tried, swapped, verified; and put back as it was
//! when it does not work.
//!
//! Nothing that runs is touched before the new version has said that it can run there with
//! its configuration. Until it is verified the old one stays beside it on the host, so that
//! whoever comes next, after this control was killed say, can still go back to what is known
//! to work. Connections live on: rivers hands them to its next version.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::through::{self, Through};
use crate::installed::{Found, Parcel, Part};
use crate::observe::hosts::look;
use crate::output::printable;
use crate::ssh::{Host, Script, SshError};

/// How an update of one node ended without the new version.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It refuses to run there; nothing was touched.
    Refused(String),
    /// It does not work there.
    Broken {
        why: String,
        /// What became of the version before; None when it is back.
        not_restored: Option<String>,
    },
    /// The host was lost on the way, before anything was touched or after.
    Lost(SshError),
}

/// Makes the rivers of a host as wanted. `found` is what it has.
pub(crate) async fn update(
    host: &Host,
    parcel: &Parcel,
    found: &Found,
    through: &Through,
) -> Result<(), Unfit> {
    if !found.differs(parcel).is_empty() {
        stage(host, parcel, found).await.map_err(Unfit::Lost)?;
        match host.run(&TRY, &[], &[]).await {
            Ok(_) => {}
            Err(SshError::Failed { why, .. }) => return Err(Unfit::Refused(why)),
            Err(error) => return Err(Unfit::Lost(error)),
        }
        match host.run(&SWAP, &[], &[]).await {
            Ok(_) => {}
            Err(SshError::Failed { why, .. }) => return Err(undone(host, why).await),
            Err(error) => return Err(Unfit::Lost(error)),
        }
    }
    match verified(host, parcel, through).await {
        Ok(()) => {
            host.run(&SETTLE, &[], &[]).await.map_err(Unfit::Lost)?;
            Ok(())
        }
        Err(Unverified::No(why)) => Err(undone(host, why).await),
        Err(Unverified::Lost(error)) => Err(Unfit::Lost(error)),
    }
}

/// Has the host keep all files of the version to come.
async fn stage(host: &Host, parcel: &Parcel, found: &Found) -> Result<(), SshError> {
    let part = async |name, part: &Part, mode| {
        let arguments = [name, part.sum.as_str(), mode];
        host.run(&STAGE, &arguments, &part.content).await.map(drop)
    };
    // An earlier run may have brought the large one.
    if found.staged != parcel.binary.sum {
        part("binary", &parcel.binary, "0755").await?;
    }
    part("unit", &parcel.unit, "0644").await?;
    part("config", &parcel.config, "0644").await
}

enum Unverified {
    No(String),
    Lost(SshError),
}

/// Waits until the wanted version runs and carries a connection to an API server.
async fn verified(host: &Host, parcel: &Parcel, through: &Through) -> Result<(), Unverified> {
    let deadline = Instant::now() + VERIFY;
    loop {
        let why = match look(host).await {
            Ok(found) if found.runs(parcel) => match serves(host, parcel, through).await {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            Ok(_) => "it does not run".to_owned(),
            Err(SshError::Failed { why, .. }) => why,
            Err(error) => return Err(Unverified::Lost(error)),
        };
        if Instant::now() >= deadline {
            let log = host.run(&LOG, &[], &[]).await.unwrap_or_default();
            let log = log.trim();
            let said = if log.is_empty() {
                String::new()
            } else {
                printable(&format!("; it said: {log}"))
            };
            return Err(Unverified::No(format!("{why}{said}")));
        }
        sleep(PAUSE).await;
    }
}

/// Dials through the rivers of the host.
async fn serves(host: &Host, parcel: &Parcel, through: &Through) -> Result<(), String> {
    let at = parcel.api_server;
    let stream = host.dial(at).await.map_err(|error| error.to_string())?;
    through
        .ready(stream)
        .await
        .map_err(|why| format!("no API server through {at}: {why}"))?;
    let Some(admin) = parcel.admin else {
        return Ok(());
    };
    let stream = host.dial(admin).await.map_err(|error| error.to_string())?;
    through::is_ready(stream)
        .await
        .map_err(|why| format!("{admin}: {why}"))
}

/// Puts the version before back, and waits until it runs.
async fn undone(host: &Host, why: String) -> Unfit {
    let not_restored = match host.run(&UNDO, &[], &[]).await {
        Ok(_) => restored(host).await.err(),
        Err(error) => Some(error.to_string()),
    };
    Unfit::Broken { why, not_restored }
}

async fn restored(host: &Host) -> Result<(), String> {
    let deadline = Instant::now() + VERIFY;
    loop {
        match look(host).await {
            Ok(found) if found.is_nothing() || found.is_steady() => return Ok(()),
            Ok(_) if Instant::now() >= deadline => {
                return Err("the version before does not run either".to_owned());
            }
            Ok(_) => sleep(PAUSE).await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

const STAGE: Script = Script {
    doing: "bring rivers",
    text: include_str!("../../scripts/rivers-stage.sh"),
    within: Duration::from_secs(300),
};
const TRY: Script = Script {
    doing: "try rivers",
    text: include_str!("../../scripts/rivers-try.sh"),
    within: Duration::from_secs(60),
};
const SWAP: Script = Script {
    doing: "install rivers",
    text: include_str!("../../scripts/rivers-swap.sh"),
    within: Duration::from_secs(120),
};
const SETTLE: Script = Script {
    doing: "settle rivers",
    text: include_str!("../../scripts/rivers-settle.sh"),
    within: Duration::from_secs(30),
};
const UNDO: Script = Script {
    doing: "put rivers back",
    text: include_str!("../../scripts/rivers-undo.sh"),
    within: Duration::from_secs(120),
};
const LOG: Script = Script {
    doing: "read the log of rivers",
    text: include_str!("../../scripts/rivers-log.sh"),
    within: Duration::from_secs(30),
};
/// A hand-over takes two seconds at most, an upstream's first probes some more.
const VERIFY: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(300);
