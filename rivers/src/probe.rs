//! Probes: one task for each upstream asks it when [`decide`](crate::decide) says so, and tells what it finds.
//!
//! It keeps a TLS and HTTP/2 connection open ([`kept`]), so that a sign of life costs a PING, and leaves no
//! half-done handshakes at the server. (An API server since 1.29 closes it, orderly, once it has answered an
//! anonymous request: so there is a handshake for each question at `/readyz`, and none for a PING.) [`mod@open`] says what is done with upstreams that can less, and
//! [`trust`] whose certificates are good. A peer can make a probe neither wait, loop nor grow: each wait has
//! a deadline, each try is asked for by the core, and what may be read is metered.

mod heeded;
mod kept;
mod look;
mod metered;
mod open;
mod readyz;
mod trouble;
mod trust;

use std::{future::pending, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use daemon::duration;
use rustls::pki_types::ServerName;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tracing::{debug, info};

use self::{
    kept::{Heard, Kept},
    metered::Allowance,
    open::{Opened, Way, open},
    trouble::Trouble,
    trust::{Chain, Witness},
};
pub(crate) use self::{
    look::look,
    trust::{Authorities, Bundles},
};
use crate::{
    config::{
        Listener, Mode,
        address::{Address, Host},
    },
    decide::{Ask, Event, Finding, Id},
    metrics,
};

/// For the director: a task that probes one upstream. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    orders: mpsc::Sender<Order>,
    task: AbortHandle,
}

/// One probe.
struct Order {
    ask: Ask,
    sockets: Arc<[SocketAddr]>,
}

impl Prober {
    /// Starts the task. Must be called in a runtime.
    pub(crate) fn start(
        listener: &Arc<Listener>,
        upstream: Id,
        address: &Arc<Address>,
        bundles: &mut Bundles,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let authorities = listener.health.ca_file.as_deref().map(|path| {
            let mut bundle = bundles.of(path);
            // What is in force now is no news.
            bundle.mark_unchanged();
            bundle
        });
        let probing = Probing {
            listener: Arc::clone(listener),
            address: Arc::clone(address),
            name: server_name(listener, address),
            authorities,
            reports: Reports { upstream, events },
            allowance: Allowance::new(),
            line: Line::None,
            chain: None,
            able: true,
            refused: None,
            last: None,
            is_well: false,
        };
        let (orders, receiver) = mpsc::channel(1);
        let task = tokio::spawn(probing.run(receiver)).abort_handle();
        Self { orders, task }
    }

    /// Asks for one probe. If the one before is still under way this one is dropped, and the core, which
    /// hears nothing of it, takes that for silence.
    pub(crate) fn probe(&self, ask: Ask, sockets: Arc<[SocketAddr]>) {
        let _ = self.orders.try_send(Order { ask, sockets });
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The name that a certificate must carry.
fn server_name(listener: &Listener, address: &Address) -> Option<ServerName<'static>> {
    if let Some(name) = &listener.health.server_name {
        return Some(name.clone());
    }
    match &address.host {
        Host::Ip(ip) => Some(ServerName::IpAddress((*ip).into())),
        Host::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok(),
    }
}

/// What a probe found, and why it is not well.
type Found = (Finding, Option<String>);

/// The task.
struct Probing {
    listener: Arc<Listener>,
    address: Arc<Address>,
    /// `None`: no certificate can carry the host's name.
    name: Option<ServerName<'static>>,
    /// `None`: no CA is given, and every certificate is taken.
    authorities: Option<watch::Receiver<Authorities>>,
    reports: Reports,
    allowance: Allowance,
    line: Line,
    /// The certificate that has been verified, and where.
    chain: Option<(Chain, SocketAddr)>,
    /// Whether it may be able to do more than accept a connection.
    able: bool,
    /// A certificate that is no good, and when to look at it again.
    refused: Option<Refused>,
    /// Where the last order said that it is.
    last: Option<Arc<[SocketAddr]>>,
    /// Whether the last probe found it alive.
    is_well: bool,
}

/// Where the connection stands.
enum Line {
    None,
    Opening {
        opened: Pin<Box<dyn Future<Output = Result<Opened, Trouble>> + Send>>,
        witness: Arc<Witness>,
        since: Instant,
    },
    Kept {
        kept: Box<Kept>,
        peer: Option<SocketAddr>,
    },
}

struct Refused {
    reason: String,
    until: Instant,
    pause: Duration,
}

impl Probing {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.probe(order).await,
                    None => return,
                },
                heard = heard(&mut self.line) => self.hear(heard).await,
                () = changed(self.authorities.as_mut()) => self.other_authorities().await,
            }
        }
    }

    async fn probe(&mut self, mut order: Order) {
        let started = Instant::now();
        self.last = Some(Arc::clone(&order.sockets));
        self.allowance.renew();
        if order.ask == Ask::Ready {
            self.verify_again().await;
        }
        if !self.is_well {
            // Whoever comes back is to say first whether it wants clients.
            order.ask = Ask::Ready;
        }
        let (finding, reason) = self.find_out(order).await;
        let healthy = !matches!(finding, Finding::Silent | Finding::Failed);
        self.is_well = healthy;
        metrics::probed(
            &self.listener.name,
            &self.address,
            started.elapsed(),
            healthy,
        );
        if let (false, Some(reason)) = (healthy, &reason) {
            debug!(listener = self.listener.name, upstream = %self.address, reason, "probe failed");
        }
        self.reports.tell(finding, reason).await;
    }

    /// What one probe finds, within the time-out.
    async fn find_out(&mut self, Order { ask, sockets }: Order) -> Found {
        let deadline = Instant::now() + self.listener.health.timeout;
        if sockets.is_empty() {
            return failed("its name was not found");
        }
        if self.listener.health.mode == Mode::Tcp || !self.able {
            return self.connect(&sockets).await;
        }
        if let Some(refused) = &self.refused
            && Instant::now() < refused.until
        {
            return failed(refused.reason.clone());
        }
        match std::mem::replace(&mut self.line, Line::None) {
            Line::Kept { kept, peer } if peer.is_none_or(|peer| sockets.contains(&peer)) => {
                return self.ask(kept, peer, ask, deadline).await;
            }
            opening @ Line::Opening { .. } => self.line = opening,
            _ => match self.begin(sockets) {
                Ok(opening) => self.line = opening,
                Err(found) => return found,
            },
        }
        self.opened(ask, deadline).await
    }

    /// The plainest probe. A hung process passes it, since the kernel accepts in its stead.
    async fn connect(&mut self, sockets: &[SocketAddr]) -> Found {
        let (keepalive, limit) = (self.listener.keepalive, self.listener.health.timeout);
        match open::connect(sockets, keepalive, limit).await {
            Ok(_) => (Finding::Alive, None),
            Err(trouble) => {
                // Whoever comes back may be able to do more, and must show its certificate again.
                self.able = true;
                found(trouble)
            }
        }
    }

    fn begin(&self, sockets: Arc<[SocketAddr]>) -> Result<Line, Found> {
        let Some(name) = self.name.clone() else {
            return Err(failed(
                "no certificate can carry its name; give `server_name`",
            ));
        };
        let way = Way {
            sockets,
            name,
            authority: self.address.to_string(),
            mode: self.listener.health.mode,
            keepalive: self.listener.keepalive,
            // Less than a probe has: that a connect failed is to be the finding of the same probe.
            limit: self.listener.health.timeout.mul_f64(0.95),
        };
        let authorities = self.authorities.as_ref();
        let witness = Arc::new(Witness::new(authorities.map(|now| now.borrow().clone())));
        Ok(Line::Opening {
            opened: Box::pin(open(way, Arc::clone(&witness), self.allowance.clone())),
            witness,
            since: Instant::now(),
        })
    }

    /// Goes on opening the connection. One that is not done by then goes on with the next probe.
    async fn opened(&mut self, ask: Ask, deadline: Instant) -> Found {
        let Line::Opening {
            opened,
            witness,
            since,
        } = &mut self.line
        else {
            return failed("there is no connection");
        };
        let outcome = tokio::select! {
            outcome = opened => outcome,
            () = sleep_until(deadline) => {
                let waited = duration::format(whole(since.elapsed()));
                return (Finding::Silent, Some(format!("no answer to a TLS handshake for {waited}")));
            }
        };
        let witness = Arc::clone(witness);
        self.line = Line::None;
        let is_proven = self.take_proof(&witness).await;
        match outcome {
            Ok(Opened::Kept(kept)) => {
                let peer = witness.seen().peer;
                match self.ask(kept, peer, ask, deadline).await {
                    // Of an old connection this would say nothing.
                    (Finding::Lost, reason) => (Finding::Failed, reason),
                    found => found,
                }
            }
            Ok(Opened::Answered(finding, reason)) => (finding, reason),
            Ok(Opened::Shaken) => (Finding::Alive, None),
            Err(Trouble::Unable(reason)) => self.unable(&reason, is_proven),
            Err(trouble) => found(trouble),
        }
    }

    /// What a handshake said of its certificate. Whether it is good, if that matters.
    async fn take_proof(&mut self, witness: &Witness) -> bool {
        if self.authorities.is_none() {
            return true;
        }
        let seen = witness.seen().clone();
        let Some(peer) = seen.peer else { return false };
        if let Some(reason) = seen.refusal.clone() {
            self.chain = None;
            let pause = self.refused.as_ref().map_or(FIRST_PAUSE, |refused| {
                (refused.pause * 2).min(LONGEST_PAUSE)
            });
            self.refused = Some(Refused {
                reason,
                until: Instant::now() + pause,
                pause,
            });
            self.reports.verified(peer, false).await;
            return false;
        }
        let Some(chain) = seen.proven() else {
            return false;
        };
        self.refused = None;
        self.chain = Some((chain.clone(), peer));
        self.reports.verified(peer, true).await;
        true
    }

    /// It answers, but cannot be asked more than whether it accepts a connection.
    fn unable(&mut self, reason: &str, is_proven: bool) -> Found {
        if self.listener.health.mode != Mode::Auto {
            return failed(reason);
        }
        if !is_proven {
            return failed(format!(
                "{reason}, so that its certificate cannot be verified"
            ));
        }
        self.able = false;
        info!(
            listener = self.listener.name,
            upstream = %self.address,
            reason,
            "upstream is judged by whether it accepts connections"
        );
        (Finding::Alive, None)
    }

    /// Asks on the connection that is kept open, which stays open if it can.
    async fn ask(
        &mut self,
        mut kept: Box<Kept>,
        peer: Option<SocketAddr>,
        ask: Ask,
        deadline: Instant,
    ) -> Found {
        kept.ping();
        let wants_readyz = ask == Ask::Ready;
        if wants_readyz && kept.ask().elapsed() > READYZ_PATIENCE {
            kept.forget_question();
            self.line = Line::Kept { kept, peer };
            let waited = duration::format(READYZ_PATIENCE);
            return (
                Finding::Draining,
                Some(format!("no answer of readyz for {waited}")),
            );
        }
        let found = loop {
            tokio::select! {
                heard = kept.next() => match heard {
                    Heard::Readyz(answer) => break answer,
                    Heard::Pong if !wants_readyz => break (Finding::Alive, None),
                    Heard::Pong => {}
                    Heard::Ended(trouble) => return self.ended(trouble),
                },
                () = sleep_until(deadline) => break match kept.pinged() {
                    // It lives; its readiness will be heard of later.
                    None => (Finding::Alive, None),
                    Some(since) => {
                        let waited = duration::format(whole(since.elapsed()));
                        (Finding::Silent, Some(format!("no answer to a PING for {waited}")))
                    }
                },
            }
        };
        let silent_for = kept
            .pinged()
            .map_or(Duration::ZERO, |since| since.elapsed());
        self.line = if silent_for > GIVE_UP {
            Line::None
        } else {
            Line::Kept { kept, peer }
        };
        found
    }

    /// The connection ended while an answer was awaited.
    fn ended(&mut self, trouble: Option<Trouble>) -> Found {
        match trouble {
            // A client certificate is missed only after the handshake in TLS 1.3.
            Some(Trouble::Unable(reason)) => {
                let is_proven = self.authorities.is_none() || self.chain.is_some();
                self.unable(&reason, is_proven)
            }
            Some(trouble) => found(trouble),
            // An orderly end of an old connection says nothing of a new one.
            None => (Finding::Lost, Some("it closed the connection".to_owned())),
        }
    }

    /// Something came in while nobody asked.
    async fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Pong => self.reports.tell(Finding::Alive, None).await,
            Heard::Readyz((finding, reason)) => self.reports.tell(finding, reason).await,
            Heard::Ended(trouble) => {
                self.line = Line::None;
                if let Some(trouble) = trouble {
                    let (_, reason) = found(trouble);
                    self.reports.tell(Finding::Lost, reason).await;
                }
            }
        }
    }

    /// Another bundle is in force: what was good may not be any more, and the other way round.
    async fn other_authorities(&mut self) {
        self.refused = None;
        self.verify_again().await;
        if let (None, Some(sockets)) = (&self.chain, self.last.clone()) {
            self.line = Line::None;
            self.able = true;
            self.probe(Order {
                ask: Ask::Alive,
                sockets,
            })
            .await;
        }
    }

    /// Looks again at the certificate that was good: it may have expired, or its CA have been removed.
    async fn verify_again(&mut self) {
        let (Some(authorities), Some((chain, peer))) = (&self.authorities, &self.chain) else {
            return;
        };
        let (verdict, peer) = (chain.verify(&authorities.borrow()), *peer);
        if let Err(error) = verdict {
            self.chain = None;
            self.line = Line::None;
            self.able = true;
            self.reports.verified(peer, false).await;
            self.reports
                .tell(Finding::Lost, Some(trust::words(&error)))
                .await;
        }
    }
}

/// Where findings go.
struct Reports {
    upstream: Id,
    events: mpsc::Sender<Event>,
}

impl Reports {
    async fn verified(&self, socket: SocketAddr, is_verified: bool) {
        let upstream = self.upstream;
        let event = Event::Verified {
            upstream,
            socket,
            is_verified,
        };
        // Nobody listens any more when the program is about to end.
        let _ = self.events.send(event).await;
    }

    async fn tell(&self, finding: Finding, reason: Option<String>) {
        let event = Event::Found {
            upstream: self.upstream,
            finding,
            reason: reason.map(Into::into),
        };
        let _ = self.events.send(event).await;
    }
}

async fn heard(line: &mut Line) -> Heard {
    match line {
        Line::Kept { kept, .. } => kept.next().await,
        _ => pending().await,
    }
}

async fn changed(authorities: Option<&mut watch::Receiver<Authorities>>) {
    let Some(authorities) = authorities else {
        return pending().await;
    };
    // Its sender lives as long as this receiver does.
    if authorities.changed().await.is_err() {
        pending().await
    }
}

fn failed(reason: impl Into<String>) -> Found {
    (Finding::Failed, Some(reason.into()))
}

fn found(trouble: Trouble) -> Found {
    match trouble {
        Trouble::Silent(reason) => (Finding::Silent, Some(reason)),
        Trouble::Failed(reason) | Trouble::Unable(reason) => failed(reason),
    }
}

/// To a tenth of a second, for people.
fn whole(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis() / 100 * 100).unwrap_or(u64::MAX))
}

/// A server that answers PINGs but not this for so long wants no new clients.
const READYZ_PATIENCE: Duration = Duration::from_secs(8);
/// A connection that is silent for so long is made anew: a box on the way may have forgotten it.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Between looks at a certificate that is no good: each is an error in the server's log.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
