//! What a person reads when a request fails, without any server.

use std::io;

use kube::core::Status;

use super::*;

fn server() -> Server {
    let mut config = Config::new("https://192.0.2.1:6443".parse().unwrap());
    config.root_cert = Some(Vec::new());
    let address: Address = "192.0.2.1:6443".parse().unwrap();
    Server {
        deadline: DEADLINE,
        direct: BTreeMap::new(),
        client: kube_client::connect(config, vec![address]).unwrap(),
        addresses: "192.0.2.1:6443".to_owned(),
        kubeconfig: "admin.kubeconfig".to_owned(),
    }
}

fn refused(code: u16, reason: &str, message: &str) -> kube::Error {
    kube::Error::Api(Box::new(Status {
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..Status::default()
    }))
}

async fn sentence(error: kube::Error) -> String {
    let request = std::future::ready(Err::<(), _>(error));
    server()
        .request("read Node a", request)
        .await
        .unwrap_err()
        .to_string()
}

#[tokio::test]
async fn each_failure_says_what_where_and_how_to_mend_it() {
    let service = |text: &str| kube::Error::Service(io::Error::other(text.to_owned()).into());
    let sentences = [
        sentence(refused(401, "Unauthorized", "Unauthorized")).await,
        sentence(refused(403, "Forbidden", "User \"a\" cannot get nodes")).await,
        sentence(refused(500, "InternalError", "etcd is gone")).await,
        sentence(service(
            "cannot reach an API server: 192.0.2.1:6443: connection refused",
        ))
        .await,
        sentence(service(
            "192.0.2.1:6443: invalid peer certificate: UnknownIssuer",
        ))
        .await,
    ];
    insta::assert_snapshot!(sentences.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_deadline() {
    let never = std::future::pending::<kube::Result<()>>();
    let error = server().request("read Node a", never).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read Node a: no answer from 192.0.2.1:6443 within 30s; is the API server \
         overloaded, or a firewall between?"
    );
}

#[tokio::test]
async fn only_a_conflict_is_one() {
    let conflict = async |code| {
        let request = std::future::ready(Err::<(), _>(refused(code, "", "")));
        server()
            .request("patch", request)
            .await
            .unwrap_err()
            .conflict
    };
    assert!(conflict(409).await);
    assert!(!conflict(422).await);
}

#[tokio::test]
async fn a_servers_words_cannot_steer_the_terminal() {
    let error = sentence(refused(500, "x", "a\n\u{1b}[2Jb\u{9b}c")).await;
    assert!(error.ends_with("says 500 x: a  [2Jb c"), "{error:?}");
}
