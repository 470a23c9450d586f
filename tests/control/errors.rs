//! What goes wrong is one sentence and an exit code.

use std::fs;
use std::path::{Path, PathBuf};

use tests::launch::Output;
use tests::pki::Pki;
use tests::place::Place;
use tests::program;

use crate::scene::Scene;

/// Asserts the code and that one line on standard error has all of `parts`.
#[track_caller]
fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.code(), code, "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(output.stderr.starts_with("control: "), "{output}");
    for part in parts {
        assert!(output.stderr.contains(part), "no `{part}` in: {output}");
    }
}

#[tokio::test]
async fn a_refusing_cluster_is_told_apart_from_one_that_cannot_be_reached() {
    let Some(mut scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "");
    let address = scene.cluster.upstreams()[0].clone();

    let nobody = scene.cluster.pki.client("nobody", None);
    let nobody = scene
        .cluster
        .pki
        .kubeconfig(&nobody, "https://192.0.2.1:6443");
    let output = scene.control_as(&nobody, &["plan"]).run().await;
    assert_fails(&output, 3, &["nobody", "403", "cluster administrator"]);

    let token = with(
        &scene.kubeconfig(),
        "client-certificate: ",
        "token: expired\n    # ",
    );
    let token = with(&token, "client-key: ", "# ");
    let output = scene.control_as(&token, &["sync"]).run().await;
    assert_fails(&output, 1, &["does not accept the credentials", "401"]);

    let other = Pki::new(&scene.folder().join("another-pki"));
    let ours = scene.cluster.pki.ca_file().display().to_string();
    let other_ca = with(
        &scene.kubeconfig(),
        &ours,
        &other.ca_file().display().to_string(),
    );
    let output = scene.control_as(&other_ca, &["sync"]).run().await;
    assert_fails(
        &output,
        1,
        &[&address, "certificate", "certificate-authority"],
    );

    scene.cluster.api_servers[0].peer.kill();
    for (command, code) in [("plan", 3), ("sync", 1)] {
        let output = scene.control(&[command]).run().await;
        assert_fails(
            &output,
            code,
            &[&address, "connection refused", "do the API servers run"],
        );
    }
}

/// A copy of a kubeconfig with something replaced.
fn with(kubeconfig: &Path, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(kubeconfig).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    let changed = kubeconfig.with_extension("changed");
    fs::write(&changed, text.replace(from, to)).unwrap();
    changed
}

#[tokio::test]
async fn a_wrong_file_or_flag_is_said_before_any_server_is_asked() {
    let place = Place::loopback();
    let run = async |arguments: &[&str]| program::control(&place).args(arguments).run().await;
    let cluster = place.folder().join("cluster.yml");

    assert_fails(&run(&["plan"]).await, 2, &["cluster.yml: no such file"]);

    let good = "name: a\nservice_subnet: 10.96.0.0/16\nnodes:\n- {address: 192.0.2.1, hostname: a, user: u, control_plane: true}\n";
    fs::write(&cluster, format!("{good}dns_server: [192.0.2.53]\n")).unwrap();
    for command in ["validate", "plan", "sync"] {
        assert_fails(
            &run(&[command]).await,
            2,
            &["cluster.yml:5:1: unknown field `dns_server`"],
        );
    }

    fs::write(&cluster, format!("{good}reboot: {{reboot_command: [x]}}\n")).unwrap();
    let output = run(&["validate"]).await.success();
    assert!(
        output.contains("ignored: reboot (CKE's own job)"),
        "{output}"
    );

    assert_fails(
        &run(&["sync"]).await,
        2,
        &["no kubeconfig", ".kube/config does not exist"],
    );

    let kubeconfig = place.folder().join("kubeconfig");
    fs::write(&kubeconfig, "users: [{name: a, user: {token: [SECRET]}}]\n").unwrap();
    let output = program::control(&place)
        .arg("sync")
        .env("KUBECONFIG", &kubeconfig)
        .run()
        .await;
    assert_fails(&output, 2, &["kubeconfig", "line 1"]);
    assert!(!output.stderr.contains("SECRET"), "{output}");

    assert_eq!(run(&["plna"]).await.code(), 2);
    assert!(
        run(&["--version"])
            .await
            .success()
            .starts_with("control 0.")
    );
    assert!(
        run(&["completions", "bash"])
            .await
            .success()
            .contains("complete")
    );
}
