//! The status on a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Count, Quantiles, Server, Status};
use crate::seen::Top;

/// All of it.
pub(crate) fn status(status: &Status) -> String {
    let mut text = String::new();
    // A String takes whatever is written.
    let _ = write_status(&mut text, status);
    text
}

fn write_status(text: &mut String, status: &Status) -> std::fmt::Result {
    let Status {
        version,
        pid,
        queries,
        ..
    } = status;
    let up = daemon::duration::format(Duration::from_secs(status.uptime_seconds));
    writeln!(text, "nodedns {version}, process {pid}, up {up}")?;
    writeln!(
        text,
        "{queries} queries, {} TCP connections open",
        status.tcp_connections
    )?;
    writeln!(text, "cache: {}", cache(status))?;
    if let Some(micros) = &status.miss_micros {
        writeln!(text, "misses took {}", quantiles(micros))?;
    }
    for (title, counts) in sections(status) {
        if !counts.is_empty() {
            writeln!(text, "{title}: {}", listed(counts))?;
        }
    }
    if !status.servers.is_empty() {
        writeln!(text, "\nservers")?;
    }
    for server in &status.servers {
        writeln!(text, "  {}  {}", server.server, of_server(server))?;
    }
    if let Some(seen) = &status.seen {
        for (title, tops) in [
            ("clients that ask most, lately", &seen.clients),
            ("names asked for most, lately", &seen.names),
            ("names that fail most, lately, and why", &seen.failing),
        ] {
            if !tops.is_empty() {
                writeln!(text, "\n{title}")?;
            }
            for top in tops {
                writeln!(text, "  {}", line(top))?;
            }
        }
    }
    Ok(())
}

/// How much of what was asked the cache knew.
pub(super) fn cache(status: &Status) -> String {
    let known = match status.hit_permille {
        Some(share) => format!("{} of the questions were known", percent(share)),
        None => "nothing was asked yet".to_owned(),
    };
    let mebibytes = status.cache_bytes as f64 / f64::from(1 << 20);
    format!(
        "{known}; {} answers, {mebibytes:.1} MiB",
        status.cache_answers
    )
}

/// What is counted by kind.
pub(super) fn sections(status: &Status) -> [(&'static str, &[Count]); 3] {
    [
        ("answers", &status.answers),
        ("not answered", &status.unanswered),
        ("limits met", &status.limited),
    ]
}

pub(super) fn listed(counts: &[Count]) -> String {
    let counts = counts
        .iter()
        .map(|Count { what, count }| format!("{what} {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

pub(super) fn quantiles(Quantiles { p50, p90, p99 }: &Quantiles) -> String {
    let [p50, p90, p99] = [p50, p90, p99].map(|micros| duration(*micros));
    format!("at most {p50} (half), {p90} (nine tenths), {p99} (99 %)")
}

pub(super) fn of_server(server: &Server) -> String {
    let state = if server.is_up { "up" } else { "DOWN" };
    let took = server.micros.as_ref().map_or_else(String::new, |micros| {
        format!(", took {}", quantiles(micros))
    });
    format!(
        "{state}, {} answered, {} not or late{took}",
        server.answered, server.other
    )
}

pub(super) fn percent(permille: u32) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

fn line(
    Top {
        what,
        permille,
        note,
    }: &Top,
) -> String {
    let note = note
        .as_ref()
        .map_or_else(String::new, |note| format!("  {}", note.escape_debug()));
    format!("{:>7}  {what}{note}", percent(*permille))
}

fn duration(micros: u64) -> String {
    format!("{:?}", Duration::from_micros(micros))
}
