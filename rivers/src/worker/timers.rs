//! When a connection wants to be called, although nothing happens to its sockets. One alarm a connection.

use std::{collections::BTreeSet, time::Instant};

use crate::connections::Key;

/// The alarms of all connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, Key)>);

/// The alarm of one connection. One that is put off or no longer wanted stays where it is until it goes
/// off, which spares the table two changes for nearly every connection.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    wanted: Option<Instant>,
    set: Option<Instant>,
}

impl Alarm {
    /// The connection wants to be called at this moment, or not at all.
    pub(crate) fn want(&mut self, moment: Option<Instant>, key: Key, timers: &mut Timers) {
        self.wanted = moment;
        if let Some(moment) = moment
            && self.set.is_none_or(|set| moment < set)
        {
            self.clear(key, timers);
            timers.0.insert((moment, key));
            self.set = Some(moment);
        }
    }

    /// Whether it is still to go off.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// It went off: whether it was wanted now. If it was put off, it is set anew.
    pub(crate) fn went_off(&mut self, now: Instant, key: Key, timers: &mut Timers) -> bool {
        self.set = None;
        match self.wanted {
            Some(moment) if moment > now => {
                self.want(Some(moment), key, timers);
                false
            }
            Some(_) => {
                self.wanted = None;
                true
            }
            None => false,
        }
    }

    /// The connection is about to go.
    pub(crate) fn clear(&mut self, key: Key, timers: &mut Timers) {
        if let Some(set) = self.set.take() {
            timers.0.remove(&(set, key));
        }
    }
}

impl Timers {
    /// When the next one goes off.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|&(moment, _)| moment)
    }

    /// Takes out one that has gone off.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Key> {
        let &(moment, key) = self.0.first()?;
        if moment > now {
            return None;
        }
        self.0.pop_first();
        Some(key)
    }

    /// Every connection that has an alarm.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.0.iter().map(|&(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connections::Connections;

    const MS: Duration = Duration::from_millis(1);

    fn case() -> (Alarm, Timers, Key, Instant) {
        let key = Connections::<()>::new().next_key().unwrap();
        (Alarm::default(), Timers::default(), key, Instant::now())
    }

    #[test]
    fn an_alarm_goes_off_once_at_its_moment() {
        let (mut alarm, mut timers, key, now) = case();
        alarm.want(Some(now + 5 * MS), key, &mut timers);
        assert_eq!(timers.next(), Some(now + 5 * MS));
        assert_eq!(timers.due(now + 4 * MS), None);
        assert_eq!(timers.due(now + 5 * MS), Some(key));
        assert!(alarm.went_off(now + 5 * MS, key, &mut timers));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn one_that_is_put_off_goes_off_later() {
        let (mut alarm, mut timers, key, now) = case();
        alarm.want(Some(now + 5 * MS), key, &mut timers);
        alarm.want(Some(now + 9 * MS), key, &mut timers);
        assert_eq!(timers.due(now + 5 * MS), Some(key));
        assert!(!alarm.went_off(now + 5 * MS, key, &mut timers));
        assert_eq!(timers.due(now + 9 * MS), Some(key));
        assert!(alarm.went_off(now + 9 * MS, key, &mut timers));
    }

    #[test]
    fn one_that_is_brought_forward_leaves_nothing_behind() {
        let (mut alarm, mut timers, key, now) = case();
        alarm.want(Some(now + 9 * MS), key, &mut timers);
        alarm.want(Some(now + 5 * MS), key, &mut timers);
        assert_eq!(timers.keys(), [key]);
        alarm.clear(key, &mut timers);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn one_that_is_not_wanted_any_more_is_silent() {
        let (mut alarm, mut timers, key, now) = case();
        alarm.want(Some(now + 5 * MS), key, &mut timers);
        alarm.want(None, key, &mut timers);
        assert_eq!(timers.due(now + 5 * MS), Some(key));
        assert!(!alarm.went_off(now + 5 * MS, key, &mut timers));
        assert_eq!(timers.next(), None);
    }
}
