//! What the demo found: a row a check, as a table for people and as JSON for programs.

use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// As it ought to be.
    Passed,
    /// Not as it ought to be.
    Failed,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// What was tried.
    pub(crate) check: &'static str,
    /// How it came out.
    pub(crate) result: Outcome,
    /// What was seen, in one line.
    pub(crate) detail: String,
}

impl Row {
    /// A check that came out as it ought to.
    pub(crate) fn passed(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Outcome::Passed, detail)
    }

    /// A check that failed.
    pub(crate) fn failed(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Outcome::Failed, detail)
    }

    fn new(check: &'static str, result: Outcome, detail: impl Into<String>) -> Self {
        // A detail may carry what a server sent: nothing in it may move a terminal's cursor.
        let detail = detail.into().replace(char::is_control, " ");
        Self {
            check,
            result,
            detail,
        }
    }
}

/// All rows, and what to say about them.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where the real parts behind ours come from; nowhere when stand-ins play them.
    pub(crate) assets: Option<PathBuf>,
    /// In the order of the checks.
    pub(crate) rows: Vec<Row>,
    /// From the first process started to the last check done.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub(crate) took: Duration,
    /// What to try while everything still runs; empty if nothing does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) by_hand: Vec<ByHand>,
}

/// Something to try by hand.
#[derive(Debug, Serialize)]
pub(crate) struct ByHand {
    /// What it shows.
    pub(crate) shows: &'static str,
    /// A command line, or a file's path.
    pub(crate) command: String,
}

impl Report {
    /// How many rows came out as `outcome`.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.result == outcome).count()
    }

    /// For people, with ANSI colours; the stream it is printed on strips them where they are unwanted.
    pub(crate) fn text(&self) -> String {
        let widest = |cells: &mut dyn Iterator<Item = &str>| {
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let checks = widest(&mut self.rows.iter().map(|row| row.check));
        let results = widest(&mut self.rows.iter().map(|row| row.result.word()));

        let mut text = format!(
            "{}\n\n{:checks$}  {:results$}  detail\n",
            self.introduction(),
            "what",
            "result"
        );
        for Row {
            check,
            result,
            detail,
        } in &self.rows
        {
            // Padded inside its colour: escapes have no width.
            let (style, word) = (result.style(), result.word());
            text += &format!("{check:checks$}  {style}{word:results$}{style:#}  {detail}\n");
        }
        text += &format!("\n{}\n", self.summary());
        if !self.by_hand.is_empty() {
            text += "\nEverything runs until Ctrl-C. To try by hand:\n";
            for ByHand { shows, command } in &self.by_hand {
                text += &format!("  # {shows}\n  {command}\n");
            }
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    fn introduction(&self) -> String {
        match &self.assets {
            None => "rivers and nodedns are the real programs; the API servers and name servers are stand-ins of this \
                     demo."
                .to_owned(),
            Some(folder) => format!(
                "rivers and nodedns, etcd, three kube-apiservers and CoreDNS (from {}) are the real programs; \
                 the signed zone is a stand-in's.",
                folder.display()
            ),
        }
    }

    fn summary(&self) -> String {
        let mut counts = vec![format!("{} passed", self.count(Outcome::Passed))];
        let failed = self.count(Outcome::Failed);
        if failed > 0 {
            let style = Outcome::Failed.style();
            counts.push(format!("{style}{failed} failed{style:#}"));
        }
        let seconds = self.took.as_secs_f64();
        format!("{} in {seconds:.1} s", counts.join(", "))
    }
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
        }
    }

    fn style(self) -> Style {
        let colour = match self {
            Self::Passed => AnsiColor::Green,
            Self::Failed => AnsiColor::Red,
        };
        colour.on_default().bold()
    }
}

/// A duration for people: `0.4 ms`, `12 ms`, `1.3 s`.
pub(crate) fn brief(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    match milliseconds {
        ..9.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", milliseconds / 1e3),
    }
}

fn as_seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Milliseconds are enough, and keep the text short.
    serializer.serialize_f64((took.as_secs_f64() * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            assets: None,
            rows: vec![
                Row::passed("three API servers behind rivers", "a, b and c answer"),
                Row::failed("clean stop", "rivers ended with exit status: 1"),
            ],
            took: Duration::from_millis(6_240),
            by_hand: Vec::new(),
        }
    }

    #[test]
    fn a_table_for_people() {
        let plain = anstream::adapter::strip_str(&report().text()).to_string();
        insta::assert_snapshot!(plain, @r"
        rivers and nodedns are the real programs; the API servers and name servers are stand-ins of this demo.

        what                             result  detail
        three API servers behind rivers  passed  a, b and c answer
        clean stop                       FAILED  rivers ended with exit status: 1

        1 passed, 1 failed in 6.2 s
        ");
    }

    #[test]
    fn real_parts_are_told_from_stand_ins() {
        let report = Report {
            assets: Some("/opt/assets".into()),
            ..report()
        };
        let text = report.text();
        assert!(text.contains("CoreDNS (from /opt/assets)"), "{text}");
    }

    #[test]
    fn colours_stand_around_the_result_only() {
        let text = report().text();
        let passed = text.lines().nth(3).unwrap();
        assert!(
            passed.contains("passed\x1b[0m  a, b and c answer"),
            "{passed:?}"
        );
    }

    #[test]
    fn json_for_programs() {
        let json = report().json().unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "assets": null,
          "rows": [
            {
              "check": "three API servers behind rivers",
              "result": "passed",
              "detail": "a, b and c answer"
            },
            {
              "check": "clean stop",
              "result": "failed",
              "detail": "rivers ended with exit status: 1"
            }
          ],
          "seconds": 6.24
        }
        "#);
    }

    #[test]
    fn a_server_cannot_write_escapes_into_the_table() {
        assert_eq!(Row::failed("x", "\x1b[2Jgone\n").detail, " [2Jgone ");
    }

    #[test]
    fn durations_are_brief() {
        let brief_of = |us| brief(Duration::from_micros(us));
        assert_eq!(brief_of(84), "0.1 ms");
        assert_eq!(brief_of(9_940), "9.9 ms");
        assert_eq!(brief_of(12_345), "12 ms");
        assert_eq!(brief_of(1_250_000), "1.2 s");
    }
}
