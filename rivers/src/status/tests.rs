//! What people read, from one status that has everything in it.

use super::*;

fn everything() -> Status {
    let down = Upstream {
        address: "10.0.0.3:6443".into(),
        sockets: vec!["10.0.0.3:6443".parse().unwrap()],
        state: "down".into(),
        reason: Some("<script>alert('1')</script> & \"\u{1b}[2J\"".into()),
        trusted: true,
        connections: 0,
        heard_seconds_ago: None,
    };
    let up = Upstream {
        address: "api.example:6443".into(),
        sockets: vec!["10.0.0.2:6443".parse().unwrap()],
        state: "up".into(),
        reason: None,
        trusted: true,
        connections: 7,
        heard_seconds_ago: Some(0.25),
    };
    let unverified = Upstream {
        address: "10.0.0.4:6443".into(),
        sockets: Vec::new(),
        state: "unknown".into(),
        reason: None,
        trusted: false,
        connections: 0,
        heard_seconds_ago: None,
    };
    let close = Close {
        seconds_ago: 12.34,
        client: "127.0.0.1:45678".parse().unwrap(),
        upstream: Some("api.example:6443".into()),
        tried: vec![Tried {
            upstream: "10.0.0.3:6443".into(),
            outcome: "refused".into(),
        }],
        seconds: 3_723.0,
        to_upstream: 812,
        to_client: 1_500_000,
        reason: "client_finished".into(),
    };
    let dial = Dial {
        seconds_ago: 90.0,
        upstream: "10.0.0.3:6443".into(),
        outcome: "refused".into(),
        took_seconds: 0.002,
    };
    Status {
        version: "1.2.3".into(),
        pid: 42,
        silent_workers: 1,
        listeners: vec![Listener {
            name: "kube<api>".into(),
            address: "127.0.0.1:16443".into(),
            upstreams: vec![up, down, unverified],
            recent_dials: vec![dial],
            recent_closes: vec![close],
        }],
    }
}

#[test]
fn the_table_on_a_terminal() {
    insta::assert_snapshot!("status", text::status(&everything()));
}

#[test]
fn an_explanation_on_a_terminal() {
    let Status { mut listeners, .. } = everything();
    let upstreams = listeners.remove(0).upstreams;
    let connection = Connection {
        client: "127.0.0.1:45678".parse().unwrap(),
        listener: "kube".into(),
        stage: Stage::Opening,
        why: "it had to go somewhere".into(),
        upstream: Some("api.example:6443".into()),
        accepted_seconds_ago: 3.1,
        connected_seconds_ago: Some(3.0),
        ended_seconds_ago: None,
        tried: Vec::new(),
        to_upstream: 812,
        to_client: 0,
        upstreams,
    };
    let ended = Connection {
        stage: Stage::Ended,
        connected_seconds_ago: None,
        ended_seconds_ago: Some(2.0),
        upstreams: Vec::new(),
        ..connection.clone()
    };
    let explanation = Explanation {
        silent_workers: 0,
        connections: vec![connection, ended],
    };
    insta::assert_snapshot!("explanation", text::explanation(&explanation));
}

#[test]
fn nothing_from_outside_is_markup_on_the_page() {
    let page = html::page(&everything());
    assert!(!page.contains("<script"), "{page}");
    assert!(
        page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;"),
        "{page}"
    );
    assert!(page.contains("<h2>kube&lt;api&gt; "), "{page}");
    assert!(
        page.contains("<span class=\"state down\">down</span>"),
        "{page}"
    );
    assert!(page.contains("1 of the workers did not answer"), "{page}");
}

#[test]
fn what_cannot_be_dialled_says_why() {
    let [_, _, mut upstream] = <[_; 3]>::try_from(everything().listeners.remove(0).upstreams)
        .unwrap_or_else(|_| panic!("there are three"));
    upstream.reason = Some("refused".into());
    assert_eq!(
        upstream.why(),
        "not dialled: its certificate has not been verified; refused"
    );
    upstream.trusted = true;
    assert_eq!(
        upstream.why(),
        "not dialled: its name has not been found; refused"
    );
}

#[test]
fn numbers_are_short() {
    let seconds = [0.0, 0.0004, 0.25, 4.28, 12.9, 185.4, f64::NAN, -1.0, 1e300];
    assert_eq!(
        seconds.map(words::seconds),
        ["0s", "0s", "250ms", "4.2s", "12s", "3m5s", "0s", "0s", "0s"]
    );
    let bytes = [0, 1023, 1024, 1_500_000, 10 << 30, u64::MAX];
    assert_eq!(
        bytes.map(words::bytes),
        [
            "0 B",
            "1023 B",
            "1.0 KiB",
            "1.4 MiB",
            "10.0 GiB",
            "16777215.9 TiB"
        ]
    );
}

#[test]
fn what_is_sent_is_what_is_read() {
    let status = everything();
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
}
