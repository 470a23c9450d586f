//! Clients that do something again and again while servers die, and what became of each time.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tests::peer::Peer;
use tests::wait;
use tokio::task::{spawn_local, yield_now};

use crate::scene::PATIENCE;

/// Clients that are at it until the test's end. Needs a local set of tasks.
#[derive(Default)]
pub(crate) struct Load {
    clients: usize,
    operations: Rc<RefCell<Vec<Operation>>>,
}

/// One that has ended.
struct Operation {
    begin: Instant,
    end: Instant,
    failure: Option<String>,
}

/// From when to when a server was being killed.
pub(crate) type Kill = (Instant, Instant);

/// Kills a server.
pub(crate) fn kill(server: &mut Peer) -> Kill {
    let begin = Instant::now();
    server.kill();
    (begin, Instant::now())
}

impl Load {
    /// One client more, which does this again and again.
    pub(crate) fn client<F>(&mut self, operate: impl Fn() -> F + 'static)
    where
        F: Future<Output = Result<(), String>>,
    {
        self.clients += 1;
        let operations = Rc::clone(&self.operations);
        spawn_local(async move {
            loop {
                let begin = Instant::now();
                let failure = operate().await.err();
                operations.borrow_mut().push(Operation {
                    begin,
                    end: Instant::now(),
                    failure,
                });
                yield_now().await;
            }
        });
    }

    /// Waits until so many more operations have ended.
    pub(crate) async fn operations(&self, more: usize) {
        let until = self.operations.borrow().len() + more;
        wait::until("operations to end", PATIENCE, async || {
            let ended = self.operations.borrow().len();
            if ended >= until { Ok(()) } else { Err(ended) }
        })
        .await;
    }

    /// **No operation that began when the killing was done, or ended before it began, has failed.** One that
    /// was under way at that moment may: its connection was to the server that died.
    pub(crate) fn assert_no_failure_outside_of(&self, kills: &[Kill]) {
        let operations = self.operations.borrow();
        let mut excused = 0;
        for operation in operations.iter() {
            let Some(failure) = &operation.failure else {
                continue;
            };
            let under_way = |&(begin, end): &Kill| operation.begin <= end && operation.end >= begin;
            assert!(
                kills.iter().any(under_way),
                "what began outside of the kills failed: {failure}"
            );
            excused += 1;
        }
        println!(
            "{} operations, {excused} cut by {} kills",
            operations.len(),
            kills.len()
        );
        assert!(excused <= self.clients * kills.len(), "{excused} failures");
        let longest = operations
            .iter()
            .map(|operation| operation.end - operation.begin)
            .max();
        assert!(longest < Some(LONGEST), "an operation took {longest:?}");
    }
}

/// On a machine that also starts a server.
const LONGEST: Duration = Duration::from_secs(5);
