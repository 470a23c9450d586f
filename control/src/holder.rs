//! Holds the Lease while something writes: asks [`Election`] what to do, does it, again and
//! again, and says until when writes may begin.

use std::iter;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::client::Server;
use crate::kind::Kinds;
use crate::lease::{self, Election, Step};
use crate::metrics;

/// Until when writes may begin; None while another one holds the Lease.
pub(crate) type Until = watch::Receiver<Option<Instant>>;

/// Whether a write may begin now.
pub(crate) fn may_write(until: &Until) -> bool {
    until.borrow().is_some_and(|until| Instant::now() < until)
}

/// Keeps the Lease, or waits for it, for ever. One API server that hangs must not cost it: where an
/// attempt fails, the next one asks another.
pub(crate) async fn hold(server: &Server, me: &str, until: watch::Sender<Option<Instant>>) {
    let mut election = Election::new(me);
    let ways: Vec<Server> = iter::once(server.clone()).chain(server.each()).collect();
    let (mut way, mut failures) = (0, 0);
    loop {
        let begun = Instant::now();
        let attempt = elect(&ways[way % ways.len()], &mut election, begun);
        let held = timeout(patience(failures / ways.len()), attempt).await;
        let is_answer = matches!(held, Ok(Ok(_)));
        match held {
            Ok(Ok(None)) => {
                if until.send_replace(Some(begun + lease::WRITES)).is_none() {
                    info!(holder = me, "we hold the Lease and write");
                    metrics::leading(true);
                }
            }
            Ok(Ok(Some(_))) => {
                if until.send_replace(None).is_some() {
                    warn!("another one holds the Lease now; we write no more");
                }
                metrics::leading(false);
            }
            // What we hold runs out by itself.
            Ok(Err(error)) => warn!(error, "the Lease could not be renewed"),
            Err(_) => warn!("the Lease could not be renewed in time"),
        }
        if is_answer {
            // Who needed the longer time will need it again.
            if begun.elapsed() < ATTEMPT / 2 {
                failures = 0;
            }
            sleep(lease::RENEW).await;
        } else {
            failures += 1;
            way += 1;
            let is_first_turn = failures < ways.len();
            sleep(if is_first_turn {
                lease::LOOK
            } else {
                lease::RENEW
            })
            .await;
        }
    }
}

/// For an attempt, after so many turns in which nobody answered: who is slow gets more time.
fn patience(turns: usize) -> Duration {
    let doublings = u32::try_from(turns.min(8)).unwrap_or(8);
    (ATTEMPT * 2u32.pow(doublings)).min(lease::WRITES)
}

/// Another instance that keeps the cluster just now, as far as a look at the Lease can tell.
pub(crate) async fn other(server: &Server) -> Result<Option<String>, String> {
    let live = read(server).await?;
    Ok(live.and_then(|live| lease::holder(&live, jiff::Timestamp::now())))
}

/// Does `work` while it holds the Lease, and gives it back. One that another instance holds
/// and renews is an error, which names it; one that nobody renews is waited for.
pub(crate) async fn holding<T>(
    server: &Server,
    me: &str,
    work: impl AsyncFnOnce(&Until) -> T,
) -> Result<T, String> {
    let begun = acquire(server, me).await?;
    let (sender, until) = watch::channel(Some(begun + lease::WRITES));
    let done = tokio::select! {
        done = work(&until) => done,
        () = hold(server, me, sender) => unreachable!("it is held for ever"),
    };
    release(server, me).await;
    Ok(done)
}

/// When what is held now began.
async fn acquire(server: &Server, me: &str) -> Result<Instant, String> {
    let mut election = Election::new(me);
    let mut first = None;
    loop {
        let begun = Instant::now();
        let held = timeout(lease::WRITES, elect(server, &mut election, begun)).await;
        let held = held.map_err(|_| "the Lease could not be taken in time".to_owned())?;
        let Some(other) = held? else {
            return Ok(begun);
        };
        // Who lives renews it.
        if *first.get_or_insert_with(|| other.clone()) != other {
            return Err(refused(&other.name));
        }
        sleep(lease::LOOK).await;
    }
}

/// Why nothing is written beside another instance.
pub(crate) fn refused(by: &str) -> String {
    format!(
        "{by} keeps this cluster (Lease kube-system/cke-control): if it is a `control run`, change its \
         files or stop it first; another `control sync` ends soon"
    )
}

/// Another holder, as it was seen.
#[derive(Clone, PartialEq, Eq)]
struct Other {
    name: String,
    /// It changes when the Lease is renewed.
    version: Value,
}

/// One look at the Lease; who holds it then, if it is not ours.
async fn elect(
    server: &Server,
    election: &mut Election,
    now: Instant,
) -> Result<Option<Other>, String> {
    let key = lease::key();
    loop {
        let live = read(server).await?;
        let written = match election.step(live.as_ref(), now, &stamp()) {
            Step::Wait { holder } => {
                let version = live.map(|mut live| live["metadata"]["resourceVersion"].take());
                return Ok(Some(Other {
                    name: holder,
                    version: version.unwrap_or_default(),
                }));
            }
            Step::Create(lease) => server.create(&key, PLURAL, None, &lease).await.map(drop),
            Step::Replace(lease) => server.replace(&key, PLURAL, &lease).await.map(drop),
        };
        match written {
            Ok(()) => return Ok(None),
            // Somebody was faster: see who.
            Err(error) if error.conflict => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn read(server: &Server) -> Result<Option<Value>, String> {
    let key = lease::key();
    let kinds = Kinds::default();
    let kind = kinds.of(&key).expect("a Lease is Kubernetes' own");
    server
        .object(&key, kind)
        .await
        .map_err(|error| error.to_string())
}

/// Gives the Lease back, so that another one need not wait for it to run out.
pub(crate) async fn release(server: &Server, me: &str) {
    let election = Election::new(me);
    let released = timeout(lease::WRITES, async {
        let live = read(server).await.ok()??;
        let lease = election.release(&live)?;
        server.replace(&lease::key(), PLURAL, &lease).await.ok()
    });
    if released.await.is_ok_and(|released| released.is_some()) {
        info!("the Lease is given back");
    }
}

/// As Kubernetes' MicroTime has it.
fn stamp() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

const PLURAL: &str = "leases";
/// A Lease is read and written in milliseconds.
const ATTEMPT: Duration = Duration::from_secs(1);
