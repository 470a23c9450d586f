//! `control rivers`: how it goes, and how it stands, for people and as JSON.

use std::fmt::Write;
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::printable;
use crate::deploy::{Event, Fate, Target, differs};
use crate::installed::{Found, builds, short};
use crate::ssh::SshError;

/// Lines for people while it goes on.
pub(crate) struct Progress<'a> {
    targets: &'a [Target<'a>],
    /// Of those that are to be updated.
    ended: usize,
    all: usize,
    differing: Vec<String>,
}

impl<'a> Progress<'a> {
    pub(crate) const fn new(targets: &'a [Target<'a>]) -> Self {
        Self {
            targets,
            ended: 0,
            all: 0,
            differing: Vec::new(),
        }
    }

    /// What has just happened.
    pub(crate) fn line(&mut self, event: &Event<'_>) -> String {
        match event {
            Event::Found(found) => self.found(found),
            Event::Begun { target, is_canary } => {
                let name = &self.targets[*target].node.name;
                let first = if *is_canary { "first, to see" } else { "begun" };
                format!("{DIM}{name}: {first}: {}{DIM:#}\n", self.differing[*target])
            }
            Event::Ended { target, fate } => {
                self.ended += 1;
                let (ended, all) = (self.ended, self.all);
                format!(
                    "[{ended}/{all}] {}",
                    fate_line(&self.targets[*target], fate)
                )
            }
        }
    }

    fn found(&mut self, found: &[Result<Vec<&'static str>, String>]) -> String {
        let words = |one: &Result<Vec<&'static str>, String>| {
            one.as_ref()
                .map_or_else(|_| String::new(), |d| d.join(", "))
        };
        self.differing = found.iter().map(words).collect();
        let count = |is: fn(&Result<Vec<&'static str>, String>) -> bool| {
            found.iter().filter(|one| is(one)).count()
        };
        self.all = count(|one| matches!(one, Ok(differs) if !differs.is_empty()));
        let mut text = format!(
            "{} to update, {} as wanted, {} not reached\n",
            self.all,
            count(|one| matches!(one, Ok(differs) if differs.is_empty())),
            count(Result::is_err),
        );
        for (target, found) in self.targets.iter().zip(found) {
            if let Err(why) = found {
                let why = why.clone();
                text.push_str(&fate_line(target, &Fate::Unreached { why }));
            }
        }
        text
    }
}

/// The end of `rivers deploy`.
pub(crate) fn end(targets: &[Target<'_>], fates: &[Fate]) -> String {
    let mut text = String::new();
    let left: Vec<&str> = targets
        .iter()
        .zip(fates)
        .filter(|(_, fate)| **fate == Fate::Left)
        .map(|(target, _)| target.node.name.as_str())
        .collect();
    if !left.is_empty() {
        let _ = writeln!(text, "{YELLOW}not begun{YELLOW:#}: {}", left.join(", "));
    }
    let right = fates.iter().filter(|fate| fate.is_right()).count();
    let _ = writeln!(text, "{right} of {} nodes are as wanted", fates.len());
    text
}

/// `rivers status` for people: nodes grouped by what they run, then those that are not right.
pub(crate) fn status(targets: &[Target<'_>], found: &[Result<Found, SshError>]) -> String {
    let mut text = format!("wanted: rivers {}\n", short(sum(targets)));
    let known = targets.iter().zip(found).filter_map(|(target, found)| {
        let found = found.as_ref().ok()?;
        Some((
            target.node.name.as_str(),
            found,
            target.parcel.config.sum.as_str(),
        ))
    });
    for (build, names) in builds(known) {
        let is_wanted = build.running == sum(targets) && build.is_configured;
        let style = if is_wanted { GREEN } else { YELLOW };
        let _ = writeln!(
            text,
            "{style}{build}{style:#} on {}: {}",
            names.len(),
            names.join(", ")
        );
    }
    for (target, found) in targets.iter().zip(found) {
        let name = &target.node.name;
        match found {
            Ok(found) => {
                let differs = differs(found, &target.parcel);
                if !differs.is_empty() {
                    let _ = writeln!(text, "{YELLOW}{name}{YELLOW:#}: {}", differs.join(", "));
                }
            }
            Err(error) => {
                let why = printable(&error.to_string());
                let _ = writeln!(text, "{RED}{name}{RED:#}: {why}");
            }
        }
    }
    text
}

/// `rivers deploy` as one document.
pub(crate) fn fates(targets: &[Target<'_>], fates: &[Fate]) -> String {
    let nodes = targets.iter().zip(fates).map(|(target, fate)| {
        let (result, error) = word(fate);
        Shown {
            result: Some(result),
            error: error.map(str::to_owned),
            ..Shown::of(target)
        }
    });
    document(targets, nodes.collect())
}

/// `rivers status` as one document.
pub(crate) fn status_json(targets: &[Target<'_>], found: &[Result<Found, SshError>]) -> String {
    let nodes = targets
        .iter()
        .zip(found)
        .map(|(target, found)| match found {
            Ok(found) => Shown {
                running: Some(&found.running),
                config: Some(&found.config),
                differs: Some(differs(found, &target.parcel)),
                ..Shown::of(target)
            },
            Err(error) => Shown {
                error: Some(error.to_string()),
                ..Shown::of(target)
            },
        });
    document(targets, nodes.collect())
}

fn document(targets: &[Target<'_>], nodes: Vec<Shown<'_>>) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        binary: &'a str,
        nodes: Vec<Shown<'a>>,
    }
    super::json::render(&Document {
        binary: sum(targets),
        nodes,
    })
}

/// One node: what became of it, or how it is.
#[derive(Serialize, Default)]
struct Shown<'a> {
    node: &'a str,
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(target: &'a Target<'_>) -> Self {
        Self {
            node: &target.node.name,
            address: Some(target.node.address),
            ..Self::default()
        }
    }
}

fn fate_line(target: &Target<'_>, fate: &Fate) -> String {
    let name = &target.node.name;
    let (word, why) = word(fate);
    let style = if fate.is_right() { GREEN } else { RED };
    let more = match (fate, why) {
        (Fate::Updated { after }, _) => format!(" in {:.1} s", after.as_secs_f64()),
        (_, Some(why)) => format!(": {}", printable(why)),
        (_, None) => String::new(),
    };
    format!("{name}: {style}{}{style:#}{more}\n", word.replace('_', " "))
}

/// The word that stands for a fate, the same in every version, and why.
fn word(fate: &Fate) -> (&'static str, Option<&str>) {
    match fate {
        Fate::Right => ("right", None),
        Fate::Updated { .. } => ("updated", None),
        Fate::Restored { why } => ("rolled_back", Some(why)),
        Fate::Refused { why } => ("refused", Some(why)),
        Fate::Broken { why } => ("broken", Some(why)),
        Fate::Unreached { why } => ("not_reached", Some(why)),
        Fate::Left => ("not_begun", None),
    }
}

fn sum<'a>(targets: &'a [Target<'_>]) -> &'a str {
    targets
        .first()
        .map_or("", |target| &target.parcel.binary.sum)
}

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();
