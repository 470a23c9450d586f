//! What this process has seen lately: the noisiest clients and names, and the names that fail,
//! with the reason. In constant memory, and off the way of most questions: one in sixteen is
//! looked at, unless somebody else looks at that moment. Half of it is forgotten every minute.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::sketch::{Place, Sketch};
use crate::wire::name::Text;

/// Shared by all workers.
#[derive(Debug)]
pub(crate) struct Seen {
    turn: AtomicU32,
    lately: Mutex<Lately>,
}

#[derive(Debug)]
struct Lately {
    clients: Sketch<Client, ()>,
    names: Sketch<Box<[u8]>, ()>,
    failing: Sketch<Box<[u8]>, String>,
    faded_at: Option<Instant>,
}

/// One of those that come most often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Top {
    pub(crate) what: String,
    /// Thousandths of all that was seen.
    pub(crate) permille: u32,
    /// What was last said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) clients: Vec<Top>,
    pub(crate) names: Vec<Top>,
    /// Shares of those that fail.
    pub(crate) failing: Vec<Top>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            turn: AtomicU32::new(0),
            lately: Mutex::new(Lately {
                clients: Sketch::new(ROOM),
                names: Sketch::new(ROOM),
                failing: Sketch::new(ROOM),
                faded_at: None,
            }),
        }
    }

    /// Somebody asks for `name`, which is in lower case.
    pub(crate) fn query(&self, name: &[u8], from: IpAddr, now: Instant) {
        if self
            .turn
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(ONE_IN)
            && let Ok(mut lately) = self.lately.try_lock()
        {
            lately.fade(now);
            lately.clients.add(Client::of(from), ());
            lately.names.add(name.into(), ());
        }
    }

    /// There is no answer for `name`, which is in lower case.
    pub(crate) fn failure(&self, name: &[u8], reason: &str, now: Instant) {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.fade(now);
        lately.failing.add(name.into(), reason.to_owned());
    }

    /// The most of each.
    pub(crate) fn summary(&self, now: Instant) -> Summary {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.fade(now);
        let Lately {
            clients,
            names,
            failing,
            ..
        } = &*lately;
        Summary {
            clients: top(clients, ToString::to_string, |()| None),
            names: top(names, |name| Text(name).to_string(), |()| None),
            failing: top(
                failing,
                |name| Text(name).to_string(),
                |reason| Some(reason.clone()),
            ),
        }
    }
}

impl Lately {
    fn fade(&mut self, now: Instant) {
        let faded_at = *self.faded_at.get_or_insert(now);
        let mut halves = now.saturating_duration_since(faded_at).as_secs() / HALF_LIFE.as_secs();
        if halves > 0 {
            self.faded_at = Some(now);
        }
        // After so many nothing is left.
        halves = halves.min(64);
        for _ in 0..halves {
            self.clients.fade();
            self.names.fade();
            self.failing.fade();
        }
    }
}

fn top<K: Eq + std::hash::Hash + Clone, T: Clone>(
    sketch: &Sketch<K, T>,
    shown: impl Fn(&K) -> String,
    note: impl Fn(&T) -> Option<String>,
) -> Vec<Top> {
    let all = sketch.total().max(1);
    let places = sketch.top(SHOWN).into_iter();
    let tops = places.map(|place: Place<K, T>| Top {
        what: shown(&place.key),
        permille: ((place.count - place.excess) * 1_000 / all) as u32,
        note: note(&place.note),
    });
    tops.collect()
}

/// Clients, names, failing names that are counted: some 100 KiB in all.
const ROOM: usize = 256;
const SHOWN: usize = 10;
/// Questions of which one is looked at.
const ONE_IN: u32 = 16;
const HALF_LIFE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;

    #[test]
    fn the_noisiest_come_first_with_their_shares() {
        let (seen, now) = (Seen::new(), Instant::now());
        let name = Name::from_text("www.example").unwrap();
        for number in 0..3_200_u32 {
            // Sixteen in a row of one client, so that each is looked at as often as it asks.
            let last = if number / 16 % 4 == 0 { 2 } else { 1 };
            seen.query(name.as_wire(), [10, 0, 0, last].into(), now);
        }
        let Summary {
            clients,
            names,
            failing,
        } = seen.summary(now);
        let shown = |top: &Top| format!("{} {}", top.what, top.permille);
        assert_eq!(
            clients.iter().map(shown).collect::<Vec<_>>(),
            ["10.0.0.1 750", "10.0.0.2 250"]
        );
        assert_eq!(shown(&names[0]), "www.example. 1000");
        assert!(failing.is_empty());
    }

    #[test]
    fn a_name_that_fails_is_shown_with_its_last_reason_until_it_is_forgotten() {
        let (seen, now) = (Seen::new(), Instant::now());
        let name = Name::from_text("broken.example").unwrap();
        for reason in ["then", "now"] {
            seen.failure(name.as_wire(), reason, now);
        }
        let failing = seen.summary(now).failing;
        assert_eq!(failing[0].what, "broken.example.");
        assert_eq!(failing[0].note.as_deref(), Some("now"));
        let later = now + HALF_LIFE * 2;
        assert!(seen.summary(later).failing.is_empty());
    }
}
