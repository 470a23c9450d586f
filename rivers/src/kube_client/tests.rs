//! What can be said without an API server; the rest is in `tests/rivers`.

use super::*;

fn config(server: &str) -> Config {
    Config::new(server.parse().unwrap())
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn a_rivers_on_this_machine_is_asked_alone_and_else_the_control_plane() {
    let control_plane = || vec![address("10.9.0.2:6443"), address("10.9.0.3:6443")];
    for local in [
        "https://127.0.0.1:16443",
        "https://localhost:16443/",
        "https://[::1]:16443",
    ] {
        let servers = servers(&config(local), control_plane()).unwrap();
        assert_eq!(servers.len(), 1, "{local}");
        assert_eq!(servers[0].port, 16443);
    }
    let servers = servers(&config("https://10.9.0.2:6443"), control_plane()).unwrap();
    assert_eq!(servers, control_plane());
}

#[test]
fn a_server_that_cannot_be_dialled_is_named() {
    let refused = |server| {
        servers(&config(server), Vec::new())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused("http://127.0.0.1:8001"),
        "the kubeconfig's server `http://127.0.0.1:8001/` must be https://HOST:PORT, without a path"
    );
    assert!(refused("https://rancher.example/k8s/clusters/c-1").contains("without a path"));
}

#[tokio::test]
async fn when_nobody_answers_the_error_names_every_server() {
    let mut config = config("https://10.9.0.2:6443");
    config.root_cert = Some(Vec::new());
    // Port 1 of the loopback interface: nobody listens there.
    let client = connect(config, vec![address("127.0.0.1:1"), address("127.0.0.2:1")]).unwrap();
    let error = format!(
        "{:#}",
        anyhow::Error::new(client.apiserver_version().await.unwrap_err())
    );
    assert!(
        error.contains(
            "cannot reach an API server: 127.0.0.1:1: connection refused; 127.0.0.2:1: connection refused"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_list_without_servers_is_refused() {
    assert!(matches!(
        connect(config("https://a:1"), Vec::new()),
        Err(Error::NoServer)
    ));
}

#[test]
fn the_name_in_the_certificate_is_the_configured_one_or_the_host() {
    let name = |server: &str, configured| {
        server_name(&address(server), configured)
            .unwrap()
            .to_str()
            .into_owned()
    };
    assert_eq!(name("10.9.0.2:6443", None), "10.9.0.2");
    assert_eq!(name("api.example.:6443", None), "api.example");
    assert_eq!(name("10.9.0.2:6443", Some("kubernetes")), "kubernetes");
    assert!(server_name(&address("10.9.0.2:6443"), Some("a b")).is_err());
}

#[test]
fn what_a_cause_quotes_of_a_file_is_left_out() {
    let error = io::Error::other("line 3 is wrong:\n | token: SECRET");
    assert_eq!(flat(&error), "line 3 is wrong:");
}
