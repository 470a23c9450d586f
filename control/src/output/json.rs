//! Results as one JSON document. Its form is a promise: fields are added, never
//! renamed or removed. The tests pin it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use crate::apply::{End, Report};
use crate::cluster::Cluster;
use crate::desired::{API_SERVER, NodeConfig, Note};
use crate::object::Key;
use crate::plan::{Left, Plan, Reason};
use crate::record::Record;
use crate::resources::Resources;
use crate::status::Status;

/// `control validate -o json`.
pub(crate) fn cluster(cluster: &Cluster, resources: Option<&Resources>) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        name: &'a str,
        nodes: usize,
        control_plane: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        resources: Option<usize>,
        ignored: Vec<Ignored<'a>>,
    }
    #[derive(Serialize)]
    struct Ignored<'a> {
        field: &'a str,
        reason: &'a str,
    }
    let ignored = cluster.ignored.iter().map(|ignored| Ignored {
        field: ignored.field,
        reason: ignored.reason,
    });
    render(&Document {
        name: &cluster.name,
        nodes: cluster.nodes.len(),
        control_plane: cluster.control_plane().count(),
        resources: resources.map(|resources| resources.objects.len()),
        ignored: ignored.collect(),
    })
}

/// `control node-config -o json`.
pub(crate) fn node_config(config: &NodeConfig) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        api_server: &'a str,
        kube_proxy: Option<&'a Value>,
        kubelet: &'a Value,
        notes: &'a [String],
    }
    render(&Document {
        api_server: API_SERVER,
        kube_proxy: config.kube_proxy.as_ref(),
        kubelet: &config.kubelet,
        notes: &config.notes,
    })
}

/// `control plan -o json`.
pub(crate) fn plan(plan: &Plan) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        operations: Vec<Operation<'a>>,
        left: Vec<Leaving<'a>>,
        notes: Vec<String>,
    }
    #[derive(Serialize)]
    struct Operation<'a> {
        action: &'static str,
        #[serde(flatten)]
        object: Object<'a>,
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        changed_by: &'a [String],
        changes: Vec<Change<'a>>,
    }
    #[derive(Serialize)]
    struct Change<'a> {
        field: String,
        live: Option<&'a Value>,
        desired: Option<&'a Value>,
    }
    let operations = plan.operations.iter().map(|operation| Operation {
        action: operation.action.word(),
        object: Object::of(&operation.key),
        reason: operation.reason.word(),
        revision: match operation.reason {
            Reason::Revision { to, .. } => Some(to),
            _ => None,
        },
        changed_by: match &operation.reason {
            Reason::Drift { by, .. } => by,
            _ => &[],
        },
        changes: operation
            .changes
            .iter()
            .map(|change| Change {
                field: change.field.to_string(),
                live: change.live.as_ref(),
                desired: change.desired.as_ref(),
            })
            .collect(),
    });
    render(&Document {
        operations: operations.collect(),
        left: leavings(&plan.left),
        notes: notes(&plan.notes),
    })
}

/// `control sync -o json`.
pub(crate) fn report(report: &Report) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        operations: Vec<Outcome<'a>>,
        created: usize,
        updated: usize,
        deleted: usize,
        failed: usize,
        skipped: usize,
        left: Vec<Leaving<'a>>,
        notes: Vec<String>,
    }
    #[derive(Serialize)]
    struct Outcome<'a> {
        #[serde(flatten)]
        object: Object<'a>,
        result: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        warnings: &'a [String],
    }
    let operations = report.outcomes.iter().map(|outcome| Outcome {
        object: Object::of(&outcome.key),
        result: outcome.end.to_string(),
        error: match &outcome.end {
            End::Failed(why) => Some(why),
            _ => None,
        },
        warnings: &outcome.warnings,
    });
    render(&Document {
        operations: operations.collect(),
        created: report.count(|end| matches!(end, End::Created)),
        updated: report.count(|end| matches!(end, End::Updated)),
        deleted: report.count(|end| matches!(end, End::Deleted)),
        failed: report.count(|end| matches!(end, End::Failed(_))),
        skipped: report.count(|end| matches!(end, End::Skipped(_))),
        left: leavings(&report.left),
        notes: notes(&report.notes),
    })
}

/// `control resource list -o json`.
pub(crate) fn resources(resources: &Resources) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        resources: Vec<Item<'a>>,
    }
    #[derive(Serialize)]
    struct Item<'a> {
        #[serde(flatten)]
        object: Object<'a>,
        source: String,
    }
    let items = resources.objects.iter().map(|resource| Item {
        object: Object::of(&resource.object.key),
        source: resource.source.to_string(),
    });
    render(&Document {
        resources: items.collect(),
    })
}

/// `control status -o json`.
pub(crate) fn status(status: &Status) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        holder: Option<&'a str>,
        holder_renewed: Option<&'a str>,
        api_servers: Vec<Health>,
        etcd: Vec<Health>,
        checks: Vec<Checked<'a>>,
        operations: usize,
        left: Vec<Leaving<'a>>,
        notes: Vec<String>,
        records: &'a [Record],
    }
    #[derive(Serialize)]
    struct Checked<'a> {
        subject: &'a str,
        verdict: &'a str,
        detail: &'a str,
    }
    #[derive(Serialize)]
    struct Health {
        address: IpAddr,
        healthy: bool,
    }
    let health = |all: &BTreeMap<IpAddr, bool>| {
        let each = all
            .iter()
            .map(|(&address, &healthy)| Health { address, healthy });
        each.collect::<Vec<_>>()
    };
    let checks = status.checks.iter().map(|check| Checked {
        subject: check.subject,
        verdict: check.verdict.word(),
        detail: &check.detail,
    });
    let holder = status.holder.as_ref();
    render(&Document {
        holder: holder.map(|(holder, _)| holder.as_str()),
        holder_renewed: holder.map(|(_, renewed)| renewed.as_str()),
        api_servers: health(&status.health.api_servers),
        etcd: health(&status.health.etcd),
        checks: checks.collect(),
        operations: status.plan.operations.len(),
        left: leavings(&status.plan.left),
        notes: notes(&status.plan.notes),
        records: &status.records,
    })
}

#[derive(Serialize)]
struct Object<'a> {
    kind: &'a str,
    api_version: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> Object<'a> {
    fn of(key: &'a Key) -> Self {
        Self {
            kind: &key.kind,
            api_version: &key.api_version,
            namespace: key.namespace.as_deref(),
            name: &key.name,
        }
    }
}

/// An object that is not as wanted and is not written.
#[derive(Serialize)]
struct Leaving<'a> {
    #[serde(flatten)]
    object: Object<'a>,
    reason: &'static str,
    detail: String,
}

fn leavings(left: &[Left]) -> Vec<Leaving<'_>> {
    left.iter()
        .map(|left| Leaving {
            object: Object::of(&left.key),
            reason: left.reason.word(),
            detail: left.reason.to_string(),
        })
        .collect()
}

fn notes(notes: &[Note]) -> Vec<String> {
    notes.iter().map(ToString::to_string).collect()
}

pub(super) fn render(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("keys are strings");
    text.push('\n');
    text
}
