//! Who waits for answers that have to be found: a line for each client. Up to a bound a
//! client's questions are asked at once; those beyond stand in its own line and nobody
//! else's, so that one who floods waits for himself. Pure.
//!
//! All of it has room for so many questions. A client may have as many as are still free:
//! one alone takes half of all, two a third each, and whoever comes next always finds some
//! room (the dynamic thresholds of Choudhury and Hahne).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::answer::Share;
use crate::client::Client;

/// The lines of all clients.
#[derive(Debug)]
pub(super) struct Lines<Q> {
    clients: HashMap<Client, Line<Q>>,
    /// Questions of all, those being asked included.
    total: usize,
    room: usize,
}

#[derive(Debug)]
struct Line<Q> {
    /// Being asked.
    asked: usize,
    waiting: VecDeque<Q>,
}

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<Q> {
    /// It is to be asked now.
    Ask(Q),
    /// Its turn comes.
    Waits,
    /// There is no room.
    None(Q),
}

impl<Q> Lines<Q> {
    /// With room for so many questions.
    pub(super) fn new(room: usize) -> Self {
        Self {
            clients: HashMap::new(),
            total: 0,
            room,
        }
    }

    /// A place for a question of `client`. One that is asked has to be
    /// [`done`](Self::done).
    pub(super) fn enter(&mut self, client: Client, question: Q, share: Share) -> Place<Q> {
        let free = self.room.saturating_sub(self.total);
        let line = match self.clients.entry(client) {
            Entry::Occupied(line) => line.into_mut(),
            Entry::Vacant(_) if free == 0 => return Place::None(question),
            Entry::Vacant(place) => place.insert(Line {
                asked: 0,
                waiting: VecDeque::new(),
            }),
        };
        if line.asked + line.waiting.len() >= share.waiting.min(free) {
            return Place::None(question);
        }
        self.total += 1;
        if line.asked < share.asked {
            line.asked += 1;
            return Place::Ask(question);
        }
        line.waiting.push_back(question);
        Place::Waits
    }

    /// A question of `client` has its answer; gives the next one to be asked.
    pub(super) fn done(&mut self, client: Client) -> Option<Q> {
        let line = self.clients.get_mut(&client)?;
        self.total -= 1;
        let next = line.waiting.pop_front();
        if next.is_none() {
            line.asked -= 1;
            if line.asked == 0 {
                self.clients.remove(&client);
            }
        }
        next
    }

    /// Takes out the questions that wait and of which `is_over` is true, which may be said
    /// of those that came first only.
    pub(super) fn give_up(&mut self, is_over: impl Fn(&Q) -> bool) -> Vec<Q> {
        let mut given_up = Vec::new();
        for line in self.clients.values_mut() {
            while line.waiting.front().is_some_and(&is_over) {
                given_up.extend(line.waiting.pop_front());
            }
        }
        self.total -= given_up.len();
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const SHARE: Share = Share {
        asked: 2,
        waiting: 5,
    };

    fn client(number: u32) -> Client {
        Client::of(Ipv4Addr::from(number).into())
    }

    #[test]
    fn beyond_its_share_a_client_waits_for_itself_alone() {
        let mut lines = Lines::new(100);
        let hog = client(1);
        let places: Vec<_> = (0..6)
            .map(|number| lines.enter(hog, number, SHARE))
            .collect();
        assert_eq!(places[..2], [Place::Ask(0), Place::Ask(1)]);
        assert_eq!(places[2..5], [Place::Waits, Place::Waits, Place::Waits]);
        assert_eq!(places[5], Place::None(5));
        assert_eq!(lines.enter(client(2), 9, SHARE), Place::Ask(9));
        assert_eq!(lines.done(hog), Some(2), "the first that came");
    }

    #[test]
    fn those_that_have_waited_for_too_long_make_room() {
        let mut lines = Lines::new(100);
        for number in 0..5 {
            lines.enter(client(1), number, SHARE);
        }
        assert_eq!(lines.give_up(|number| *number < 4), [2, 3]);
        assert_eq!(lines.total, 3);
        assert_eq!(lines.enter(client(1), 9, SHARE), Place::Waits);
        assert_eq!(lines.done(client(1)), Some(4));
        assert_eq!(lines.done(client(1)), Some(9));
    }

    #[test]
    fn a_new_client_finds_room_however_many_flood() {
        let greedy = Share {
            asked: usize::MAX,
            waiting: usize::MAX,
        };
        let mut lines = Lines::new(1_000);
        for number in 0..20_000 {
            lines.enter(client(number % 5), number, greedy);
        }
        assert!(lines.total < 1_000);
        assert_eq!(lines.enter(client(99), 0, greedy), Place::Ask(0));
    }

    proptest! {
        #[test]
        fn all_that_enters_is_asked_in_order_and_nothing_stays(
            steps in prop::collection::vec((any::<bool>(), 0_u32..4), 0..300)
        ) {
            let mut lines = Lines::new(40);
            let (mut entered, mut asked, mut open) = ([0; 4], [0; 4], [0; 4]);
            for (enters, who) in steps {
                let place = who as usize;
                let next = if enters {
                    match lines.enter(client(who), entered[place], SHARE) {
                        Place::Ask(number) => {
                            entered[place] += 1;
                            Some(number)
                        }
                        Place::Waits => {
                            entered[place] += 1;
                            None
                        }
                        Place::None(_) => None,
                    }
                } else if open[place] > 0 {
                    open[place] -= 1;
                    lines.done(client(who))
                } else {
                    None
                };
                if let Some(number) = next {
                    prop_assert_eq!(number, asked[place]);
                    asked[place] += 1;
                    open[place] += 1;
                }
                prop_assert!(open[place] <= SHARE.asked && lines.total <= 40);
            }
            for who in 0..4 {
                let place = who as usize;
                while open[place] > 0 {
                    open[place] -= 1;
                    if lines.done(client(who)).is_some() {
                        asked[place] += 1;
                        open[place] += 1;
                    }
                }
                prop_assert_eq!(asked[place], entered[place]);
            }
            prop_assert_eq!(lines.total, 0);
            prop_assert!(lines.clients.is_empty());
        }
    }
}
