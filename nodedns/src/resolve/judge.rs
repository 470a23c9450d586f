//! A response and its judge: asks what [`validate`](crate::validate) wants to
//! know of the chain of trust, each question once for all who wait for it, and
//! does with the verdict what the operator wants.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::anchors::Anchors;
use crate::anchors::stored::time;
use crate::cache::key::Key;
use crate::coalesce::{Flights, Seat};
use crate::config::{Config, Mode};
use crate::errand::Errand;
use crate::explain::Event;
use crate::metrics::Metrics;
use crate::resolve::Broken;
use crate::resolve::route::Routes;
use crate::resolve::sampled::Sampled;
use crate::resolve::source::{Reply, Source};
use crate::upstream::pool::Server;
use crate::validate::budget::Budget;
use crate::validate::{Asked, Clock, Judged, Moment, Need, Scope, Step, Validator, Verdict};
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::name::{Name, Text};
use crate::wire::response::Response;

/// The validator with its way to the servers. Shared by all workers.
pub(crate) struct Judge {
    validator: Validator,
    mode: Mode,
    questions: Flights<Result<(), ExtendedError>>,
    /// Lines about what is bogus, and about the clock.
    noticed: Sampled,
    clock: Sampled,
    metrics: Metrics,
}

impl Judge {
    /// One that trusts what `config` says.
    pub(crate) fn new(config: &Config, metrics: Metrics) -> Self {
        let validation = &config.validation;
        let anchors = Anchors::new(&validation.anchors, &validation.negative);
        Self {
            validator: Validator::new(anchors, validation.policy),
            mode: validation.mode,
            questions: Flights::default(),
            noticed: Sampled::every(Duration::from_secs(1)),
            clock: Sampled::every(Duration::from_secs(600)),
            metrics,
        }
    }

    /// Whether it judges as `config` says, whatever is trusted.
    pub(super) fn fits(&self, config: &Config) -> bool {
        let validation = &config.validation;
        self.mode == validation.mode && self.validator.policy() == validation.policy
    }

    /// The answer to `key`, which is in the zone `within`, if it follows from what was proved
    /// before (RFC 8198): that there is none, or that of a wildcard.
    pub(super) fn proved(&self, key: &Key, within: &Name) -> Option<Judged> {
        let asked = self.asked(key, within)?;
        let proved = self.validator.answer(&asked, Instant::now().into_std())?;
        self.metrics.synthesized(proved.response());
        Some(proved)
    }

    /// The denial of `key`, which is in the zone `within`, if it follows from what was proved
    /// before and takes next to no time.
    pub(super) fn denied_at_once(
        &self,
        key: &Key,
        within: &Name,
        now: std::time::Instant,
    ) -> Option<Judged> {
        let asked = self.asked(key, within)?;
        let denied = self.validator.deny_at_once(&asked, now)?;
        self.metrics.synthesized(denied.response());
        Some(denied)
    }

    /// What of `key` may be answered from what was proved.
    fn asked<'a>(&self, key: &'a Key, within: &'a Name) -> Option<Asked<'a>> {
        if self.mode == Mode::Log || key.checking_disabled() {
            return None;
        }
        Some(Asked {
            name: key.name(),
            rtype: key.rtype(),
            dnssec_ok: key.dnssec_ok(),
            within,
        })
    }

    /// What it judges by.
    pub(super) const fn validator(&self) -> &Validator {
        &self.validator
    }

    /// Judges `response`, which answers `key`, as far as `scope` says.
    ///
    /// # Errors
    /// It is bogus, or that cannot be found out in time; neither where verdicts are
    /// only logged.
    pub(super) async fn judge(
        &self,
        response: Response,
        key: &Key,
        scope: Scope,
        routes: &Routes,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<Judged, Broken> {
        if self.mode == Mode::Log {
            let soon = deadline.min(Instant::now() + LOG_PATIENCE);
            let verdict = self
                .verdict(&response, key, scope, routes, soon, errand)
                .await;
            self.note(key, verdict);
            return Ok(Judged::as_it_came(response, key.dnssec_ok()));
        }
        let verdict = self.verdict(&response, key, scope, routes, deadline, errand);
        match verdict.await? {
            (Verdict::Bogus(fault), _) => Err(Broken::bogus(&fault)),
            (_, judged) => Ok(judged),
        }
    }

    async fn verdict(
        &self,
        response: &Response,
        key: &Key,
        scope: Scope,
        routes: &Routes,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<(Verdict, Judged), Broken> {
        loop {
            let step =
                self.validator
                    .judge(response, scope, key.dnssec_ok(), now(), &mut errand.budget);
            match step {
                Step::Ask(need) => self.ask(&need, routes, deadline, errand).await?,
                Step::Done(verdict, judged) => {
                    self.metrics.verdict(&verdict);
                    errand.note(|| Event::Judged {
                        key: key.clone(),
                        verdict: verdict.clone(),
                    });
                    return Ok((verdict, judged));
                }
            }
        }
    }

    /// Writes down what enforcing would have refused.
    fn note(&self, key: &Key, verdict: Result<(Verdict, Judged), Broken>) {
        let reason = match verdict {
            Ok((Verdict::Bogus(fault), _)) => fault.to_string(),
            Err(broken) => broken.error.text,
            Ok(_) => return,
        };
        if let Some(left_out) = self.noticed.take(Instant::now()) {
            warn!(question = %key, reason, left_out, "bogus, and answered all the same");
        }
    }

    /// Looks whether `response` shows that this node's clock is off.
    pub(super) fn look_at_clock(&self, need: &Need, response: &Response, budget: &mut Budget) {
        let now = now().wall;
        match self.validator.clock(need, response, now, budget) {
            None => {}
            Some(Clock::Fits) => self.metrics.clock_off.set(0.0),
            Some(Clock::Off { from, until }) => {
                self.metrics.clock_off.set(1.0);
                if self.clock.take(Instant::now()).is_some() {
                    let [clock, from, until] = [now, from, until].map(|at| time(at.into()));
                    error!(
                        zone = %need.name,
                        %clock,
                        %from,
                        %until,
                        "the clock of this node does not fit the signatures of a trust anchor's zone, so what is signed does not resolve: set the clock (or servers give out old answers)"
                    );
                }
            }
        }
    }

    /// Asks a question of the chain of trust, or waits for whoever asks it already.
    async fn ask(
        &self,
        need: &Need,
        routes: &Routes,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<(), Broken> {
        let key = Key::new(need.name.as_wire(), need.rtype, true, true);
        let outcome = match self.questions.board(&key) {
            Seat::Pilot(flight) => {
                let outcome = Arc::new(self.ask_server(need, &key, routes, deadline, errand).await);
                flight.land(&outcome);
                outcome
            }
            Seat::Passenger(flight) => timeout_at(deadline, flight.landed())
                .await
                .ok()
                .flatten()
                .unwrap_or_else(|| Arc::new(Err(late(&key)))),
        };
        outcome
            .as_ref()
            .clone()
            .map_err(|error| Broken::chain_of_trust(&key, &error))
    }

    async fn ask_server(
        &self,
        need: &Need,
        key: &Key,
        routes: &Routes,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<(), ExtendedError> {
        let zone = routes
            .zone_for(key.name(), key.rtype())
            .ok_or_else(|| nowhere(key))?;
        let first = self
            .reply(&zone.source, key, deadline, None, errand)
            .await?;
        let is_last = !zone.source.has_others();
        if self.learn(need, &first.response, is_last, &mut errand.budget) {
            return Ok(());
        }
        let soon = deadline.min(Instant::now() + SECOND_OPINION);
        let second = self.reply(&zone.source, key, soon, Some(&first.server), errand);
        let response = match second.await {
            Ok(second) => second.response,
            Err(_) => first.response,
        };
        self.learn(need, &response, true, &mut errand.budget);
        Ok(())
    }

    fn learn(&self, need: &Need, response: &Response, last: bool, budget: &mut Budget) -> bool {
        self.look_at_clock(need, response, budget);
        self.validator.learn(need, response, last, now(), budget)
    }

    async fn reply(
        &self,
        source: &Source,
        key: &Key,
        deadline: Instant,
        disbelieved: Option<&Arc<Server>>,
        errand: &mut Errand<'_>,
    ) -> Result<Reply, ExtendedError> {
        let reply = source.ask(key, deadline, disbelieved, errand).await;
        self.metrics.trust_questions.increment(1);
        reply.map_err(|failure| failure.extended_error())
    }
}

/// How long another server may take to contradict a bogus answer.
pub(super) const SECOND_OPINION: Duration = Duration::from_secs(1);

/// How long an answer waits for a verdict that changes nothing about it.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

fn late(key: &Key) -> ExtendedError {
    let text = format!("{key} was not answered in time");
    ExtendedError::new(ErrorCode::NoReachableAuthority, text)
}

fn nowhere(key: &Key) -> ExtendedError {
    let text = format!("{} is in no zone of this resolver", Text(key.name()));
    ExtendedError::new(ErrorCode::NoReachableAuthority, text)
}

/// Both clocks. Before 1970 no signature is valid.
pub(super) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment {
        wall: since.map_or(0, |since| since.as_secs() as u32),
        instant: Instant::now().into_std(),
    }
}
