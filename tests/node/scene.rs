//! The cluster, its node, and the world outside.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tests::dns::{Question, RecordType};
use tests::kubernetes::{Cluster, Controllers};
use tests::launch::{Launch, Output};
use tests::node::{Node, Plan, Unit, images};
use tests::peer::Peer;
use tests::place::Place;
use tests::root::Root;
use tests::{binaries, program, wait};

/// Ended from top to bottom.
pub(crate) struct Scene {
    pub(crate) node: Node,
    _controllers: Controllers,
    pub(crate) cluster: Cluster,
    pub(crate) world: Root,
    kubectl: PathBuf,
    pub(crate) place: Place,
}

impl Scene {
    /// Three API servers, and a node as cold as they come: images are on it, and rivers as its first program.
    /// `None` where this machine cannot, which has then been said.
    ///
    /// `rivers` is how its service manager starts that.
    pub(crate) async fn start(rivers: fn(&Place, &Cluster) -> Unit) -> Option<Self> {
        let place = Place::namespace()?;
        let kubectl = binaries::built("kubectl")?;
        let mut archives = images::ours(&place, &["nodedns", "rivers"]);
        archives.extend([
            images::pause(&place)?,
            images::client(&place)?,
            images::coredns(&place, COREDNS)?,
        ]);
        let world = Root::start(&place, place.socket_address(WORLD, WORLD_PORT)).await?;
        let cluster = Cluster::builder(&place)
            .api_servers(3)
            .service_accounts()
            .start()
            .await?;
        let controllers = Controllers::start(&place, &cluster.pki, THROUGH_RIVERS)?;
        let node = Node::boot(Plan {
            place: &place,
            pki: &cluster.pki,
            name: NODE,
            api: THROUGH_RIVERS,
            units: vec![rivers(&place, &cluster)],
            archives,
        })
        .await?;
        // A rollover from the root's key to that of the world of this test has been followed here.
        let state = node.file("/var/lib/nodedns");
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("trust-anchors.json"), trust(&world.dnskey())).unwrap();
        let scene = Self {
            node,
            _controllers: controllers,
            cluster,
            world,
            kubectl,
            place,
        };
        scene.cluster_yml();
        Some(scene)
    }

    /// Writes cluster.yml, with the API servers where they are.
    pub(crate) fn cluster_yml(&self) {
        let control_plane: String = CONTROL_PLANE
            .iter()
            .zip(&self.cluster.api_servers)
            .map(|(name, server)| {
                let address = server.address().ip();
                format!(
                    "- {{address: {address}, hostname: {name}, user: admin, control_plane: true}}\n"
                )
            })
            .collect();
        let text = format!(
            "name: node
service_subnet: 10.96.0.0/16
nodes:
{control_plane}- {{address: {worker}, hostname: {NODE}, user: admin}}
options:
  node-dns:
    config:
      zones: [{{name: ., forward: [\"{world}\"]}}]
      # Clients of an update ask as fast as they can, all from one address.
      limits: {{exempt: [10.9.0.0/24]}}
",
            worker = self.place.address(1),
            world = self.world.address(),
        );
        fs::write(self.place.folder().join("cluster.yml"), text).unwrap();
    }

    /// A client of the API, through rivers.
    pub(crate) fn client(&self) -> Client {
        self.cluster.client_at(THROUGH_RIVERS)
    }

    /// Another rivers beside the one that serves, to take over from it.
    pub(crate) fn next_rivers(&self) -> Peer {
        let unit = rivers_by_flags(&self.place, &self.cluster);
        self.node
            .launch(&self.place, unit.name, &unit.program)
            .args(unit.arguments)
            .start()
    }

    /// Writes the DaemonSet of rivers, as it stands in `deploy/`.
    pub(crate) async fn rivers_daemon_set(&self) {
        let base = images::root().join("deploy/rivers");
        self.kubectl(&["apply", "--server-side", "--kustomize"])
            .arg(base)
            .run()
            .await
            .success();
    }

    pub(crate) fn control(&self, arguments: &[&str]) -> Launch {
        program::control(&self.place)
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig(THROUGH_RIVERS))
            .args(arguments)
    }

    /// rivers as a static pod, as it stands in `deploy/`, with a file of its own.
    pub(crate) fn static_rivers(&self) {
        let folder = self.place.folder().join("rivers");
        fs::create_dir(&folder).unwrap();
        let upstreams = self.cluster.upstreams();
        let text = format!(
            "listeners:\n- listen: \"127.0.0.1:16443\"\n  upstreams: {upstreams:?}\n  \
             health: {{ca_file: /etc/kubernetes/pki/ca.crt}}\n"
        );
        fs::write(folder.join("rivers.yml"), text).unwrap();
        let manifest = images::root().join("deploy/rivers-static-pod/rivers.yaml");
        let manifest = fs::read_to_string(manifest).unwrap();
        let pki = self.cluster.pki.ca_file();
        let paths = [
            ("/etc/rivers", folder.as_path()),
            ("/etc/kubernetes/pki", pki.parent().unwrap()),
        ];
        self.node.static_pod("rivers.yaml", &manifest, &paths);
    }

    /// Waits until `control status` has a line that begins and goes on so. What is bad has it end with 1.
    pub(crate) async fn status_says(&self, line: &str, detail: &str) {
        wait::until(line, PATIENCE, async || {
            let said = self.control(&["status"]).run().await;
            let has = |found: &str| found.starts_with(line) && found.contains(detail);
            let is_bad = line.ends_with("bad");
            if said.stdout.lines().any(has) && (!is_bad || said.code() == 1) {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await;
    }

    /// Waits until kubelet says that the node is ready.
    pub(crate) async fn node_is_ready(&self) {
        let nodes: Api<NodeObject> = Api::all(self.client());
        wait::until("a ready node", PATIENCE, async || {
            let node = nodes.get(NODE).await.map_err(|error| error.to_string())?;
            let conditions = node
                .status
                .unwrap_or_default()
                .conditions
                .unwrap_or_default();
            match conditions
                .iter()
                .find(|condition| condition.type_ == "Ready")
            {
                Some(ready) if ready.status == "True" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Registers the control plane's Nodes as their kubelets would; no pod is to run there.
    pub(crate) async fn register_control_plane(&self) {
        let nodes: Api<NodeObject> = Api::all(self.client());
        for name in CONTROL_PLANE {
            let node = json!({
                "metadata": {"name": name},
                "spec": {"unschedulable": true},
                "status": {"conditions": [
                    {"type": "Ready", "status": "True", "reason": "Test", "message": ""},
                ]},
            });
            let node = serde_json::from_value(node).unwrap();
            nodes.create(&PostParams::default(), &node).await.unwrap();
        }
    }

    /// Waits until the pods of a Deployment of kube-system are available.
    pub(crate) async fn deployed(&self, name: &str) {
        let deployments: Api<Deployment> = Api::namespaced(self.client(), "kube-system");
        wait::until(name, PATIENCE, async || {
            let status = deployments
                .get(name)
                .await
                .map_err(|error| error.to_string())?
                .status;
            let status = status.unwrap_or_default();
            if status.available_replicas == status.replicas && status.available_replicas > Some(0) {
                Ok(())
            } else {
                Err(format!("{status:?}\n{}", self.pods().await))
            }
        })
        .await;
    }

    /// Waits until a DaemonSet of kube-system has its newest pod ready on the node, and no other one.
    pub(crate) async fn rolled_out(&self, name: &str) {
        let label = match name {
            "node-dns" => "cke.cybozu.com/appname",
            _ => "app.kubernetes.io/name",
        };
        let sets: Api<DaemonSet> = Api::namespaced(self.client(), "kube-system");
        let pods: Api<Pod> = Api::namespaced(self.client(), "kube-system");
        wait::until(name, PATIENCE, async || {
            let set = sets.get(name).await.map_err(|error| error.to_string())?;
            let observed = set.metadata.generation;
            let status = set.status.unwrap_or_default();
            let labels = format!("{label}={name}");
            let listed = pods.list(&ListParams::default().labels(&labels)).await;
            let number = listed.map_err(|error| error.to_string())?.items.len();
            let is_done = status.observed_generation == observed
                && status.updated_number_scheduled == Some(1)
                && status.number_available == Some(1)
                && number == 1;
            if is_done {
                Ok(())
            } else {
                Err(format!("{number} pods, {status:?}\n{}", self.pods().await))
            }
        })
        .await;
    }

    /// An ordinary pod, with nothing said of DNS, and waits until it runs.
    pub(crate) async fn client_pod(&self) {
        let pods: Api<Pod> = Api::default_namespaced(self.client());
        let pod = json!({
            "metadata": {"name": "client"},
            "spec": {"containers": [{
                "name": "client",
                "image": images::CLIENT,
                "imagePullPolicy": "Never",
                "args": ["infinity"],
            }]},
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        wait::until("the default service account", PATIENCE, async || {
            pods.create(&PostParams::default(), &pod).await
        })
        .await;
        self.client_pod_runs().await;
    }

    /// Waits until that pod runs.
    pub(crate) async fn client_pod_runs(&self) {
        wait::until("the client pod", PATIENCE, async || {
            match self.exec(&["/usr/bin/getent", "hosts", "localhost"]).await {
                said if said.code() == 0 => Ok(()),
                said => Err(format!("{said}\n{}", self.pods().await)),
            }
        })
        .await;
    }

    /// Runs a program in that pod: API server, kubelet, containerd.
    pub(crate) async fn exec(&self, command: &[&str]) -> Output {
        self.kubectl(&["exec", "client", "--"])
            .args(command)
            .run()
            .await
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Launch {
        Launch::new(&self.place, "kubectl", &self.kubectl)
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig(THROUGH_RIVERS))
            .args(arguments)
    }

    /// Waits until the pod finds a name as its C library does.
    pub(crate) async fn pod_finds(&self, name: &str, address: &str) {
        wait::until(name, PATIENCE, async || {
            let said = self.exec(&["/usr/bin/getent", "ahostsv4", name]).await;
            if said.stdout.starts_with(address) {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await;
    }

    /// Waits until CoreDNS and nodedns run, and the pod finds a name of the cluster and a validated one of the world.
    pub(crate) async fn pods_find_names(&self) {
        self.deployed("cluster-dns").await;
        self.rolled_out("node-dns").await;
        self.pod_finds("kubernetes.default", "10.96.0.1").await;
        self.pod_finds("www.example", "192.0.2.80").await;
        assert!(
            self.resolves("www.example.", "192.0.2.80").await,
            "validated"
        );
    }

    /// Asks nodedns on the node, and waits for this answer; whether it was validated.
    pub(crate) async fn resolves(&self, name: &str, address: &str) -> bool {
        let question = Question::new(name, RecordType::A).dnssec_ok();
        let server = self.place.socket_address(1, 53);
        wait::until(name, PATIENCE, async || {
            let reply = question
                .ask(server)
                .await
                .map_err(|error| error.to_string())?;
            if reply.data(RecordType::A) == [address] {
                Ok(reply.is_authentic())
            } else {
                Err(format!("{} {:?}", reply.code(), reply.extended_errors()))
            }
        })
        .await
    }

    /// Changes the pod template of a DaemonSet of kube-system, which begins a roll-out.
    pub(crate) async fn roll(&self, name: &str) {
        let sets: Api<DaemonSet> = Api::namespaced(self.client(), "kube-system");
        let change = json!({"spec": {"template": {"metadata": {"annotations": {"example.com/rolled": "again"}}}}});
        sets.patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }

    /// What kubectl says of all pods, for a failure.
    pub(crate) async fn pods(&self) -> String {
        let said = self
            .kubectl(&["get", "pods,events", "--all-namespaces", "--output=wide"])
            .run()
            .await;
        format!("{}{}", said.stdout, said.stderr)
    }
}

/// rivers without a file.
pub(crate) fn rivers_by_flags(_: &Place, cluster: &Cluster) -> Unit {
    rivers(vec![
        "--listen=127.0.0.1:16443".to_owned(),
        format!("--upstreams={}", cluster.upstreams().join(",")),
    ])
}

/// rivers with a file, [`write_rivers_yml`]'s.
pub(crate) fn rivers_by_file(place: &Place, cluster: &Cluster) -> Unit {
    write_rivers_yml(place, cluster);
    rivers(vec![format!("--config={}", rivers_yml(place).display())])
}

fn rivers(arguments: Vec<String>) -> Unit {
    Unit {
        name: "rivers",
        program: program::path("rivers"),
        arguments,
    }
}

/// Writes rivers' file for the API servers where they are, from which others are discovered.
pub(crate) fn write_rivers_yml(place: &Place, cluster: &Cluster) {
    let text = format!(
        "listeners:\n- listen: \"127.0.0.1:16443\"\n  upstreams: {:?}\n  discovery: {{kubeconfig: {}}}\n",
        cluster.upstreams(),
        cluster.kubeconfig("https://192.0.2.1:6443").display(),
    );
    fs::write(rivers_yml(place), text).unwrap();
}

fn rivers_yml(place: &Place) -> PathBuf {
    place.folder().join("rivers.yml")
}

/// What nodedns keeps of a rollover that led from the root's keys, which are built in, to this one.
fn trust(key: &str) -> String {
    let point: Value = json!({
        "zone": ".",
        "configured": [
            "DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
            "DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
        ],
        "keys": [{"key": key, "state": "valid", "since": "2026-01-01T00:00:00Z", "configured": false}],
        "next_query": "2026-01-01T00:00:00Z",
        "original_ttl": 300,
        "expires_in": 86400,
    });
    json!({"version": 1, "zones": [point]}).to_string()
}

pub(crate) const THROUGH_RIVERS: &str = "https://127.0.0.1:16443";
pub(crate) const NODE: &str = "worker-1";
const CONTROL_PLANE: [&str; 3] = ["cp-2", "cp-3", "cp-4"];
/// As control names it where cluster.yml does not.
const COREDNS: &str = "docker.io/coredns/coredns:1.14.4";
/// The last byte of the address of the world's name server.
const WORLD: u8 = 53;
const WORLD_PORT: u16 = 5353;
/// A node comes up in seconds, on a machine that has other work in minutes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
