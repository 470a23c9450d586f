//! Which upstreams a connection tries, best first. Pure.

use rand::{Rng, seq::SliceRandom};

use super::{dial_plan::Order, upstream::State};
use crate::config::Balance;

/// An upstream as a choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is believed of it.
    pub state: State,
    /// Whether it may be dialled at all.
    pub dialable: bool,
    /// Its connections, those still being dialled included: a black hole collects load and loses.
    pub load: usize,
}

/// The order, as indices into `candidates`, in which one connection tries them: by state, and within one
/// state as `balance` says. `turn` grows by one a connection and is only used by round robin.
///
/// Never empty while one of them may be dialled. Those that are down are the last resort, unless all are:
/// then all are tried, since probes that lie must not take the node down.
pub fn order(
    balance: Balance,
    candidates: &[Candidate],
    turn: usize,
    rng: &mut impl Rng,
) -> Order<usize> {
    let state = |&index: &usize| candidates[index].state;
    let mut first: Vec<usize> = (0..candidates.len())
        .filter(|&index| candidates[index].dialable)
        .collect();
    first.sort_by_key(state);
    for equals in first.chunk_by_mut(|a, b| state(a) == state(b)) {
        match balance {
            Balance::RoundRobin => equals.rotate_left(turn % equals.len()),
            Balance::Random => equals.shuffle(rng),
            Balance::LeastLoaded => {
                equals.shuffle(rng);
                put_less_loaded_first(candidates, equals);
            }
        }
    }
    let last_resort = match first.partition_point(|index| state(index) != State::Down) {
        0 => Vec::new(),
        alive => first.split_off(alive),
    };
    Order { first, last_resort }
}

/// Two random ones, the less loaded wins: nearly as even as the least loaded of all, but clients (and the
/// many rivers of a cluster) do not all run to the same one.
fn put_less_loaded_first(candidates: &[Candidate], shuffled: &mut [usize]) {
    if let [one, other, ..] = shuffled
        && candidates[*other].load < candidates[*one].load
    {
        std::mem::swap(one, other);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    fn candidates(states: &[(State, usize)]) -> Vec<Candidate> {
        states
            .iter()
            .map(|&(state, load)| Candidate {
                state,
                dialable: true,
                load,
            })
            .collect()
    }

    /// How often each candidate came first in a thousand choices.
    fn heads(balance: Balance, candidates: &[Candidate]) -> Vec<usize> {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut heads = vec![0; candidates.len()];
        for turn in 0..1_000 {
            heads[order(balance, candidates, turn, &mut rng).first[0]] += 1;
        }
        heads
    }

    #[test]
    fn the_most_loaded_of_three_is_never_the_first_choice() {
        let heads = heads(
            Balance::LeastLoaded,
            &candidates(&[(State::Up, 5), (State::Up, 1), (State::Up, 9)]),
        );
        assert_eq!(heads[2], 0);
        assert!(heads[1] > heads[0] && heads[0] > 200, "{heads:?}");
    }

    #[test]
    fn random_spreads_and_ignores_load() {
        let heads = heads(
            Balance::Random,
            &candidates(&[(State::Up, 0), (State::Up, 99)]),
        );
        assert!(heads.iter().all(|&count| count > 400), "{heads:?}");
    }

    #[test]
    fn round_robin_takes_turns_among_the_healthy() {
        let heads = heads(
            Balance::RoundRobin,
            &candidates(&[(State::Up, 0), (State::Down, 0), (State::Up, 0)]),
        );
        assert_eq!(heads, [500, 0, 500]);
    }

    #[test]
    fn those_that_are_down_are_the_last_resort_until_all_are() {
        let mut rng = SmallRng::seed_from_u64(7);
        let some = candidates(&[(State::Down, 0), (State::Suspect, 0), (State::Up, 0)]);
        let some = order(Balance::Random, &some, 0, &mut rng);
        assert_eq!((some.first, some.last_resort), (vec![2, 1], vec![0]));
        let all = candidates(&[(State::Down, 0), (State::Down, 0)]);
        let all = order(Balance::Random, &all, 0, &mut rng);
        assert_eq!((all.first.len(), all.last_resort.len()), (2, 0));
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let state = proptest::sample::select(&State::ALL[..]);
        (state, any::<bool>(), 0..100_usize).prop_map(|(state, dialable, load)| Candidate {
            state,
            dialable,
            load,
        })
    }

    proptest! {
        #[test]
        fn each_that_may_be_dialled_is_tried_once_and_there_is_always_a_first(
            candidates in proptest::collection::vec(any_candidate(), 0..9),
            balance in proptest::sample::select(&Balance::ALL[..]),
            turn: usize,
            seed: u64,
        ) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let order = order(balance, &candidates, turn, &mut rng);
            let dialable = |&index: &usize| candidates[index].dialable;
            let expected: Vec<_> = (0..candidates.len()).filter(dialable).collect();
            prop_assert_eq!(order.first.is_empty(), expected.is_empty());
            let mut tried: Vec<usize> = [order.first, order.last_resort].concat();
            prop_assert!(tried.is_sorted_by_key(|&index| candidates[index].state));
            tried.sort_unstable();
            prop_assert_eq!(tried, expected);
        }
    }
}
