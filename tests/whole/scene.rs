//! The parts of the whole, and how each is started.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::kubernetes::Cluster;
use tests::launch::Launch;
use tests::peer::Peer;
use tests::place::Place;
use tests::{program, wait};

/// The cluster and its place.
pub(crate) struct Scene {
    /// Ends before its place does.
    pub(crate) cluster: Cluster,
    place: Place,
}

impl Scene {
    /// Three API servers in a namespace of their own, and a cluster.yml that names them; `None` where
    /// this machine cannot, which has then been said.
    pub(crate) async fn start() -> Option<Self> {
        let place = Place::namespace()?;
        let cluster = Cluster::builder(&place).api_servers(3).start().await?;
        let scene = Self { cluster, place };
        let node = |last| scene.place.address(last);
        let text = format!(
            "name: whole
service_subnet: 10.96.0.0/16
taint_control_plane: true
dns_servers: [{upstream}]
nodes:
- {{address: {cp2}, hostname: cp-2, user: admin, control_plane: true}}
- {{address: {cp3}, hostname: cp-3, user: admin, control_plane: true}}
- {{address: {cp4}, hostname: cp-4, user: admin, control_plane: true}}
- {{address: {worker}, hostname: worker-1, user: admin, labels: {{rack: \"3\"}}}}
",
            upstream = node(UPSTREAM),
            cp2 = node(2),
            cp3 = node(3),
            cp4 = node(4),
            worker = node(NODE),
        );
        fs::write(scene.place.folder().join("cluster.yml"), text).unwrap();
        Some(scene)
    }

    /// rivers, where kubelet expects it, and waits until the API answers through it.
    pub(crate) async fn start_rivers(&self) -> Peer {
        let peer = program::rivers(&self.place)
            .arg("--listen=127.0.0.1:16443")
            .arg(program::run_dir(&self.place))
            .arg(format!(
                "--upstreams={}",
                self.cluster.upstreams().join(",")
            ))
            .start();
        let client = self.client();
        wait::until("the API through rivers", DEADLINE, async || {
            client.apiserver_version().await
        })
        .await;
        peer
    }

    /// Registers the Nodes, ready, as their kubelets would.
    pub(crate) async fn register_nodes(&self) {
        let nodes: Api<Node> = Api::all(self.client());
        for name in ["cp-2", "cp-3", "cp-4", "worker-1"] {
            let mut node = Node::default();
            node.metadata.name = Some(name.to_owned());
            let ready = serde_json::json!([
                {"type": "Ready", "status": "True", "reason": "Test", "message": ""},
            ]);
            node.status.get_or_insert_default().conditions =
                Some(serde_json::from_value(ready).unwrap());
            nodes.create(&PostParams::default(), &node).await.unwrap();
        }
    }

    /// `control` with this cluster.yml, through rivers.
    pub(crate) fn control(&self, arguments: &[&str]) -> Launch {
        program::control(&self.place)
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig(THROUGH_RIVERS))
            .args(arguments)
    }

    /// A client that is not control's, through rivers too.
    pub(crate) fn client(&self) -> Client {
        self.cluster.client_at(THROUGH_RIVERS)
    }

    /// Stands for kube-proxy: the address is this host's, so that who listens on it is reached.
    pub(crate) fn put_on_loopback(&self, address: &str) {
        let status = Command::new("ip")
            .args(["address", "add", &format!("{address}/32"), "dev", "lo"])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// CoreDNS with the Corefile that control wrote. A pod would get a namespace of its own, where
    /// to find the API, and port 1053 behind the Service's 53: these three are said here.
    pub(crate) async fn start_coredns(&self, cluster_ip: &str, corefile: &str) -> Option<CoreDns> {
        let kubeconfig = self.service_account_kubeconfig().await;
        let corefile = replaced(
            corefile,
            ".:1053 {\n",
            &format!(".:53 {{\n    bind {cluster_ip}\n"),
        );
        let corefile = replaced(
            &corefile,
            "        pods verified\n",
            &format!(
                "        pods verified\n        kubeconfig {} context\n",
                kubeconfig.display()
            ),
        );
        let address = SocketAddr::new(cluster_ip.parse().unwrap(), 53);
        CoreDns::start(&self.place, address, &corefile).await
    }

    /// Credentials of the service account that control made, so that its rights are tried as well.
    async fn service_account_kubeconfig(&self) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), "kube-system");
        let request = TokenRequest {
            spec: TokenRequestSpec::default(),
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request("cke-cluster-dns", &PostParams::default(), &request)
            .await
            .unwrap()
            .status
            .unwrap()
            .token;
        let file = self.place.folder().join("cluster-dns.kubeconfig");
        let text = format!(
            "apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster: {{server: \"{THROUGH_RIVERS}\", certificate-authority: {ca}}}
users:
- name: user
  user: {{token: {token}}}
contexts:
- name: context
  context: {{cluster: cluster, user: user}}
current-context: context
",
            ca = self.cluster.pki.ca_file().display(),
        );
        fs::write(&file, text).unwrap();
        file
    }

    /// The DNS server of the world outside, which cluster.yml names.
    pub(crate) async fn start_upstream(&self) -> Option<CoreDns> {
        let address = self.place.socket_address(UPSTREAM, 53);
        let corefile = format!(
            ".:53 {{\n    bind {}\n    hosts {{\n        192.0.2.80 www.example.com\n    }}\n}}\n",
            address.ip()
        );
        CoreDns::start(&self.place, address, &corefile).await
    }

    /// nodedns with this configuration.
    pub(crate) async fn start_nodedns(&self, configuration: &str) -> Peer {
        let file = self.place.folder().join("nodedns.yml");
        // The world outside is a single unsigned server here.
        let configuration = replaced(configuration, "negative: []", "negative: [\".\"]");
        fs::write(&file, configuration).unwrap();
        program::nodedns(&self.place)
            .arg("--config")
            .arg(&file)
            .start()
    }

    /// Asks nodedns on the node's address, over UDP and TCP, until the answer is this.
    pub(crate) async fn resolves(&self, name: &str, kind: RecordType, expected: &str) {
        let server = self.place.socket_address(NODE, 53);
        let udp = Question::new(name, kind);
        for question in [udp.clone(), udp.tcp()] {
            wait::until(name, DEADLINE, async || {
                let reply = question
                    .ask(server)
                    .await
                    .map_err(|error| error.to_string())?;
                let data = reply.data(kind);
                if data == [expected] {
                    Ok(())
                } else {
                    Err(format!(
                        "{} {data:?} {:?}",
                        reply.code(),
                        reply.extended_errors()
                    ))
                }
            })
            .await;
        }
    }
}

/// The text with one part replaced, which must be there: a changed Corefile is to be noticed.
fn replaced(text: &str, part: &str, by: &str) -> String {
    assert_eq!(text.matches(part).count(), 1, "{part:?} in {text}");
    text.replace(part, by)
}

const THROUGH_RIVERS: &str = "https://127.0.0.1:16443";
/// The last byte of the node's address.
const NODE: u8 = 1;
/// The last byte of the upstream server's address.
const UPSTREAM: u8 = 53;
const DEADLINE: Duration = Duration::from_secs(30);
