//! API servers behind rivers: all are reached, one dies under load, and comes back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::demo::load::{Load, Tally};
use crate::demo::progress::Progress;
use crate::demo::report::{Row, brief};
use crate::demo::request::{Client, Protocol};
use crate::demo::scene::Scene;

/// Three rows; everything runs again afterwards.
pub(super) async fn check(scene: &mut Scene, progress: &Progress) -> anyhow::Result<Vec<Row>> {
    let client = Client::new(scene.rivers.listen, &scene.certificates.ca)?;

    progress.step("asking the API servers through rivers");
    let all = all_are_reached(&client).await;

    progress.step("killing one of them under load");
    let load = Load::start(&client, CLIENTS);
    tokio::time::sleep(LOAD_BEFORE).await;
    let [_, victim, _] = &mut scene.api_servers;
    let kill_begun = Instant::now();
    victim.kill().await?;
    let kill_done = Instant::now();
    tokio::time::sleep(LOAD_WITHOUT).await;

    progress.step("starting it again");
    victim.restart().await?;
    let back = comes_back(&load, VICTIM, victim.back_within()).await;

    let tally = Tally::of(&load.finish().await, kill_begun..kill_done);
    Ok(vec![all, survives_a_kill(&tally), back])
}

/// Asks over both versions of HTTP until every server has answered over each. On a busy machine the first
/// probe of one may come late, and until then the others are preferred.
async fn all_are_reached(client: &Client) -> Row {
    const CHECK: &str = "rivers reaches all three API servers";
    let mut requests = 0;
    for (protocol, name) in [(Protocol::Http1, "HTTP/1.1"), (Protocol::Http2, "HTTP/2")] {
        let mut answered = BTreeSet::new();
        let begun = Instant::now();
        while begun.elapsed() < ALL_REACHED_WITHIN {
            requests += 1;
            match client.version(protocol).await {
                Ok(server) => answered.insert(server),
                Err(error) => return Row::failed(CHECK, format!("over {name}: {error}")),
            };
            if answered.len() == 3 {
                break;
            }
        }
        if answered.len() < 3 {
            let answered: Vec<_> = answered.into_iter().collect();
            return Row::failed(
                CHECK,
                format!(
                    "over {name} only {} answered within {}",
                    answered.join(", "),
                    brief(ALL_REACHED_WITHIN)
                ),
            );
        }
    }
    Row::passed(
        CHECK,
        format!(
            "a, b and c within {requests} requests over HTTP/1.1 and HTTP/2, certificates verified"
        ),
    )
}

/// A request in the hands of the killed server is not a failure of the balancer if the server had
/// begun to speak. If it had not, the balancer has to carry it to another one.
fn survives_a_kill(tally: &Tally) -> Row {
    const CHECK: &str = "one is SIGKILLed under load";
    let mut detail = format!(
        "{} requests on new TLS connections, {} failed; p50 {}, p99 {}",
        tally.requests,
        tally.failed,
        brief(tally.p50),
        brief(tally.p99)
    );
    if tally.cut > 0 {
        detail += &format!("; {} cut in mid-answer with their server", tally.cut);
    }
    if let Some(reason) = &tally.first_failure {
        return Row::failed(CHECK, format!("{detail}; the first: {reason}"));
    }
    if tally.lost > 0 {
        let lost = tally.lost;
        return Row::failed(
            CHECK,
            format!("{detail}; {lost} lost before the server's first byte"),
        );
    }
    // A client has one request at a time, so that a kill hits no more than one of each.
    if tally.cut > CLIENTS {
        return Row::failed(CHECK, detail);
    }
    Row::passed(CHECK, detail)
}

/// Waits until `server`, just started again, answers one of the clients.
async fn comes_back(load: &Load, server: &str, within: Duration) -> Row {
    const CHECK: &str = "it comes back";
    let started = Instant::now();
    while started.elapsed() < within {
        tokio::time::sleep(POLL).await;
        if let Some(answered) = load.last_answer(server).filter(|at| *at > started) {
            let took = brief(answered - started);
            return Row::passed(
                CHECK,
                format!("{server} answers again {took} after its start"),
            );
        }
    }
    Row::failed(
        CHECK,
        format!("{server} got no request within {} s", within.as_secs()),
    )
}

const CLIENTS: usize = 8;
const VICTIM: &str = "b";
const ALL_REACHED_WITHIN: Duration = Duration::from_secs(10);
const LOAD_BEFORE: Duration = Duration::from_millis(700);
const LOAD_WITHOUT: Duration = Duration::from_millis(1500);
const POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::report::Outcome;

    fn tally() -> Tally {
        Tally {
            requests: 3_000,
            failed: 0,
            lost: 0,
            cut: 0,
            first_failure: None,
            p50: Duration::from_millis(2),
            p99: Duration::from_millis(9),
        }
    }

    #[test]
    fn requests_cut_in_mid_answer_are_told_but_do_not_fail() {
        let row = survives_a_kill(&Tally { cut: 2, ..tally() });
        assert_eq!(row.result, Outcome::Passed);
        assert_eq!(
            row.detail,
            "3000 requests on new TLS connections, 0 failed; p50 2.0 ms, p99 9.0 ms; \
             2 cut in mid-answer with their server"
        );
    }

    #[test]
    fn a_request_lost_before_the_first_byte_fails() {
        let row = survives_a_kill(&Tally { lost: 1, ..tally() });
        assert_eq!(row.result, Outcome::Failed);
        assert!(
            row.detail
                .ends_with("1 lost before the server's first byte")
        );
    }

    #[test]
    fn more_requests_than_clients_cannot_end_with_the_kill() {
        let cut = CLIENTS + 1;
        let row = survives_a_kill(&Tally { cut, ..tally() });
        assert_eq!(row.result, Outcome::Failed);
    }

    #[test]
    fn one_failure_fails() {
        let row = survives_a_kill(&Tally {
            failed: 1,
            first_failure: Some("connect: refused".to_owned()),
            ..tally()
        });
        assert_eq!(row.result, Outcome::Failed);
        assert!(row.detail.ends_with("the first: connect: refused"));
    }
}
