//! Alerts and dashboards, by a real Prometheus that scrapes all three programs.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use serde_json::Value;
use tests::admin::Admin;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::node::images::root;
use tests::place::Place;
use tests::root::Root;
use tests::{binaries, program, wait};

use crate::scene::{DEADLINE, Scene, parse};

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    let Some(promtool) = binaries::packaged("promtool") else {
        return;
    };
    let place = Place::loopback();
    let check = |what: &str| Launch::new(&place, "promtool", &promtool).args(["check", what]);
    check("rules")
        .arg(monitoring("alerts.yml"))
        .run()
        .await
        .success();

    // Debian's knows no Kubernetes; all else is checked.
    let [config] = &mut parse(&read("prometheus.yml"))[..] else {
        panic!("prometheus.yml is one document");
    };
    for job in config["scrape_configs"].as_array_mut().unwrap() {
        let found = job.as_object_mut().unwrap().remove("kubernetes_sd_configs");
        assert_eq!(found.unwrap()[0]["role"], "pod", "{job}");
    }
    let file = place.folder().join("prometheus.yml");
    fs::copy(monitoring("alerts.yml"), place.folder().join("alerts.yml")).unwrap();
    fs::write(&file, config.to_string()).unwrap();
    check("config").arg(&file).run().await.success();
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = rules();
    assert!(rules.len() > 10);
    for rule in rules {
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{rule}"
        );
        for annotation in ["summary", "runbook"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{annotation} of {rule}");
        }
    }
}

#[tokio::test]
async fn prometheus_scrapes_all_three_and_knows_every_metric_that_is_named() {
    let Some(prometheus) = binaries::packaged("prometheus") else {
        return;
    };
    let Some(scene) = Scene::start().await else {
        return;
    };
    let Some(programs) = Programs::start(&scene).await else {
        return;
    };
    let address = scene.place.socket_address(1, 9090);
    let configuration = scene.place.folder().join("prometheus.yml");
    fs::write(&configuration, scrape(&programs.admins)).unwrap();
    let _peer = Launch::new(&scene.place, "prometheus", &prometheus)
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            scene.place.folder().join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .start();
    let api = Api(Admin(address));
    wait::until("three targets that are up", DEADLINE, async || {
        let up = api.query("count(up == 1)").await?;
        match up[0]["value"][1].as_str() {
            Some("3") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    let expressions: Vec<String> = rules()
        .iter()
        .map(|rule| rule["expr"].as_str().unwrap().to_owned())
        .chain(dashboards())
        .collect();
    let named: BTreeSet<&str> = expressions.iter().flat_map(|text| metrics(text)).collect();
    assert!(named.len() > 25, "{named:?}");
    let known = api.names().await;
    let unknown: Vec<_> = named
        .iter()
        .filter(|name| !known.contains(**name))
        .collect();
    assert!(unknown.is_empty(), "no program has {unknown:?}");
    for expression in expressions {
        let expression = expression.replace("$instance", ".*");
        api.query(&expression).await.unwrap();
    }
    // All is well here, but for what the machine's clock says.
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        if rule["alert"] == "NodednsClockWrong" {
            continue;
        }
        wait::until(expression, DEADLINE, async || {
            match api.query(expression).await? {
                Value::Array(series) if series.is_empty() => Ok(()),
                series => Err(series.to_string()),
            }
        })
        .await;
    }
}

/// The three programs at work, each with something to count.
struct Programs {
    admins: [(&'static str, SocketAddr); 3],
    _peers: Vec<tests::peer::Peer>,
    _world: Root,
}

impl Programs {
    async fn start(scene: &Scene) -> Option<Self> {
        let place = &scene.place;
        let rivers = program::rivers(place)
            .arg("--listen=127.0.0.1:16443")
            .arg(program::run_dir(place))
            .arg(format!(
                "--upstreams={}",
                scene.cluster.upstreams().join(",")
            ))
            .start();
        let client = scene.cluster.client_at("https://127.0.0.1:16443");
        wait::until("the API through rivers", DEADLINE, async || {
            client.apiserver_version().await
        })
        .await;

        let world = Root::start(place, place.socket_address(53, 5353)).await?;
        let anchor = place.folder().join("root.ds");
        fs::write(&anchor, world.ds()).unwrap();
        let file = place.folder().join("nodedns.yml");
        let address = place.socket_address(1, 53);
        let text = format!(
            "listen: [\"{address}\"]\nadmin: \"127.0.0.1:9253\"\nzones: [{{name: ., forward: [\"{}\"]}}]\n\
             trust_anchors: {{files: [{}]}}\n",
            world.address(),
            anchor.display()
        );
        fs::write(&file, text).unwrap();
        let nodedns = program::nodedns(place).arg("--config").arg(&file).start();
        wait::until("a name", DEADLINE, async || {
            let reply = Question::new("www.example.", RecordType::A)
                .ask(address)
                .await?;
            match &reply.data(RecordType::A)[..] {
                [_] => Ok(()),
                other => Err(std::io::Error::other(format!("{other:?}"))),
            }
        })
        .await;

        let control = scene
            .control(
                &scene.kubeconfig(),
                &["run", "--interval=1s", "--metrics-addr=127.0.0.1:9254"],
            )
            .start();
        let admins = [
            ("rivers", "127.0.0.1:16480"),
            ("nodedns", "127.0.0.1:9253"),
            ("control", "127.0.0.1:9254"),
        ]
        .map(|(name, address)| (name, address.parse().unwrap()));
        let admin = Admin(admins[2].1);
        wait::until("a round of control", DEADLINE, async || {
            admin.ready().await?;
            match admin
                .metric("control_syncs_total", &[("result", "converged")])
                .await
            {
                0.0 => Err(std::io::Error::other("none yet")),
                _ => Ok(()),
            }
        })
        .await;
        Some(Self {
            admins,
            _peers: vec![rivers, nodedns, control],
            _world: world,
        })
    }
}

/// Prometheus' HTTP interface.
struct Api(Admin);

impl Api {
    async fn get(&self, path: &str) -> Result<Value, String> {
        let (status, body) = self
            .0
            .get(&format!("/api/v1/{path}"))
            .await
            .map_err(|error| error.to_string())?;
        // A body in chunks has lengths between; the JSON is the longest line.
        let json = body
            .lines()
            .max_by_key(|line| line.len())
            .unwrap_or_default();
        let reply: Value =
            serde_json::from_str(json).map_err(|error| format!("{error}: {body}"))?;
        if status == 200 {
            Ok(reply["data"].clone())
        } else {
            Err(reply.to_string())
        }
    }

    /// The series of an expression, now.
    async fn query(&self, expression: &str) -> Result<Value, String> {
        let encoded: String = expression
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let data = self.get(&format!("query?query={encoded}")).await;
        data.map(|data| data["result"].clone())
            .map_err(|error| format!("{expression}: {error}"))
    }

    async fn names(&self) -> BTreeSet<String> {
        let names = self.get("label/__name__/values").await.unwrap();
        let names = names.as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }
}

fn scrape(admins: &[(&str, SocketAddr)]) -> String {
    let jobs = admins.iter().map(|(name, address)| {
        format!("- {{job_name: {name}, static_configs: [{{targets: [\"{address}\"]}}]}}\n")
    });
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n{}",
        monitoring("alerts.yml").display(),
        jobs.collect::<String>()
    )
}

/// The names of our metrics in an expression.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            ["rivers_", "nodedns_", "control_"]
                .iter()
                .any(|program| word.starts_with(program))
        })
}

fn rules() -> Vec<Value> {
    let [alerts] = &parse(&read("alerts.yml"))[..] else {
        panic!("alerts.yml is one document");
    };
    let groups = alerts["groups"].as_array().unwrap().iter();
    groups
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// The expressions of all dashboards.
fn dashboards() -> Vec<String> {
    let mut expressions = Vec::new();
    for name in ["rivers", "nodedns", "control"] {
        let dashboard: Value =
            serde_json::from_str(&read(&format!("dashboards/{name}.json"))).unwrap();
        assert_eq!(dashboard["title"], name);
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                expressions.push(target["expr"].as_str().unwrap().to_owned());
            }
        }
        let variable = &dashboard["templating"]["list"][1]["query"]["query"];
        let metric = variable
            .as_str()
            .unwrap()
            .trim_start_matches("label_values(");
        expressions.push(metric.split(',').next().unwrap().to_owned());
    }
    expressions
}

fn monitoring(file: &str) -> std::path::PathBuf {
    root().join("deploy/monitoring").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(monitoring(file)).unwrap()
}
