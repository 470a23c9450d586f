//! Requests of real Kubernetes clients to three real API servers, which are killed one after the other.
//!
//! Each request has a connection of its own, as those of a new client have. What is asserted: **no
//! request that began when the killing was done, or ended before it began, fails**. One that was under way
//! at that moment may: its connection was to the server that died.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kube::{Client, Config};
use tests::kubernetes::Cluster;
use tests::place::Place;
use tests::wait;
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::scene::{PATIENCE, Rivers};

#[tokio::test]
async fn requests_go_on_while_api_servers_are_killed_and_come_back() {
    LocalSet::new().run_until(killed_and_restarted()).await;
}

async fn killed_and_restarted() {
    let place = Place::loopback();
    let Some(mut cluster) = Cluster::builder(&place).api_servers(3).start().await else {
        return;
    };
    let upstreams: Vec<_> = cluster
        .api_servers
        .iter()
        .map(|server| server.address())
        .collect();
    let rivers = Rivers::start(&place, &upstreams, &[]).await;
    for &upstream in &upstreams {
        rivers.believes(upstream, "up").await;
    }
    let load = Load::start(&cluster, &rivers);
    load.requests(50).await;

    let first = kill(&mut cluster, 0);
    load.requests(100).await;
    rivers.believes(upstreams[0], "down").await;

    let second = kill(&mut cluster, 1);
    load.requests(100).await;
    cluster.api_servers[1].restart().await;
    rivers.believes(upstreams[1], "up").await;
    load.requests(100).await;

    load.assert_no_failure_outside_of(&[first, second]);
}

/// Kills a server, and says from when to when that took.
fn kill(cluster: &mut Cluster, index: usize) -> (Instant, Instant) {
    let begin = Instant::now();
    cluster.api_servers[index].peer.kill();
    (begin, Instant::now())
}

/// Clients that ask for `/version` again and again until the test's end.
struct Load {
    requests: Rc<RefCell<Vec<Request>>>,
}

/// One request that has ended.
struct Request {
    begin: Instant,
    end: Instant,
    failure: Option<String>,
}

impl Load {
    fn start(cluster: &Cluster, rivers: &Rivers) -> Self {
        let requests = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..CLIENTS {
            let requests = Rc::clone(&requests);
            let config = config(cluster, rivers);
            spawn_local(async move {
                loop {
                    let client = Client::try_from(config.clone()).unwrap();
                    let begin = Instant::now();
                    let outcome = client.apiserver_version().await;
                    requests.borrow_mut().push(Request {
                        begin,
                        end: Instant::now(),
                        failure: outcome.err().map(|error| format!("{error:?}")),
                    });
                    yield_now().await;
                }
            });
        }
        Self { requests }
    }

    /// Waits until so many more requests have ended.
    async fn requests(&self, more: usize) {
        let until = self.requests.borrow().len() + more;
        wait::until("requests to end", PATIENCE, async || {
            let ended = self.requests.borrow().len();
            if ended >= until { Ok(()) } else { Err(ended) }
        })
        .await;
    }

    fn assert_no_failure_outside_of(&self, kills: &[(Instant, Instant)]) {
        let requests = self.requests.borrow();
        let mut excused = 0;
        for request in requests.iter() {
            let Some(failure) = &request.failure else {
                continue;
            };
            let under_way =
                |&(begin, end): &(Instant, Instant)| request.begin <= end && request.end >= begin;
            assert!(
                kills.iter().any(under_way),
                "a request that began outside of the kills failed: {failure}"
            );
            excused += 1;
        }
        assert!(excused <= CLIENTS * kills.len(), "{excused} failures");
        let longest = requests
            .iter()
            .map(|request| request.end - request.begin)
            .max();
        assert!(longest < Some(LONGEST), "a request took {longest:?}");
    }
}

/// The admin's, through rivers. Nothing is tried twice: what fails is to be seen.
fn config(cluster: &Cluster, rivers: &Rivers) -> Config {
    let mut config = Config::new(format!("https://{}", rivers.listen).parse().unwrap());
    config.root_cert = Some(Vec::new());
    config.root_cert_file = Some(cluster.pki.ca_file());
    config.auth_info.client_certificate = Some(cluster.admin.certificate.display().to_string());
    config.auth_info.client_key = Some(cluster.admin.key.display().to_string());
    config.default_retry = false;
    config
}

const CLIENTS: usize = 4;
/// On a machine that also starts an API server.
const LONGEST: Duration = Duration::from_secs(5);
