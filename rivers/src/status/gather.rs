//! Makes the model from what is published and what the workers answer, on the thread of who asks.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use super::{Close, Connection, Dial, Explanation, Listener, Stage, Status, Tried, Upstream};
use crate::{
    connection::{Live, canonical},
    decide::{Choice, ListenerId, Snapshot},
    listeners::{Listening, Shown},
    published::Published,
    recent::{self, Dialled, Ended, Lately},
    worker::{Command, Workers},
};

/// Whom to ask.
#[derive(Clone)]
pub(crate) struct Gather {
    pub(crate) published: Arc<Published>,
    pub(crate) workers: Workers,
    pub(crate) shown: Shown,
}

impl Gather {
    /// Everything, as it is now. To be called inside a tokio runtime; takes a second at most.
    pub(super) async fn status(&self) -> Status {
        let (recalled, silent_workers) = self.workers.ask(Command::Recall).await;
        let mut lately: BTreeMap<ListenerId, Vec<&Lately>> = BTreeMap::new();
        for (id, one) in recalled.iter().flat_map(recent::Recent::iter) {
            lately.entry(id).or_default().push(one);
        }
        let snapshot = self.published.load();
        let now = Instant::now();
        let shown = self.shown.load();
        let listeners = shown.iter().map(|listening| {
            let lately = lately.get(&listening.id).map_or(&[][..], Vec::as_slice);
            listener(listening, &snapshot, lately, now)
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            silent_workers,
            listeners: listeners.collect(),
        }
    }

    /// Why the connections of this client are where they are. To be called inside a tokio runtime; takes a
    /// second at most.
    pub(super) async fn explain(&self, client: SocketAddr) -> Explanation {
        let client = canonical(client);
        let question = |give| Command::Find(client, give);
        let (found, silent_workers) = self.workers.ask(question).await;
        let snapshot = self.published.load();
        let now = Instant::now();
        let shown = self.shown.load();
        let mut connections = Vec::new();
        let mut all_ended = Vec::new();
        for worker in found {
            connections.extend(worker.live.iter().map(|it| live(it, &snapshot, now)));
            all_ended.extend(worker.ended);
        }
        all_ended.sort_by_key(|(_, ended)| std::cmp::Reverse(ended.at));
        connections.extend(all_ended.iter().map(|(id, it)| {
            let listening = shown.iter().find(|listening| listening.id == *id);
            let name = listening.map(|listening| listening.listener.name.clone());
            let upstreams = upstreams(*id, &snapshot, now);
            ended(it, name.unwrap_or_default(), upstreams, now)
        }));
        Explanation {
            silent_workers,
            connections,
        }
    }
}

fn listener(
    listening: &Listening,
    snapshot: &Snapshot,
    lately: &[&Lately],
    now: Instant,
) -> Listener {
    let mut dials: Vec<&Dialled> = lately.iter().flat_map(|it| &it.dials).collect();
    dials.sort_by_key(|dial| std::cmp::Reverse(dial.at));
    let mut ends: Vec<&Ended> = lately.iter().flat_map(|it| &it.ends).collect();
    ends.sort_by_key(|ended| std::cmp::Reverse(ended.at));
    let dials = dials.into_iter().take(recent::KEPT).map(|dial| Dial {
        seconds_ago: since(dial.at, now),
        upstream: dial.upstream.address.to_string(),
        outcome: dial.outcome.word().to_owned(),
        took_seconds: rounded(dial.took.as_secs_f64()),
    });
    let closes = ends.into_iter().take(recent::KEPT);
    Listener {
        name: listening.listener.name.clone(),
        address: listening.address.clone(),
        upstreams: upstreams(listening.id, snapshot, now),
        recent_dials: dials.collect(),
        recent_closes: closes.map(|ended| close(ended, now)).collect(),
    }
}

fn upstreams(id: ListenerId, snapshot: &Snapshot, now: Instant) -> Vec<Upstream> {
    let choices = snapshot.choices(id).iter();
    choices
        .map(|choice| Upstream {
            address: choice.address.to_string(),
            sockets: choice.sockets.to_vec(),
            state: choice.state.word().to_owned(),
            reason: choice.reason.as_deref().map(str::to_owned),
            trusted: choice.trusted,
            connections: choice.traffic.connections(),
            heard_seconds_ago: choice.traffic.heard().map(|at| since(at, now)),
        })
        .collect()
}

fn close(ended: &Ended, now: Instant) -> Close {
    Close {
        seconds_ago: since(ended.at, now),
        client: canonical(ended.client),
        upstream: ended.upstream.as_ref().map(|it| it.address.to_string()),
        tried: tried(&ended.tried),
        seconds: rounded(ended.lasted.as_secs_f64()),
        to_upstream: ended.to_upstream,
        to_client: ended.to_client,
        reason: ended.reason.word().to_owned(),
    }
}

fn live(live: &Live, snapshot: &Snapshot, now: Instant) -> Connection {
    let carried = live.carried.as_ref();
    let choices = snapshot.choices(live.id);
    Connection {
        client: canonical(live.client),
        listener: live.listener.name.clone(),
        stage: match carried {
            None => Stage::Dialling,
            Some(carried) if carried.has_answered => Stage::Relaying,
            Some(_) => Stage::Opening,
        },
        why: why_live(live, choices),
        upstream: carried.map(|carried| carried.upstream.address.to_string()),
        accepted_seconds_ago: since(live.accepted, now),
        connected_seconds_ago: carried
            .and_then(|carried| carried.since)
            .map(|at| since(at, now)),
        ended_seconds_ago: None,
        tried: tried(&live.tried),
        to_upstream: live.to_upstream,
        to_client: live.to_client,
        upstreams: upstreams(live.id, snapshot, now),
    }
}

fn ended(ended: &Ended, listener: String, upstreams: Vec<Upstream>, now: Instant) -> Connection {
    Connection {
        client: canonical(ended.client),
        listener,
        stage: Stage::Ended,
        why: format!("{}: {}", ended.reason, ended.reason.meaning()),
        upstream: ended.upstream.as_ref().map(|it| it.address.to_string()),
        accepted_seconds_ago: rounded(since(ended.at, now) + ended.lasted.as_secs_f64()),
        connected_seconds_ago: None,
        ended_seconds_ago: Some(since(ended.at, now)),
        tried: tried(&ended.tried),
        to_upstream: ended.to_upstream,
        to_client: ended.to_client,
        upstreams,
    }
}

/// Why it is where it is: what was believed as its upstream was chosen, and what is different now.
fn why_live(live: &Live, choices: &[Arc<Choice>]) -> String {
    let Some(carried) = &live.carried else {
        let timeout = daemon::duration::format(live.listener.dial_timeout);
        return if choices.iter().any(|choice| choice.is_dialable()) {
            format!("no upstream has accepted it yet; it waits for one at most {timeout}")
        } else {
            format!("no upstream may be dialled yet; it waits for one at most {timeout}")
        };
    };
    let then = &carried.upstream;
    let address = &then.address;
    let mut why = if carried.since.is_none() {
        format!("it was taken over from an earlier process, which had connected it to {address}")
    } else {
        let balance = live.listener.balance.word();
        let others = match live.tried.iter().next() {
            None => "and accepted it",
            Some(_) => "and accepted it, which those tried did not",
        };
        format!(
            "{address} was {} when it was chosen ({balance}), {others}",
            then.state
        )
    };
    match choices.iter().find(|now| now.id == then.id) {
        Some(now) if now.state != then.state && carried.since.is_some() => {
            why += &format!("; it is {} now", now.state);
        }
        Some(_) => {}
        None => why += "; it is not among the upstreams any more, and its connections stay",
    }
    why
}

fn tried(tried: &crate::tried::Tried) -> Vec<Tried> {
    let tried = tried.iter();
    tried
        .map(|(choice, outcome)| Tried {
            upstream: choice.address.to_string(),
            outcome: outcome.word().to_owned(),
        })
        .collect()
}

fn since(at: Instant, now: Instant) -> f64 {
    rounded(now.saturating_duration_since(at).as_secs_f64())
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}
