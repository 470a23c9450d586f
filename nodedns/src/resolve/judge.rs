//! A response and its judge: asks what [`validate`](crate::validate) wants to
//! know of the chain of trust, each question once for all who wait for it, and
//! does with the verdict what the operator wants.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::anchors::Anchors;
use crate::cache::key::Key;
use crate::config::{Config, Mode};
use crate::metrics::Metrics;
use crate::resolve::Broken;
use crate::resolve::coalesce::{Flights, Seat};
use crate::resolve::route::Routes;
use crate::validate::budget::Budget;
use crate::validate::{Judged, Moment, Need, Scope, Step, Validator, Verdict};
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::name::Text;
use crate::wire::response::Response;

/// The validator with its way to the servers. Shared by all workers.
pub(crate) struct Judge {
    validator: Validator,
    mode: Mode,
    questions: Flights<Result<(), ExtendedError>>,
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
            metrics,
        }
    }

    /// What it judges by.
    pub(super) const fn validator(&self) -> &Validator {
        &self.validator
    }

    /// Judges `response`, which answers `key`, as far as `scope` says.
    ///
    /// # Errors
    /// It is bogus, or that cannot be found out in time.
    pub(super) async fn judge(
        &self,
        response: Response,
        key: &Key,
        scope: Scope,
        routes: &Routes,
        deadline: Instant,
        budget: &mut Budget,
    ) -> Result<Judged, Broken> {
        loop {
            let step = self
                .validator
                .judge(&response, scope, key.dnssec_ok(), now(), budget);
            match step {
                Step::Ask(need) => self.ask(&need, routes, deadline, budget).await?,
                Step::Done(verdict, judged) => {
                    self.metrics.verdict(&verdict);
                    return self.sentence(key, verdict, judged);
                }
            }
        }
    }

    fn sentence(&self, key: &Key, verdict: Verdict, judged: Judged) -> Result<Judged, Broken> {
        match (verdict, self.mode) {
            (Verdict::Bogus(fault), Mode::Enforce) => Err(Broken::bogus(&fault)),
            (Verdict::Bogus(fault), Mode::Log) => {
                warn!(question = %key, reason = %fault, "bogus, and answered all the same");
                Ok(judged)
            }
            _ => Ok(judged),
        }
    }

    /// Asks a question of the chain of trust, or waits for whoever asks it already.
    async fn ask(
        &self,
        need: &Need,
        routes: &Routes,
        deadline: Instant,
        budget: &mut Budget,
    ) -> Result<(), Broken> {
        let key = Key::new(need.name.as_wire(), need.rtype, true, true);
        let outcome = match self.questions.board(&key) {
            Seat::Pilot(flight) => {
                let outcome = Arc::new(self.ask_server(need, &key, routes, deadline, budget).await);
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
        budget: &mut Budget,
    ) -> Result<(), ExtendedError> {
        let zone = routes
            .zone_for(key.name(), key.rtype())
            .ok_or_else(|| nowhere(key))?;
        let ask = async |deadline, disbelieved| {
            let answer = zone.upstream.ask_others(key, deadline, disbelieved).await;
            self.metrics.trust_questions.increment(1);
            answer.map_err(|failure| failure.extended_error())
        };
        let first = ask(deadline, None).await?;
        let mut learn =
            |response: &Response, last| self.validator.learn(need, response, last, now(), budget);
        if learn(&first.response, !zone.upstream.has_others()) {
            return Ok(());
        }
        let soon = deadline.min(Instant::now() + SECOND_OPINION);
        match ask(soon, Some(&first.server)).await {
            Ok(second) => learn(&second.response, true),
            Err(_) => learn(&first.response, true),
        };
        Ok(())
    }
}

/// How long another server may take to contradict a bogus answer.
pub(super) const SECOND_OPINION: Duration = Duration::from_secs(1);

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
