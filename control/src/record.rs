//! What was done: the last operations, in ConfigMap `kube-system/cke-control-records`, a
//! line of JSON each, in CKE's words (`new` is what a plan shows; then `running`,
//! `completed`, `cancelled`).
//!
//! A batch of operations is written down as running before it begins and again when it
//! has ended, so that one which was cut off is still to be seen: whoever begins next calls
//! it cancelled. Several may write at once: none loses another's lines.

use std::cell::RefCell;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::apply::{End, Outcome};
use crate::client::{RequestError, Server};
use crate::kind::Kinds;
use crate::object::Key;
use crate::plan::Operation;

/// One operation, past or under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Counts up.
    pub(crate) id: u64,
    pub(crate) status: Status,
    /// As `update ConfigMap kube-system/node-dns`.
    pub(crate) operation: String,
    /// Why, as the plan said.
    pub(crate) info: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
    /// RFC 3339.
    pub(crate) start_at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) end_at: String,
    /// Who did it.
    pub(crate) by: String,
}

/// CKE's words for how far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Running,
    Completed,
    Cancelled,
}

impl Status {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The records of a cluster, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) list: Vec<Record>,
    /// The version of what was read; none of what does not exist yet.
    version: Value,
}

/// Who writes down what this process does.
#[derive(Debug)]
pub(crate) struct Scribe {
    by: String,
    /// What is under way.
    active: RefCell<Vec<Ids>>,
}

/// Operations that have begun together. Dropped, they have been cut off.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    scribe: &'a Scribe,
    ids: Ids,
}

type Ids = Range<u64>;

impl Records {
    /// What the ConfigMap holds; lines that are no records are passed over.
    pub(crate) fn of(live: &Value) -> Self {
        let text = live["data"][RECORDS].as_str().unwrap_or_default();
        Self {
            list: text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
            version: live["metadata"]["resourceVersion"].clone(),
        }
    }

    /// Writes down operations that begin now. Of those that still run, all that are not `active`
    /// have been cut off.
    fn begin(&mut self, operations: &[Operation], by: &str, active: &[Ids], stamp: &str) -> Ids {
        let is_active = |record: &Record| {
            let is_ours = record.by == by;
            is_ours && active.iter().any(|batch| batch.contains(&record.id))
        };
        for record in &mut self.list {
            if record.status == Status::Running && !is_active(record) {
                record.status = Status::Cancelled;
                record.error = format!("cut off: {} ended before it was done", record.by);
            }
        }
        let next = self.list.last().map_or(1, |last| last.id.saturating_add(1));
        let new = (next..).zip(operations).map(|(id, operation)| Record {
            id,
            status: Status::Running,
            operation: format!("{} {}", operation.action.word(), operation.key),
            info: operation.reason.to_string(),
            error: String::new(),
            start_at: stamp.to_owned(),
            end_at: String::new(),
            by: by.to_owned(),
        });
        self.list.extend(new);
        let surplus = self.list.len().saturating_sub(KEPT);
        self.list.drain(..surplus);
        next..self
            .list
            .last()
            .map_or(next, |last| last.id.saturating_add(1))
    }

    /// Writes down how the operations of a batch have ended.
    fn end(&mut self, batch: &Ids, outcomes: &[Outcome], by: &str, stamp: &str) {
        let running = self.list.iter_mut().filter(|record| {
            record.status == Status::Running && record.by == by && batch.contains(&record.id)
        });
        for record in running {
            let ended = outcomes.iter().find(|outcome| {
                record
                    .operation
                    .split_once(' ')
                    .is_some_and(|(_, key)| key == outcome.key.to_string())
            });
            stamp.clone_into(&mut record.end_at);
            match ended.map(|outcome| &outcome.end) {
                Some(End::Failed(why)) => {
                    record.status = Status::Cancelled;
                    record.error.clone_from(why);
                }
                Some(End::Skipped(needed)) => {
                    record.status = Status::Cancelled;
                    record.error = format!("needs {needed}, which failed");
                }
                Some(_) => record.status = Status::Completed,
                None => {
                    record.status = Status::Cancelled;
                    "not begun".clone_into(&mut record.error);
                }
            }
        }
    }

    fn write(&self) -> Value {
        let lines: String = self
            .list
            .iter()
            .map(|record| serde_json::to_string(record).expect("its keys are words") + "\n")
            .collect();
        json!({"data": {RECORDS: lines}})
    }
}

/// Reads the records; none when there are none yet.
pub(crate) async fn read(server: &Server) -> Result<Records, RequestError> {
    let (key, kinds) = (key(), Kinds::default());
    let kind = kinds.of(&key).expect("a ConfigMap is Kubernetes' own");
    let live = server.object(&key, kind).await?;
    Ok(live.as_ref().map(Records::of).unwrap_or_default())
}

impl Scribe {
    /// Under this name, which no other process has.
    pub(crate) fn new(by: &str) -> Self {
        Self {
            by: by.to_owned(),
            active: RefCell::default(),
        }
    }

    /// Who it is.
    pub(crate) fn by(&self) -> &str {
        &self.by
    }

    /// Writes down that these operations begin.
    pub(crate) async fn begin(
        &self,
        server: &Server,
        operations: &[Operation],
    ) -> Result<Batch<'_>, RequestError> {
        let ids = change(server, |records| {
            let active = self.active.borrow();
            records.begin(operations, &self.by, &active, &now())
        })
        .await?;
        self.active.borrow_mut().push(ids.clone());
        Ok(Batch { scribe: self, ids })
    }
}

impl Batch<'_> {
    /// Writes down how they have ended.
    pub(crate) async fn end(
        self,
        server: &Server,
        outcomes: &[Outcome],
    ) -> Result<(), RequestError> {
        let by = &self.scribe.by;
        change(server, |records| {
            records.end(&self.ids, outcomes, by, &now());
        })
        .await
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut active = self.scribe.active.borrow_mut();
        active.retain(|ids| *ids != self.ids);
    }
}

/// Reads, changes and writes; anew while somebody else was faster.
async fn change<T>(server: &Server, change: impl Fn(&mut Records) -> T) -> Result<T, RequestError> {
    let mut tries = TRIES;
    loop {
        let mut records = read(server).await?;
        let changed = change(&mut records);
        match write(server, &records).await {
            Ok(()) => return Ok(changed),
            Err(error) if error.conflict && tries > 1 => tries -= 1,
            Err(error) => return Err(error),
        }
    }
}

async fn write(server: &Server, records: &Records) -> Result<(), RequestError> {
    let key = key();
    let mut content = records.write();
    content["apiVersion"] = json!(key.api_version);
    content["kind"] = json!(key.kind);
    content["metadata"] = json!({"namespace": key.namespace, "name": key.name});
    if records.version.is_null() {
        let created = server.create(&key, PLURAL, None, &content).await;
        return created.map(drop);
    }
    content["metadata"]["resourceVersion"] = records.version.clone();
    server.apply(&key, PLURAL, &content, false).await.map(drop)
}

/// The time now for people.
pub(crate) fn now() -> String {
    stamp(jiff::Timestamp::now())
}

/// A time for people, to the second.
pub(crate) fn stamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn key() -> Key {
    Key::core("ConfigMap", "kube-system", "cke-control-records")
}

const RECORDS: &str = "records";
/// Some hundred bytes each: far below the 1 MiB of a ConfigMap.
const KEPT: usize = 500;
const PLURAL: &str = "configmaps";
/// Those who write at the same time are a few.
const TRIES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Reason};

    fn operation(name: &str) -> Operation {
        Operation {
            key: Key::core("ConfigMap", "a", name),
            plural: "configmaps".to_owned(),
            action: Action::Create(json!({})),
            reason: Reason::Missing,
            changes: Vec::new(),
            depends_on: Vec::new(),
        }
    }

    fn outcome(name: &str, end: End) -> Outcome {
        Outcome {
            key: Key::core("ConfigMap", "a", name),
            end,
            warnings: Vec::new(),
        }
    }

    fn lines(records: &Records) -> Vec<String> {
        records
            .list
            .iter()
            .map(|r| format!("{} {} {} {}", r.id, r.status.word(), r.operation, r.error))
            .collect()
    }

    #[test]
    fn operations_run_and_then_have_ended() {
        let mut records = Records::default();
        let batch = records.begin(
            &[operation("x"), operation("y"), operation("z")],
            "me",
            &[],
            "t1",
        );
        assert_eq!(lines(&records)[0], "1 running create ConfigMap a/x ");
        let ends = [
            outcome("x", End::Created),
            outcome("y", End::Failed("no".to_owned())),
        ];
        records.end(&batch, &ends, "me", "t2");
        assert_eq!(
            lines(&records),
            [
                "1 completed create ConfigMap a/x ",
                "2 cancelled create ConfigMap a/y no",
                "3 cancelled create ConfigMap a/z not begun",
            ]
        );
        assert_eq!(Records::of(&records.write()), records);
    }

    #[test]
    fn what_was_cut_off_is_cancelled_by_who_begins_next() {
        let mut records = Records::default();
        let first = records.begin(&[operation("x")], "first", &[], "t1");
        records.begin(&[operation("x")], "second", &[first], "t2");
        assert_eq!(
            lines(&records),
            [
                "1 cancelled create ConfigMap a/x cut off: first ended before it was done",
                "2 running create ConfigMap a/x ",
            ]
        );
    }

    #[test]
    fn two_batches_of_one_process_are_told_apart() {
        let mut records = Records::default();
        let first = records.begin(&[operation("x")], "me", &[], "t1");
        let active = [first];
        let second = records.begin(&[operation("x"), operation("y")], "me", &active, "t2");
        records.end(&second, &[outcome("x", End::Updated)], "me", "t3");
        assert_eq!(
            lines(&records),
            [
                "1 running create ConfigMap a/x ",
                "2 completed create ConfigMap a/x ",
                "3 cancelled create ConfigMap a/y not begun",
            ]
        );
        records.begin(&[operation("z")], "me", &[], "t4");
        assert!(lines(&records)[0].starts_with("1 cancelled create ConfigMap a/x cut off"));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut records = Records::default();
        for _ in 0..3 {
            let many: Vec<_> = (0..300).map(|n| operation(&n.to_string())).collect();
            records.begin(&many, "me", &[], "t");
        }
        assert_eq!(records.list.len(), KEPT);
        assert_eq!(records.list.last().unwrap().id, 900);
    }

    #[test]
    fn lines_that_are_no_records_are_passed_over() {
        assert_eq!(
            Records::of(&json!({"data": {"records": "x\n{}\n7\n"}})),
            Records::default()
        );
        assert_eq!(Records::of(&json!(7)), Records::default());
    }
}
