//! One look at an upstream, for `rivers check`: what a probe would find, in words.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    Found, failed, found,
    kept::{Heard, Kept},
    metered::Allowance,
    open::{self, Opened, Way},
    server_name,
    trouble::Trouble,
    trust::{Authorities, Witness},
};
use crate::{
    config::{
        Listener, Mode,
        address::{Address, Host},
    },
    decide::Finding,
    dial,
};

/// Dials `address` once as a probe would. What it can do, or why no client could be served there.
pub(crate) async fn look(
    listener: &Listener,
    address: &Address,
    authorities: Option<Authorities>,
) -> Result<String, String> {
    let started = Instant::now();
    let connected = || {
        format!(
            "connected in {:.1} ms",
            started.elapsed().as_secs_f64() * 1e3
        )
    };
    let limit = listener.dial_timeout;
    let sockets: Arc<[SocketAddr]> = match &address.host {
        Host::Ip(ip) => [SocketAddr::new(*ip, address.port)].into(),
        Host::Name(name) => match dial::resolve(name, address.port, limit).await {
            Ok(sockets) => sockets.into(),
            Err(error) => return Err(format!("the name was not found: {error}")),
        },
    };
    if listener.health.mode == Mode::Tcp {
        return match open::connect(&sockets, listener.keepalive, limit).await {
            Ok(_) => Ok(connected()),
            Err(trouble) => Err(why(found(trouble))),
        };
    }
    let name = server_name(listener, address);
    let name = name.ok_or("no certificate can carry its name; give `server_name`")?;
    let verifies = authorities.is_some();
    let witness = Arc::new(Witness::new(authorities));
    let way = Way {
        sockets,
        name,
        authority: address.to_string(),
        mode: listener.health.mode,
        keepalive: listener.keepalive,
        limit,
    };
    let opened = timeout(
        limit,
        open::open(way, Arc::clone(&witness), Allowance::new()),
    )
    .await;
    let seen = witness.seen().clone();
    let certificate = match (verifies, seen.proven().is_some()) {
        (true, true) => "certificate verified",
        (true, false) => "certificate not verified",
        (false, _) => "certificate not verified, for want of a CA",
    };
    let (finding, reason) = match opened {
        Err(_) => (
            Finding::Silent,
            Some("no answer to a TLS handshake".to_owned()),
        ),
        Ok(Ok(Opened::Kept(kept))) => ask(*kept, limit).await,
        Ok(Ok(Opened::Answered(finding, reason))) => (finding, reason),
        Ok(Ok(Opened::Shaken)) => return Ok(format!("{}, {certificate}", connected())),
        Ok(Err(trouble)) => found_by(listener.health.mode, trouble),
    };
    if verifies && seen.proven().is_none() {
        return Err(why((finding, seen.refusal.or(reason))));
    }
    match (finding, reason) {
        (Finding::Ready, None) => Ok(format!("{}, {certificate}, ready", connected())),
        (Finding::Ready | Finding::Draining | Finding::Unsaid, Some(reason)) => {
            Ok(format!("{}, {certificate}, {reason}", connected()))
        }
        (Finding::Alive, Some(reason)) => Ok(format!("{}, {reason}", connected())),
        found => Err(why(found)),
    }
}

/// What `auto` takes for alive all the same.
fn found_by(mode: Mode, trouble: Trouble) -> Found {
    match trouble {
        Trouble::Unable(reason) if mode == Mode::Auto => (Finding::Alive, Some(reason)),
        trouble => found(trouble),
    }
}

async fn ask(mut kept: Kept, limit: Duration) -> Found {
    kept.ask();
    match timeout(limit, kept.next()).await {
        Ok(Heard::Readyz(answer)) => answer,
        Ok(Heard::Ended(Some(trouble))) => found_by(Mode::Auto, trouble),
        Ok(_) => failed("it closed the connection"),
        Err(_) => (Finding::Silent, Some("no answer of readyz".to_owned())),
    }
}

fn why((_, reason): Found) -> String {
    reason.unwrap_or_else(|| "it is not well".to_owned())
}
