//! In which order nodes get a new rivers: one first, the canary; then waves; and where it
//! stops. Pure: how nodes are found and what became of them goes in, who is next comes out.
//!
//! Nothing is remembered between two runs. A node that is as wanted has been verified (what
//! has not been says so itself), so a run that was killed goes on where it stopped, and has
//! its canary already.

/// A roll-out over nodes, which are numbers here.
#[derive(Debug)]
pub(crate) struct Rollout {
    /// Who is still to be updated, the next one last.
    waiting: Vec<usize>,
    /// Whether some node runs the wanted version, verified.
    is_proven: bool,
    has_failed: bool,
    at_once: usize,
}

/// How a node is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As wanted, and verified.
    Right,
    /// To be updated.
    Wrong,
    /// Nobody can tell.
    Unknown,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It runs, verified.
    Verified,
    /// The new version does not work there.
    Failed,
    /// The node was not reached, and nothing is known of the version by that.
    Unreached,
}

impl Rollout {
    /// Over these nodes, in this order; `canary` goes first.
    pub(crate) fn new(standings: &[Standing], canary: Option<usize>, at_once: usize) -> Self {
        let wrong = |&node: &usize| standings[node] == Standing::Wrong;
        let mut waiting: Vec<usize> = (0..standings.len()).filter(wrong).rev().collect();
        if let Some(canary) = canary.filter(wrong) {
            waiting.retain(|&node| node != canary);
            waiting.push(canary);
        }
        Self {
            waiting,
            // Whoever names a canary wants to see it there first.
            is_proven: canary.is_none_or(|canary| standings[canary] == Standing::Right)
                && standings.contains(&Standing::Right),
            has_failed: false,
            at_once: at_once.max(1),
        }
    }

    /// Who is updated next, all at once; nobody when it is over.
    pub(crate) fn next_wave(&mut self) -> Vec<usize> {
        if self.has_failed {
            return Vec::new();
        }
        let size = if self.is_proven { self.at_once } else { 1 };
        let from = self.waiting.len().saturating_sub(size);
        let mut wave = self.waiting.split_off(from);
        wave.reverse();
        wave
    }

    /// Whether some node runs the wanted version, verified: before that one goes alone.
    pub(crate) const fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// What became of one of the wave.
    pub(crate) fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Verified => self.is_proven = true,
            Ended::Failed => self.has_failed = true,
            Ended::Unreached => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Standing::{Right, Unknown, Wrong};
    use super::*;

    #[test]
    fn one_goes_first_and_then_waves() {
        let mut rollout = Rollout::new(&[Wrong; 6], None, 3);
        assert_eq!(rollout.next_wave(), [0]);
        rollout.ended(Ended::Verified);
        assert_eq!(rollout.next_wave(), [1, 2, 3]);
        assert_eq!(rollout.next_wave(), [4, 5]);
        assert!(rollout.next_wave().is_empty());
    }

    #[test]
    fn a_canary_that_is_named_goes_first_whatever_others_have() {
        let mut rollout = Rollout::new(&[Right, Wrong, Wrong], Some(2), 3);
        assert_eq!(rollout.next_wave(), [2]);
        rollout.ended(Ended::Verified);
        assert_eq!(rollout.next_wave(), [1]);
    }

    #[test]
    fn a_run_that_goes_on_has_its_canary() {
        let mut rollout = Rollout::new(&[Right, Unknown, Wrong, Wrong], None, 3);
        assert_eq!(rollout.next_wave(), [2, 3]);
    }

    #[test]
    fn a_canary_that_cannot_be_reached_is_no_canary() {
        let mut rollout = Rollout::new(&[Wrong; 3], None, 3);
        assert_eq!(rollout.next_wave(), [0]);
        rollout.ended(Ended::Unreached);
        assert_eq!(rollout.next_wave(), [1]);
    }

    #[test]
    fn after_a_failure_nobody_is_begun() {
        let mut rollout = Rollout::new(&[Wrong; 3], None, 3);
        assert_eq!(rollout.next_wave(), [0]);
        rollout.ended(Ended::Failed);
        assert!(rollout.next_wave().is_empty());
    }

    proptest! {
        #[test]
        fn a_bad_version_reaches_one_node_and_a_good_one_reaches_all(
            found in prop::collection::vec(0..3_u8, 0..30),
            unreached in prop::collection::vec(any::<bool>(), 30),
            at_once in 0..9_usize,
            is_good in any::<bool>(),
        ) {
            let found: Vec<Standing> =
                found.iter().map(|kind| [Right, Wrong, Unknown][usize::from(*kind)]).collect();
            // What some node runs, verified, is no bad version.
            let is_good = is_good || found.contains(&Right);
            let mut rollout = Rollout::new(&found, None, at_once);
            let (mut begun, mut reached) = (Vec::new(), 0);
            loop {
                let wave = rollout.next_wave();
                if wave.is_empty() {
                    break;
                }
                prop_assert!(wave.len() <= at_once.max(1));
                for node in wave {
                    begun.push(node);
                    rollout.ended(match (unreached[node], is_good) {
                        (true, _) => Ended::Unreached,
                        (false, true) => Ended::Verified,
                        (false, false) => Ended::Failed,
                    });
                    reached += usize::from(!unreached[node]);
                }
            }
            let mut wrong: Vec<usize> = (0..found.len()).filter(|&n| found[n] == Wrong).collect();
            if is_good {
                begun.sort_unstable();
                prop_assert_eq!(begun, wrong);
            } else {
                wrong.retain(|&node| !unreached[node]);
                prop_assert_eq!(reached, wrong.len().min(1));
            }
        }
    }
}
