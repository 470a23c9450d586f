//! A node goes from kubespray's local load-balancer to rivers and back by what `migration.md` says, word by word:
//! a real kubelet has nginx or HAProxy as its static pod, a real systemd has rivers' unit.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::Api;
use tests::kubernetes::{Cluster, Controllers};
use tests::launch::Launch;
use tests::machine::{Machine, Machines};
use tests::node::{Node, Plan, images};
use tests::place::Place;
use tests::{program, wait};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::scene::{NODE, PATIENCE};

#[tokio::test]
async fn a_node_goes_from_kubesprays_nginx_to_rivers_and_back() {
    there_and_back(&Balancer {
        manifest: "nginx-proxy.yml",
        program: "nginx",
        further: &[
            "/usr/lib/nginx/modules/ngx_stream_module.so",
            "/etc/passwd",
            "/etc/group",
        ],
        // As its own image has it, and where it wants to write.
        flags: &[
            "--stop-signal=SIGQUIT",
            "--folder=/run:0:0755",
            "--folder=/var/lib/nginx:0:0755",
            "--folder=/var/log/nginx:0:0755",
        ],
        arguments: r#"["-g", "daemon off;"]"#,
        folder: "/etc/nginx",
        file: "nginx.conf",
        text: NGINX,
    })
    .await;
}

#[tokio::test]
async fn a_node_goes_from_kubesprays_haproxy_to_rivers_and_back() {
    there_and_back(&Balancer {
        manifest: "haproxy.yml",
        program: "haproxy",
        further: &["/etc/passwd", "/etc/group"],
        flags: &["--stop-signal=SIGUSR1"],
        arguments: r#"["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]"#,
        folder: "/usr/local/etc/haproxy",
        file: "haproxy.cfg",
        text: HAPROXY,
    })
    .await;
}

/// One of the two that kubespray has.
struct Balancer {
    manifest: &'static str,
    program: &'static str,
    further: &'static [&'static str],
    /// Of its image.
    flags: &'static [&'static str],
    arguments: &'static str,
    /// Where its configuration is.
    folder: &'static str,
    file: &'static str,
    text: &'static str,
}

async fn there_and_back(balancer: &Balancer) {
    let Some(scene) = Scene::start(balancer).await else {
        return;
    };
    let guide = Guide::read();
    let [check, enable, away, status] = &guide.commands[..] else {
        panic!("{:#?}", guide.commands);
    };
    scene.is_ready().await;
    scene.install(&guide.file);
    let there = under_load(&scene, async {
        scene.on_systemd(check).await;
        scene.on_systemd(enable).await;
        scene.on_files(away).await;
        scene.serves("rivers").await;
        scene.on_systemd(status).await;
    });
    let name = balancer.program;
    there.await.report(&format!("{name} to rivers"));
    scene.pod_is_gone().await;

    let (disable, home) = guide.back.split_once(" && ").expect("two commands");
    let back = under_load(&scene, async {
        scene.on_systemd(disable).await;
        scene.on_files(home).await;
        scene.serves(name).await;
    });
    back.await.report(&format!("rivers to {name}"));
}

/// Ended from top to bottom.
struct Scene {
    _node: Node,
    machines: Machines,
    _controllers: Controllers,
    cluster: Cluster,
    /// The load-balancer's.
    manifest: PathBuf,
    place: Place,
}

impl Scene {
    /// A node whose kubelet has the load-balancer as a static pod; beside it a systemd in the same network.
    async fn start(balancer: &Balancer) -> Option<Self> {
        let place = Place::namespace()?;
        let archives = vec![
            images::pause(&place)?,
            images::packaged(
                &place,
                IMAGE,
                &[balancer.program],
                balancer.further,
                balancer.flags,
            )?,
        ];
        let machines = Machines::here(&place).await?;
        let cluster = Cluster::builder(&place)
            .api_servers(3)
            .service_accounts()
            .start()
            .await?;
        let controllers = Controllers::start(&place, &cluster.pki, &cluster.api_servers[0].url())?;
        let node = Node::boot(Plan {
            place: &place,
            pki: &cluster.pki,
            name: NODE,
            api: LOCAL,
            units: vec![],
            archives,
        })
        .await?;
        node.install_network();
        let folder = place.folder().join("balancer");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(balancer.file), balancer.text).unwrap();
        let manifest = MANIFEST
            .replace("{image}", IMAGE)
            .replace("{arguments}", balancer.arguments)
            .replace("{folder}", balancer.folder);
        let paths = [(balancer.folder, folder.as_path())];
        let manifest = node.static_pod(balancer.manifest, &manifest, &paths);
        Some(Self {
            _node: node,
            machines,
            _controllers: controllers,
            cluster,
            manifest,
            place,
        })
    }

    fn machine(&self) -> &Machine {
        &self.machines.list[0]
    }

    /// The unit, and the file of the guide.
    fn install(&self, file: &str) {
        let written = self.place.folder().join("rivers.yml");
        fs::write(&written, file).unwrap();
        let machine = self.machine();
        machine.install(&written, "/etc/rivers/rivers.yml");
        machine.install(&self.cluster.pki.ca_file(), "/etc/kubernetes/ssl/ca.crt");
        machine.install(&program::path("rivers"), "/usr/local/bin/rivers");
        let unit = images::root().join("deploy/systemd/rivers.service");
        machine.install(&unit, "/etc/systemd/system/rivers.service");
    }

    /// Runs a command where systemd is.
    async fn on_systemd(&self, command: &str) {
        self.machine()
            .run(
                &self.place,
                &format!("PATH=/usr/local/bin:$PATH; {command}"),
            )
            .await
            .success();
    }

    /// Runs a command on kubelet's files.
    async fn on_files(&self, command: &str) {
        let pods = self.manifest.parent().unwrap().display();
        let manifest = self.manifest.file_name().unwrap().display();
        let home = self.place.folder().display();
        let command = command
            .replace("haproxy.yml", &manifest.to_string())
            .replace("/root", &home.to_string())
            .replace("/etc/kubernetes/manifests", &pods.to_string());
        Launch::new(&self.place, "files", Path::new("/bin/sh"))
            .args(["-ec", &command])
            .run()
            .await
            .success();
    }

    /// Waits until this program alone listens where kubelet looks for the API.
    async fn serves(&self, program: &str) {
        wait::until(program, PATIENCE, async || {
            let command = "ss --listening --tcp --numeric --processes 'sport = :6443'";
            let said = self.machine().run(&self.place, command).await;
            // Of another PID namespace no name is shown.
            let listens = said.stdout.contains("127.0.0.1:6443");
            let ours = said.stdout.contains("rivers");
            if !listens || ours != (program == "rivers") {
                return Err(said.to_string());
            }
            let client = self.cluster.client_at(LOCAL);
            let version = client.apiserver_version().await;
            version.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    /// Waits until the connections that the load-balancer had are gone, too, and it with them.
    async fn pod_is_gone(&self) {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(0), "kube-system");
        let name = format!("balancer-{NODE}");
        wait::until("the end of its pod", PATIENCE, async || {
            match pods.get_opt(&name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Waits until kubelet, by the load-balancer, says that the node is ready.
    async fn is_ready(&self) {
        let nodes = Api::all(self.cluster.client(0));
        wait::until("a ready node", PATIENCE, async || ready(&nodes).await).await;
    }
}

async fn ready(nodes: &Api<NodeObject>) -> Result<(), String> {
    let node = nodes.get(NODE).await.map_err(|error| error.to_string())?;
    let conditions = node.status.unwrap_or_default().conditions;
    let conditions = conditions.unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Does something while a client asks the API, each time by a new connection, as kubectl does, and the node is looked
/// at: it is ready all the time. What became of the questions.
async fn under_load(scene: &Scene, steps: impl Future<Output = ()>) -> Asked {
    let asked = RefCell::new(Asked {
        answered: 0,
        failed: 0,
        last: Instant::now(),
        longest: Duration::ZERO,
    });
    // And for a while after it.
    let steps = async {
        steps.await;
        let done = asked.borrow().answered;
        wait::until("further answers", PATIENCE, async || {
            match asked.borrow().answered - done {
                20.. => Ok(()),
                further => Err(further),
            }
        })
        .await;
    };
    tokio::select! {
        () = steps => {}
        never = ask(scene, &asked) => match never {},
        never = look(scene) => match never {},
    }
    let mut asked = asked.into_inner();
    asked.longest = asked.longest.max(asked.last.elapsed());
    asked
}

async fn ask(scene: &Scene, asked: &RefCell<Asked>) -> Infallible {
    let mut pace = interval(Duration::from_millis(20));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let client = scene.cluster.client_at(LOCAL);
        let said = timeout(Duration::from_secs(5), client.apiserver_version()).await;
        let mut asked = asked.borrow_mut();
        if matches!(said, Ok(Ok(_))) {
            asked.answered += 1;
            asked.longest = asked.longest.max(asked.last.elapsed());
            asked.last = Instant::now();
        } else {
            asked.failed += 1;
        }
    }
}

async fn look(scene: &Scene) -> Infallible {
    let nodes = Api::all(scene.cluster.client(0));
    let mut pace = interval(Duration::from_millis(500));
    loop {
        pace.tick().await;
        ready(&nodes).await.expect("the node is ready");
    }
}

/// What became of the questions.
struct Asked {
    answered: usize,
    failed: usize,
    /// When the last answer came.
    last: Instant,
    /// Without one.
    longest: Duration,
}

impl Asked {
    fn report(&self, what: &str) {
        let Self {
            answered,
            failed,
            longest,
            ..
        } = self;
        println!(
            "{what}: {answered} answered, {failed} not, at most {longest:?} without an answer"
        );
        assert!(*longest < GRACE, "{longest:?}");
    }
}

/// What `migration.md` says.
struct Guide {
    /// rivers' file.
    file: String,
    commands: Vec<String>,
    back: String,
}

impl Guide {
    fn read() -> Self {
        let text = fs::read_to_string(images::root().join("deploy/migration.md")).unwrap();
        let (_, section) = text.split_once("## From kubespray").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let blocks: Vec<Vec<&str>> = section
            .split("\n\n")
            .filter(|paragraph| paragraph.starts_with("    "))
            .map(|block| block.lines().map(|line| &line[4..]).collect())
            .collect();
        let [file, commands] = &blocks[..] else {
            panic!("{blocks:#?}");
        };
        let code = |line: &&str| line.split("   # ").next().unwrap().trim_end().to_owned();
        let (_, back) = section.split_once("**Back.** `").unwrap();
        Self {
            file: file.join("\n"),
            commands: commands.iter().map(code).collect(),
            back: back.split('`').next().unwrap().to_owned(),
        }
    }
}

/// What both manifests of kubespray have in common.
const MANIFEST: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: balancer, namespace: kube-system}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  priorityClassName: system-node-critical
  containers:
  - name: balancer
    image: {image}
    imagePullPolicy: IfNotPresent
    args: {arguments}
    livenessProbe: {httpGet: {path: /healthz, port: 8081}}
    readinessProbe: {httpGet: {path: /healthz, port: 8081}}
    volumeMounts: [{name: etc, mountPath: {folder}, readOnly: true}]
  volumes: [{name: etc, hostPath: {path: {folder}, type: Directory}}]
";

/// What kubespray has nginx do: as many seconds for connections that are open, and for an upstream.
const NGINX: &str = "\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
error_log stderr notice;
worker_processes 2;
worker_shutdown_timeout 10s;
events { worker_connections 1024; }
stream {
  upstream api { least_conn; server 10.9.0.2:6443; server 10.9.0.3:6443; server 10.9.0.4:6443; }
  server { listen 127.0.0.1:6443; proxy_pass api; proxy_timeout 10m; proxy_connect_timeout 1s; }
}
http { access_log off; server { listen 8081; location /healthz { return 200; } } }
";

/// And HAProxy.
const HAPROXY: &str = "\
defaults
  timeout connect 30s
  timeout client 15m
  timeout server 15m
  timeout check 30s
frontend healthz
  bind *:8081
  mode http
  monitor-uri /healthz
frontend api
  bind 127.0.0.1:6443
  mode tcp
  default_backend servers
backend servers
  mode tcp
  balance leastconn
  option httpchk GET /healthz
  http-check expect status 200
  default-server inter 15s downinter 15s rise 2 fall 2 slowstart 60s
  server cp-2 10.9.0.2:6443 check check-ssl verify none
  server cp-3 10.9.0.3:6443 check check-ssl verify none
  server cp-4 10.9.0.4:6443 check check-ssl verify none
";

const IMAGE: &str = "localhost/balancer:1";
/// Where kubelet looks for the API, before, between and after.
const LOCAL: &str = "https://127.0.0.1:6443";
/// How long a kubelet may be silent until its node is not ready.
const GRACE: Duration = Duration::from_secs(40);
