//! What people and programs read, pinned.

use serde_json::json;

use super::*;
use crate::cluster::ServiceName;
use crate::object::Key;
use crate::output::json as as_json;
use crate::plan::{Change, FieldPath, Reason};

/// One operation of each kind.
fn example() -> Plan {
    let create = Operation {
        key: Key::core("ServiceAccount", "kube-system", "cke-node-dns"),
        plural: String::new(),
        action: Action::Create(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"namespace": "kube-system", "name": "cke-node-dns"},
        })),
        reason: Reason::Missing,
        changes: Vec::new(),
        depends_on: Vec::new(),
    };
    let update = Operation {
        key: Key::core("ConfigMap", "kube-system", "cluster-dns"),
        plural: String::new(),
        action: Action::Update(json!({})),
        reason: Reason::Revision { from: 3, to: 4 },
        changes: vec![
            Change {
                field: FieldPath::of(&["data", "Corefile"]),
                live: Some(json!(".:1053 {\n    forward . 192.0.2.1\n}\n")),
                desired: Some(json!(".:1053 {\n    forward . 192.0.2.2\n}\n")),
            },
            Change {
                field: FieldPath::of(&["data", "old"]),
                live: Some(json!("x")),
                desired: None,
            },
        ],
        depends_on: Vec::new(),
    };
    let drift = Operation {
        key: Key::node("cp"),
        plural: String::new(),
        action: Action::Update(json!({})),
        reason: Reason::Drift {
            fields: vec!["metadata.labels[cke.cybozu.com/master]".to_owned()],
            by: vec!["kubectl-label".to_owned()],
        },
        changes: vec![Change {
            field: FieldPath::of(&["metadata", "labels", "cke.cybozu.com/master"]),
            live: None,
            desired: Some(json!("true")),
        }],
        depends_on: Vec::new(),
    };
    let secret = Operation {
        key: Key::core("Secret", "a", "s"),
        plural: String::new(),
        action: Action::Create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "a", "name": "s"},
            "data": {"password": "Y2FuYXJ5"},
        })),
        reason: Reason::Missing,
        changes: Vec::new(),
        depends_on: Vec::new(),
    };
    let remove = Operation {
        key: Key::node("old"),
        plural: String::new(),
        action: Action::RemoveNode {
            uid: "1".to_owned(),
            drain: false,
        },
        reason: Reason::Unregistered,
        changes: Vec::new(),
        depends_on: Vec::new(),
    };
    Plan {
        operations: vec![create, drift, update, secret, remove],
        left: example_left(),
        notes: vec![
            Note::NoUpstreamService {
                service: ServiceName {
                    namespace: "a".to_owned(),
                    name: "b".to_owned(),
                },
                fallback: false,
            },
            Note::NotRegistered {
                node: "worker".to_owned(),
            },
        ],
    }
}

fn example_left() -> Vec<Left> {
    let fields = vec!["spec.replicas".to_owned()];
    let reasons = [
        Reason::Conflict {
            fields,
            by: vec!["hpa".to_owned()],
        },
        Reason::Held {
            ready: 1,
            needed: 3,
            nodes: 5,
        },
        Reason::Blocked {
            why: "no".to_owned(),
        },
    ];
    let key = Key::core("Deployment", "a", "d");
    reasons
        .map(|reason| Left {
            key: key.clone(),
            reason,
        })
        .into()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_plan_names_each_object_and_shows_what_changes() {
    insta::assert_snapshot!(plain(&plan(&example(), false)));
}

#[test]
fn a_verbose_plan_shows_new_objects_too() {
    insta::assert_snapshot!(plain(&plan(&example(), true)));
}

#[test]
fn what_others_wrote_cannot_steer_the_terminal() {
    let mut example = example();
    let operation = &mut example.operations[1];
    operation.reason = Reason::Drift {
        fields: vec!["data.a".to_owned()],
        by: vec!["\u{1b}[2Jmallory".to_owned()],
    };
    operation.changes[0].live = Some(json!("\u{1b}[2J\r\u{9b}x"));
    let text = plain(&plan(&example, false));
    assert!(text.contains("(changed by  [2Jmallory)"), "{text:?}");
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

#[test]
fn a_valid_cluster_says_what_is_ignored() {
    let yaml = "name: prod\nservice_subnet: 10.96.0.0/16\nreboot: {}\nnodes:\n\
        - {address: 10.0.0.1, hostname: a, user: u, control_plane: true}\n";
    let path = Path::new("cluster.yml");
    let valid = Cluster::parse(path, yaml.as_bytes()).unwrap();
    insta::assert_snapshot!(plain(&cluster(path, &valid, None)) + &as_json::cluster(&valid, None));
}

#[test]
fn no_output_has_a_secrets_value() {
    for text in [plan(&example(), true), as_json::plan(&example())] {
        assert!(!text.contains("Y2FuYXJ5"), "{text}");
    }
}

#[test]
fn an_empty_plan_says_so() {
    assert_eq!(plan(&Plan::default(), false), "nothing to do\n");
}

#[test]
fn a_plan_as_json() {
    insta::assert_snapshot!(as_json::plan(&example()));
}

fn example_report() -> Report {
    let role = Key::core("Role", "kube-system", "r");
    let ends = [
        ("ServiceAccount", "a", End::Created),
        (
            "Role",
            "r",
            End::Failed("cannot write Role: 500".to_owned()),
        ),
        ("RoleBinding", "b", End::Skipped(role)),
        ("ConfigMap", "c", End::Updated),
        ("ConfigMap", "d", End::Unneeded),
        ("ConfigMap", "e", End::Deleted),
    ];
    let mut report = Report::default();
    report.left = example_left()[..2].to_vec();
    report.notes = vec![Note::AuthorityMade {
        store: "control-store".to_owned(),
    }];
    for (kind, name, end) in ends {
        report.add(Outcome {
            key: Key::core(kind, "kube-system", name),
            end,
            warnings: Vec::new(),
        });
    }
    report.outcomes[0].warnings = vec!["v1 Endpoints is deprecated".to_owned()];
    report
}

#[test]
fn a_report_names_each_end_and_counts_them() {
    let example = example_report();
    let lines: String = example.outcomes.iter().map(outcome).collect();
    insta::assert_snapshot!(plain(&(lines + &report(&example))));
}

#[test]
fn a_report_as_json() {
    insta::assert_snapshot!(as_json::report(&example_report()));
}

#[test]
fn a_second_sync_has_nothing_to_do() {
    assert_eq!(report(&Report::default()), "nothing to do\n");
}
