//! What rivers tells people: the page, its JSON, `rivers status` and `rivers explain`.

use std::net::SocketAddr;

use serde_json::Value;
use tests::launch::{Launch, Output};
use tests::place::Place;
use tests::{binaries, program, wait};
use tokio::net::TcpStream;

use crate::scene::{PATIENCE, Rivers, admin, echo, exchange};

/// A rivers with one server that works and one that refuses, which is down.
struct Scene {
    place: Place,
    rivers: Rivers,
    server: SocketAddr,
    nobody: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let place = Place::loopback();
        let [server, nobody] = [2, 3].map(|node| place.socket_address(node, 6443));
        echo(server).await;
        let flags = ["--check-interval=100ms", "--health-mode=tcp"];
        let rivers = Rivers::start(&place, &[server, nobody], &flags).await;
        rivers.believes(server, "up").await;
        rivers.believes(nobody, "down").await;
        Self {
            place,
            rivers,
            server,
            nobody,
        }
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.rivers.admin.get(path).await.unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// `rivers` with a subcommand, asking this one.
    async fn run(&self, arguments: &[&str]) -> Output {
        let command = program::rivers(&self.place).args(arguments);
        command
            .arg(format!("--admin={}", self.rivers.admin.0))
            .run()
            .await
    }

    /// A connection that is gone, and the address that its client had.
    async fn gone(&self) -> SocketAddr {
        let mut client = self.rivers.client().await;
        exchange(&mut client).await.unwrap();
        let address = client.local_addr().unwrap();
        drop(client);
        wait::until("the close to be told", PATIENCE, async || {
            let status = self.json("/status.json").await;
            let closes = status["listeners"][0]["recent_closes"].clone();
            let of_client = |close: &&Value| close["client"] == address.to_string();
            let closes = closes.as_array().unwrap();
            closes.iter().find(of_client).map(drop).ok_or(status)
        })
        .await;
        address
    }
}

#[tokio::test]
async fn each_upstream_is_told_with_its_state_the_reason_and_what_happened_lately() {
    let scene = Scene::new().await;
    let mut client = scene.rivers.client().await;
    exchange(&mut client).await.unwrap();
    let gone = scene.gone().await;
    let status = scene.json("/status.json").await;
    assert_eq!(status["silent_workers"], 0);
    let listener = &status["listeners"][0];
    assert_eq!(listener["address"], scene.rivers.listen.to_string());
    let [up, down] = [0, 1].map(|index| &listener["upstreams"][index]);
    assert_eq!(up["address"], scene.server.to_string());
    assert_eq!((&up["state"], &up["reason"]), (&"up".into(), &Value::Null));
    assert_eq!(
        (&up["connections"], &up["trusted"]),
        (&1.into(), &true.into())
    );
    assert!(up["heard_seconds_ago"].is_f64(), "{up}");
    assert_eq!(down["address"], scene.nobody.to_string());
    assert_eq!(down["state"], "down");
    let reason = down["reason"].as_str().unwrap();
    assert!(reason.contains("refused"), "{reason}");
    assert_eq!(down["connections"], 0);

    let closes = listener["recent_closes"].as_array().unwrap();
    let close = closes
        .iter()
        .find(|it| it["client"] == gone.to_string())
        .unwrap();
    assert_eq!(close["upstream"], scene.server.to_string());
    assert_eq!(
        (&close["to_upstream"], &close["to_client"]),
        (&4.into(), &4.into())
    );
    assert_eq!(close["reason"], "client_finished");
    let dials = listener["recent_dials"].as_array().unwrap();
    let connected = dials.iter().filter(|dial| dial["outcome"] == "connected");
    assert!(connected.count() >= 2, "{dials:?}");
}

#[tokio::test]
async fn the_terminal_shows_the_same() {
    let scene = Scene::new().await;
    let gone = scene.gone().await;
    let output = scene.run(&["status"]).await;
    assert_eq!(output.code(), 0, "{output}");
    let line = |text: &str| {
        let mut lines = output.stdout.lines();
        lines.find(|line| line.contains(text)).unwrap().to_owned()
    };
    let down = line(&format!("{}  down", scene.nobody));
    assert!(down.contains("refused"), "{output}");
    assert!(
        line(&gone.to_string()).contains("client_finished"),
        "{output}"
    );
    let json = scene.run(&["status", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["listeners"][0]["upstreams"][1]["state"], "down");
}

#[tokio::test]
async fn a_live_connection_is_explained() {
    let scene = Scene::new().await;
    let mut client = scene.rivers.client().await;
    exchange(&mut client).await.unwrap();
    let address = client.local_addr().unwrap().to_string();
    let explained = scene.json(&format!("/explain?client={address}")).await;
    let connections = explained["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1, "{explained}");
    let connection = &connections[0];
    assert_eq!(connection["stage"], "relaying");
    assert_eq!(connection["upstream"], scene.server.to_string());
    assert!(connection["connected_seconds_ago"].is_f64(), "{connection}");
    assert_eq!(
        (&connection["to_upstream"], &connection["to_client"]),
        (&4.into(), &4.into())
    );
    assert_eq!(connection["upstreams"][1]["state"], "down");
    let output = scene.run(&["explain", &address]).await;
    assert_eq!(output.code(), 0, "{output}");
    let why = format!("{} was up when it was chosen (least_loaded)", scene.server);
    assert!(output.stdout.contains(&why), "{output}");
    assert!(
        output.stdout.contains("4 to the upstream, 4 to the client"),
        "{output}"
    );
}

#[tokio::test]
async fn a_connection_that_nobody_serves_and_one_that_has_ended_are_explained() {
    let place = Place::loopback();
    let nobody = place.socket_address(2, 6443);
    let rivers = Rivers::start(&place, &[nobody], &["--dial-timeout=2s"]).await;
    let mut client: TcpStream = rivers.client().await;
    let address = client.local_addr().unwrap();
    let path = format!("/explain?client={address}");
    let stage = async |wanted: &str| {
        wait::until(wanted, PATIENCE, async || {
            let (_, body) = rivers.admin.get(&path).await.unwrap();
            let explained: Value = serde_json::from_str(&body).unwrap_or_default();
            let connection = explained["connections"][0].clone();
            let is_tried = connection["tried"][0]["outcome"] == "refused";
            if connection["stage"] == wanted && is_tried {
                Ok(connection)
            } else {
                Err(body)
            }
        })
        .await
    };
    let dialling = stage("dialling").await;
    let why = dialling["why"].as_str().unwrap();
    assert!(why.contains("no upstream has accepted it yet"), "{why}");
    assert_eq!(dialling["upstream"], Value::Null);
    exchange(&mut client).await.unwrap_err();
    let ended = stage("ended").await;
    assert_eq!(
        ended["why"],
        "no_upstream: every upstream was tried and failed"
    );
}

#[tokio::test]
async fn an_unknown_client_and_a_rivers_that_is_not_there_are_one_sentence() {
    let scene = Scene::new().await;
    let unknown = scene.run(&["explain", "192.0.2.1:1"]).await;
    assert_eq!(unknown.code(), 1, "{unknown}");
    let sentence =
        "rivers: no connection of 192.0.2.1:1 is here, nor among the last 32 that have ended";
    assert!(unknown.stderr.starts_with(sentence), "{unknown}");
    assert_eq!(
        scene.rivers.admin.get("/explain?client=x").await.unwrap().0,
        404
    );

    let place = Place::loopback();
    let nobody = admin(&place);
    let flag = format!("--admin={nobody}");
    let output = program::rivers(&place).args(["status", &flag]).run().await;
    assert_eq!(output.code(), 1, "{output}");
    let sentence = format!(
        "rivers: nobody answers at {nobody} (connection refused); `--admin IP:PORT` names the admin address of the rivers that is meant\n"
    );
    assert_eq!(output.stderr, sentence);
}

/// What a browser made of the page, not what was sent.
#[tokio::test]
async fn a_browser_shows_the_page() {
    let scene = Scene::new().await;
    let Some(chromium) = binaries::packaged("chromium") else {
        return;
    };
    let gone = scene.gone().await;
    let browser = Launch::new(&scene.place, "chromium", &chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("http://{}/", scene.rivers.admin.0));
    let output = browser.run().await;
    assert_eq!(output.code(), 0, "{output}");
    let rows: Vec<&str> = output.stdout.split("<tr>").collect();
    let row = |text: String| *rows.iter().find(|row| row.contains(&text)).unwrap();
    let up = row(format!("<td>{}</td>", scene.server));
    assert!(up.contains("<span class=\"state up\">up</span>"), "{up}");
    let down = row(format!("<td>{}</td>", scene.nobody));
    assert!(
        down.contains("<span class=\"state down\">down</span>"),
        "{down}"
    );
    assert!(down.contains("refused"), "{down}");
    let close = row(format!(">{gone}</a>"));
    assert!(close.contains("client_finished"), "{close}");
}
