//! Rights are as narrow as they can be: with each verb of each rule taken away, something fails that worked with it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::admin::Admin;
use tests::coredns::CoreDns;
use tests::node::images::root;
use tests::{program, wait};

use crate::scene::{DEADLINE, Scene, parse};

/// A role of a file, with the rules that it has there.
struct Role(Value);

impl Role {
    fn all(file: &str) -> Vec<Self> {
        let text = fs::read_to_string(root().join("deploy").join(file)).unwrap();
        let documents = parse(&text).into_iter();
        documents
            .filter(|document| document["rules"].is_array())
            .map(Self)
            .collect()
    }

    /// The role without each of its rules in turn.
    fn without_a_rule(&self) -> impl Iterator<Item = Value> {
        let rules = self.0["rules"].as_array().unwrap().len();
        (0..rules).map(|rule| {
            let mut role = self.0.clone();
            role["rules"].as_array_mut().unwrap().remove(rule);
            role
        })
    }

    /// The role without each verb of each of its rules in turn, and what that was.
    fn lessened(&self) -> impl Iterator<Item = (String, Value)> {
        let rules = self.0["rules"].as_array().unwrap().iter().enumerate();
        let verbs = rules.flat_map(|(rule, content)| {
            let verbs = content["verbs"].as_array().unwrap();
            (0..verbs.len()).map(move |verb| (rule, verb))
        });
        verbs.map(|(rule, verb)| {
            let mut role = self.0.clone();
            let lessened = &mut role["rules"][rule];
            let taken = lessened["verbs"].as_array_mut().unwrap().remove(verb);
            let what = format!("{taken} of {}", self.0["rules"][rule]);
            if lessened["verbs"] == json!([]) {
                role["rules"].as_array_mut().unwrap().remove(rule);
            }
            (what, role)
        })
    }
}

impl Scene {
    /// Writes objects as they stand.
    async fn put(&self, objects: &[Value]) {
        let file = self.place.folder().join("objects.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(&file, list.to_string()).unwrap();
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename"];
        self.kubectl(&arguments).arg(&file).run().await.success();
    }

    async fn put_file(&self, file: &str) {
        let text = fs::read_to_string(root().join("deploy").join(file)).unwrap();
        self.put(&parse(&text)).await;
    }

    /// Takes away all that control writes, and adds a Node that is in no cluster.yml.
    async fn bare(&self) {
        self.put(&[json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "left"}})])
            .await;
        for (namespace, objects) in OWN {
            self.kubectl(&["delete", "--ignore-not-found", "--wait=false", namespace])
                .args(objects.split(' '))
                .run()
                .await
                .success();
        }
    }
}

#[tokio::test]
async fn control_needs_each_of_its_rules() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.put_file("control/rbac.yaml").await;
    let kubeconfig = scene.kubeconfig_of("control").await;
    works(&scene, &kubeconfig).await.unwrap();
    let mut unneeded = Vec::new();
    for role in Role::all("control/rbac.yaml") {
        for (what, lessened) in role.lessened() {
            scene.put(&[lessened]).await;
            if works(&scene, &kubeconfig).await.is_ok() {
                unneeded.push(what);
            }
        }
        scene.put(std::slice::from_ref(&role.0)).await;
    }
    assert!(unneeded.is_empty(), "{unneeded:#?}");
    works(&scene, &kubeconfig).await.unwrap();
}

/// Whether control does all its work with these credentials: from nothing, and then a change; what it said if not.
async fn works(scene: &Scene, kubeconfig: &Path) -> Result<(), String> {
    scene.bare().await;
    for domain in ["cluster.local", "k8s.example"] {
        scene.cluster_yml(domain);
        // The first one makes the Lease, and leaves it to the second.
        let mut control = scene
            .control(
                kubeconfig,
                &["run", "--interval=1s", "--metrics-addr=127.0.0.1:9254"],
            )
            .start();
        let admin = Admin("127.0.0.1:9254".parse().unwrap());
        let refused = wait::until("a round, or a refusal", DEADLINE, async || {
            let log = control.log();
            if log.contains("lack the right (403") {
                return Ok(Some(log));
            }
            admin.ready().await.map_err(|error| error.to_string())?;
            match admin
                .metric("control_syncs_total", &[("result", "converged")])
                .await
            {
                0.0 => Err(log),
                _ => Ok(None),
            }
        })
        .await;
        control.stop().await;
        if let Some(log) = refused {
            return Err(log);
        }
    }
    Ok(())
}

#[tokio::test]
async fn rivers_needs_its_rule_to_find_api_servers() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.put_file("rivers/rbac.yaml").await;
    let kubeconfig = scene.kubeconfig_of("rivers").await;
    let start = || {
        program::rivers(&scene.place)
            .arg("--listen=127.0.0.1:16443")
            .arg(program::run_dir(&scene.place))
            .arg(format!(
                "--state-dir={}",
                scene.place.folder().join("state").display()
            ))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!(
                "--upstreams={}",
                scene.cluster.upstreams().join(",")
            ))
            .start()
    };
    let rivers = start();
    let admin = Admin("127.0.0.1:16480".parse().unwrap());
    wait::until("a watch", DEADLINE, async || {
        admin.ready().await?;
        match admin.metric("rivers_discovery_watching", &[]).await {
            1.0 => Ok(()),
            _ => Err(std::io::Error::other("no watch")),
        }
    })
    .await;
    drop(rivers);
    let [role] = &Role::all("rivers/rbac.yaml")[..] else {
        panic!("rivers has one role");
    };
    for (_, lessened) in role.lessened() {
        scene.put(&[lessened]).await;
        start().says("cannot watch the upstreams").await;
    }
}

/// CoreDNS asks for all that it answers from at its start. A newer one watches without a list; older ones list first.
#[tokio::test]
async fn coredns_needs_each_of_its_rules() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.put_file("cluster-dns/account.yaml").await;
    let kubeconfig = scene.kubeconfig_of("cke-cluster-dns").await;
    let start = async || {
        let address = scene.place.socket_address(1, 53);
        let corefile = format!(
            ".:53 {{\n bind {}\n errors\n kubernetes cluster.local {{\n  pods verified\n  kubeconfig {} context\n }}\n}}\n",
            address.ip(),
            kubeconfig.display()
        );
        CoreDns::start(&scene.place, address, &corefile).await
    };
    let Some(coredns) = start().await else {
        return;
    };
    let log = coredns.peer.log();
    assert!(!log.contains("forbidden"), "{log}");
    drop(coredns);
    for role in Role::all("cluster-dns/account.yaml") {
        for lessened in role.without_a_rule() {
            scene.put(&[lessened]).await;
            let coredns = start().await.unwrap();
            coredns.peer.says("forbidden").await;
        }
        scene.put(std::slice::from_ref(&role.0)).await;
    }
}

/// What control writes, as kubectl takes it.
const OWN: [(&str, &str); 3] = [
    (
        "--namespace=kube-system",
        "deployment/cluster-dns daemonset/node-dns service/cluster-dns service/cke-etcd \
         poddisruptionbudget/cluster-dns-pdb configmap/cluster-dns configmap/node-dns \
         configmap/cke-control-records lease/cke-control endpointslice/cke-etcd endpoints/cke-etcd \
         serviceaccount/cke-cluster-dns serviceaccount/cke-node-dns role/psp:cluster-dns role/psp:node-dns \
         rolebinding/psp:cluster-dns rolebinding/psp:node-dns",
    ),
    (
        "--namespace=default",
        "endpointslice/kubernetes endpoints/kubernetes",
    ),
    (
        "--all=false",
        "clusterrole/system:cluster-dns clusterrole/system:kube-apiserver-to-kubelet \
         clusterrolebinding/system:cluster-dns clusterrolebinding/system:kube-apiserver",
    ),
];
