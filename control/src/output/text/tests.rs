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
    Plan {
        operations: vec![create, drift, update],
        notes: vec![
            Note::NoUpstream,
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
    let document = daemon::config_file::Document::new(path, yaml);
    let valid = Cluster::from_document(&document).unwrap();
    insta::assert_snapshot!(plain(&cluster(path, &valid)) + &as_json::cluster(&valid));
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
    ];
    let outcomes = ends.into_iter().map(|(kind, name, end)| Outcome {
        key: Key::core(kind, "kube-system", name),
        end,
    });
    Report {
        outcomes: outcomes.collect(),
        notes: vec![Note::NoUpstream],
    }
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
