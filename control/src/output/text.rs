//! Results as lines for people. Pure: the text is made here and printed elsewhere.

use std::fmt::Write;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use similar::{ChangeTag, TextDiff};

use super::fields::before_and_after;
use super::printable;
use crate::apply::{End, Outcome, Report};
use crate::cli::Part;
use crate::cluster::Cluster;
use crate::desired::{API_SERVER, KUBE_PROXY_FILE, NodeConfig, Note};
use crate::plan::{Action, Left, Operation, Plan, Reason};
use crate::resources::{Resource, Resources};
use crate::status::Status;
use crate::status::checks::{Check, Verdict};

/// `control validate`.
pub(crate) fn cluster(path: &Path, cluster: &Cluster, resources: Option<&Resources>) -> String {
    let mut text = format!(
        "{} is valid: cluster {}, {}, {} of them control plane\n",
        path.display(),
        cluster.name,
        counted(cluster.nodes.len(), "node"),
        cluster.control_plane().count(),
    );
    if let Some(resources) = resources {
        let _ = writeln!(
            text,
            "{} of your own",
            counted(resources.objects.len(), "resource")
        );
    }
    for ignored in &cluster.ignored {
        let _ = writeln!(text, "{DIM}ignored: {ignored}{DIM:#}");
    }
    text
}

/// `control plan`: a line for each operation, and what it changes.
pub(crate) fn plan(plan: &Plan, verbose: bool) -> String {
    let mut text = notes(&plan.notes);
    for operation in &plan.operations {
        let verb = operation.action.word();
        let style = match operation.action {
            Action::Create(_)
            | Action::Issue { exists: false, .. }
            | Action::Deliver { exists: false, .. } => GREEN,
            Action::Update(_)
            | Action::PatchNode(_)
            | Action::Issue { exists: true, .. }
            | Action::Deliver { exists: true, .. }
            | Action::Restart { .. }
            | Action::RewriteSecrets => YELLOW,
            Action::RemoveNode { .. } | Action::Delete { .. } => RED,
        };
        let Operation { key, reason, .. } = operation;
        let reason = printable(&reason.to_string());
        let _ = writeln!(text, "{style}{verb}{style:#} {key}  {DIM}{reason}{DIM:#}");
        if verbose || verb == "update" {
            diff(&mut text, operation);
        }
    }
    left(&mut text, &plan.left);
    if plan.operations.is_empty() {
        text.push_str("nothing to do\n");
        return text;
    }
    let count = |verbs: &[&str]| {
        let actions = plan
            .operations
            .iter()
            .map(|operation| operation.action.word());
        actions.filter(|verb| verbs.contains(verb)).count()
    };
    let _ = write!(
        text,
        "{} to create, {} to update",
        count(&["create"]),
        count(&["update", "restart", "rewrite"])
    );
    let deletes = count(&["delete", "remove"]);
    if deletes > 0 {
        let _ = write!(text, ", {deletes} to delete");
    }
    text.push('\n');
    text
}

/// What is not as wanted and is not written.
fn left(text: &mut String, left: &[Left]) {
    for Left { key, reason } in left {
        let (verb, style) = match reason {
            Reason::Held { .. } | Reason::Waiting { .. } => ("hold", CYAN),
            Reason::Blocked { .. } => ("refuse", RED),
            _ => ("leave", CYAN),
        };
        let reason = printable(&reason.to_string());
        let _ = writeln!(text, "{style}{verb}{style:#} {key}  {DIM}{reason}{DIM:#}");
    }
}

/// One line of `control sync`.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let Outcome { key, end, warnings } = outcome;
    let style = match end {
        End::Created | End::Updated | End::Deleted => GREEN,
        End::Unneeded => DIM,
        End::Failed(_) | End::Skipped(_) => RED,
    };
    let mut line = format!("{style}{end}{style:#} {key}");
    match end {
        End::Failed(why) => {
            let _ = write!(line, ": {why}");
        }
        End::Skipped(failed) => {
            let _ = write!(line, ": needs {failed}, which failed");
        }
        End::Created | End::Updated | End::Deleted | End::Unneeded => {}
    }
    line.push('\n');
    for warning in warnings {
        let _ = writeln!(
            line,
            "    {YELLOW}the API server warns{YELLOW:#}: {warning}"
        );
    }
    line
}

/// The end of `control sync`.
pub(crate) fn report(report: &Report) -> String {
    let mut text = notes(&report.notes);
    left(&mut text, &report.left);
    if report.outcomes.is_empty() {
        text.push_str("nothing to do\n");
        return text;
    }
    let _ = write!(
        text,
        "{} created, {} updated, {} failed",
        report.count(|end| matches!(end, End::Created)),
        report.count(|end| matches!(end, End::Updated)),
        report.count(|end| matches!(end, End::Failed(_))),
    );
    let deleted = report.count(|end| matches!(end, End::Deleted));
    if deleted > 0 {
        let _ = write!(text, ", {deleted} deleted");
    }
    let skipped = report.count(|end| matches!(end, End::Skipped(_)));
    if skipped > 0 {
        let _ = write!(text, ", {skipped} skipped");
    }
    text.push('\n');
    text
}

/// `control resource list`.
pub(crate) fn resources(resources: &Resources) -> String {
    let mut text = String::new();
    for Resource { object, source } in &resources.objects {
        let _ = writeln!(text, "{}  {DIM}{source}{DIM:#}", object.key);
    }
    text
}

/// `control node-config`: YAML, one document a file; what is to be known in comments.
pub(crate) fn node_config(config: &NodeConfig, part: Option<Part>) -> String {
    let mut text = String::new();
    for note in &config.notes {
        let _ = writeln!(text, "# {note}");
    }
    let files = [
        (Part::KubeProxy, KUBE_PROXY_FILE, config.kube_proxy.as_ref()),
        (
            Part::Kubelet,
            "kubelet's own, beside the rest",
            Some(&config.kubelet),
        ),
    ];
    let wanted = files
        .into_iter()
        .filter(|(one, ..)| part.is_none_or(|part| part == *one));
    let documents: Vec<String> = wanted
        .filter_map(|(_, title, content)| {
            let yaml = daemon::config_file::to_yaml(content?).expect("its keys are words");
            Some(format!(
                "# {title}; server in its kubeconfig: {API_SERVER}\n{yaml}"
            ))
        })
        .collect();
    text.push_str(&documents.join("---\n"));
    text
}

/// `control status`.
pub(crate) fn status(status: &Status) -> String {
    let mut text = match &status.holder {
        Some((holder, renewed)) => printable(&format!("kept by {holder}, last seen {renewed}")),
        None => "no `control run` keeps it".to_owned(),
    };
    text.push('\n');
    for (what, health) in [
        ("API server", &status.health.api_servers),
        ("etcd", &status.health.etcd),
    ] {
        for (address, well) in health {
            let (word, style) = if *well {
                ("well", GREEN)
            } else {
                ("not well", RED)
            };
            let _ = writeln!(text, "{what} {address}: {style}{word}{style:#}");
        }
    }
    for Check {
        subject,
        verdict,
        detail,
    } in &status.checks
    {
        let style = match verdict {
            Verdict::Good => GREEN,
            Verdict::Bad => RED,
            Verdict::Open => CYAN,
        };
        let detail = printable(detail);
        let word = verdict.word();
        let _ = writeln!(text, "{subject}: {style}{word}{style:#}, {detail}");
    }
    text.push_str(&notes(&status.plan.notes));
    left(&mut text, &status.plan.left);
    match status.plan.operations.len() {
        0 => text.push_str("nothing to do\n"),
        count => {
            let _ = writeln!(
                text,
                "{} to do; `control plan` shows them",
                counted(count, "operation")
            );
        }
    }
    for record in &status.records {
        let line = printable(&format!(
            "{} {} {}  {}{}{}",
            record.start_at,
            record.status.word(),
            record.operation,
            record.info,
            if record.error.is_empty() { "" } else { ": " },
            record.error,
        ));
        let _ = writeln!(text, "{DIM}{line}{DIM:#}");
    }
    text
}

fn notes(notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes {
        let _ = writeln!(text, "{CYAN}note{CYAN:#} {note}");
    }
    text
}

/// The changed fields as a unified diff, indented below the operation's line.
fn diff(text: &mut String, operation: &Operation) {
    let (before, after) = before_and_after(operation);
    let diff = TextDiff::from_lines(&before, &after);
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            let _ = writeln!(text, "    {DIM}…{DIM:#}");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ('-', RED),
                ChangeTag::Insert => ('+', GREEN),
                ChangeTag::Equal => (' ', Style::new()),
            };
            let line = change.value().trim_end_matches('\n');
            let _ = writeln!(text, "    {style}{sign} {line}{style:#}");
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const DIM: Style = Style::new().dimmed();
/// Lines around a change, as `diff -u` has.
const CONTEXT: usize = 3;

#[cfg(test)]
mod tests;
