//! The keys of the zones with trust anchors, asked for because their time has come
//! and not because somebody asked (RFC 5011 §2.3); and what is trusted, changed.

use crate::anchors::rfc5011::Observation;
use crate::anchors::{Anchors, Trusted};
use crate::cache::key::Key;
use crate::errand::Errand;
use crate::resolve::judge::now;
use crate::resolve::{Resolver, deadline};
use crate::validate::Need;
use crate::validate::budget::Budget;
use crate::wire::name::{Name, Text};
use crate::wire::order::is_within;
use crate::wire::rtype;

impl Resolver {
    /// Asks the servers of `zone` for its keys, another one where the first says
    /// nothing that a trusted key has signed; `configured` is as for
    /// [`observe`](crate::validate::Validator::observe).
    ///
    /// # Errors
    /// No server gives such keys; the sentence tells the last reason.
    pub(crate) async fn observe(
        &self,
        zone: &Name,
        configured: &[Trusted],
    ) -> Result<Observation, String> {
        let key = Key::new(zone.as_wire(), rtype::DNSKEY, true, true);
        let source = self
            .routes
            .zone_for(key.name(), key.rtype())
            .map(|route| &*route.source)
            .ok_or_else(|| format!("{} is in no zone of this resolver", Text(key.name())))?;
        let deadline = deadline();
        let mut errand = Errand::new(None);
        let mut disbelieved = None;
        loop {
            let answer = source
                .ask(&key, deadline, disbelieved.as_ref(), &mut errand)
                .await
                .map_err(|failure| failure.extended_error().text)?;
            let need = Need {
                name: zone.clone(),
                rtype: rtype::DNSKEY,
            };
            self.judge
                .look_at_clock(&need, &answer.response, &mut Budget::new());
            let observed = self.judge.validator().observe(
                zone,
                configured,
                &answer.response,
                now(),
                &mut Budget::new(),
            );
            match observed {
                Ok(observation) => return Ok(observation),
                Err(kind) if disbelieved.is_some() || !source.has_others() => {
                    return Err(kind.of(zone, rtype::DNSKEY).to_string());
                }
                Err(_) => disbelieved = Some(answer.server),
            }
        }
    }

    /// Trusts `anchors` from now on, and forgets every key and every validated answer that
    /// has to do with the `changed` names. Gives the number of those answers.
    pub(crate) fn trust(&self, anchors: Anchors, changed: &[Name]) -> usize {
        self.judge.validator().trust(anchors, changed);
        let is_meant = |name: &[u8]| {
            changed.iter().any(|top| is_within(name, top.as_wire()))
                && self.routes.zone_of(name).is_some_and(|zone| zone.validate)
        };
        self.cache.forget(|entry| entry.touches(is_meant))
    }
}
