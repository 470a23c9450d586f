//! The status and explanations on a terminal.

use std::fmt::Write as _;

use super::{Connection, Explanation, Listener, Status, Upstream, words};

/// A table of upstreams for each listener, and what happened there lately.
pub(super) fn status(status: &Status) -> String {
    let mut text = format!("rivers {}, process {}\n", status.version, status.pid);
    if let Some(words) = words::silent(status.silent_workers) {
        text += &format!("{words}\n");
    }
    if status.listeners.is_empty() {
        text += "\nnothing is listened to yet\n";
    }
    for one in &status.listeners {
        text.push('\n');
        listener(&mut text, one);
    }
    printable(&text)
}

/// A paragraph for each connection.
pub(super) fn explanation(explanation: &Explanation) -> String {
    let mut text = String::new();
    if let Some(words) = words::silent(explanation.silent_workers) {
        text += &format!("{words}\n");
    }
    for one in &explanation.connections {
        if !text.is_empty() {
            text.push('\n');
        }
        connection(&mut text, one);
    }
    printable(&text)
}

fn listener(text: &mut String, listener: &Listener) {
    *text += &listener.name;
    if listener.name != listener.address {
        *text += &format!(", {}", listener.address);
    }
    text.push('\n');
    upstreams(text, &listener.upstreams);
    if !listener.recent_dials.is_empty() {
        *text += "\n  recent dials\n";
        let dials = listener.recent_dials.iter().take(SHOWN).map(|dial| {
            [
                ago(dial.seconds_ago),
                dial.upstream.clone(),
                words::seconds(dial.took_seconds),
                dial.outcome.clone(),
            ]
        });
        table(text, ["WHEN", "UPSTREAM", "TOOK", "OUTCOME"], dials);
    }
    if !listener.recent_closes.is_empty() {
        *text += "\n  recent closes\n";
        let closes = listener.recent_closes.iter().take(SHOWN).map(|close| {
            [
                ago(close.seconds_ago),
                close.client.to_string(),
                close.upstream.clone().unwrap_or_else(|| "none".to_owned()),
                words::seconds(close.seconds),
                words::bytes(close.to_upstream),
                words::bytes(close.to_client),
                close.reason.clone(),
                words::tried(&close.tried),
            ]
        });
        let header = [
            "WHEN",
            "CLIENT",
            "UPSTREAM",
            "LASTED",
            "TO UPSTREAM",
            "TO CLIENT",
            "REASON",
            "TRIED BEFORE",
        ];
        table(text, header, closes);
    }
}

fn upstreams(text: &mut String, upstreams: &[Upstream]) {
    let rows = upstreams.iter().map(|upstream| {
        [
            upstream.address.clone(),
            upstream.state.clone(),
            upstream.connections.to_string(),
            if upstream.trusted { "yes" } else { "no" }.to_owned(),
            upstream
                .heard_seconds_ago
                .map_or_else(|| "never".to_owned(), ago),
            upstream.places(),
            upstream.why(),
        ]
    });
    let header = [
        "UPSTREAM",
        "STATE",
        "CONNECTIONS",
        "TRUSTED",
        "LAST BYTE",
        "ADDRESSES",
        "WHY",
    ];
    table(text, header, rows);
}

fn connection(text: &mut String, it: &Connection) {
    let stage = it.stage.word();
    *text += &format!("{} on {}: {stage}", it.client, it.listener);
    if let Some(upstream) = &it.upstream {
        *text += &format!(", {upstream}");
    }
    *text += &format!("\n  why     {}\n", it.why);
    let mut since = format!("accepted {}", ago(it.accepted_seconds_ago));
    if let Some(connected) = it.connected_seconds_ago {
        since += &format!(", connected {}", ago(connected));
    }
    if let Some(ended) = it.ended_seconds_ago {
        since += &format!(", ended {}", ago(ended));
    }
    let tried = words::tried(&it.tried);
    *text += &format!("  since   {since}\n");
    *text += &format!(
        "  tried   {}\n",
        if tried.is_empty() {
            "nobody else"
        } else {
            &tried
        }
    );
    *text += &format!(
        "  bytes   {} to the upstream, {} to the client\n\n  the upstreams now\n",
        it.to_upstream, it.to_client
    );
    upstreams(text, &it.upstreams);
}

/// Columns as wide as what is in them, without those that are empty throughout.
fn table<const N: usize>(
    text: &mut String,
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let rows: Vec<[String; N]> = rows.collect();
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            match cells.max() {
                None | Some(0) => 0,
                Some(widest) => widest.max(header[column].len()),
            }
        })
        .collect();
    let mut line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, &width) in cells.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let _ = write!(line, "  {cell:width$}");
        }
        *text += line.trim_end();
        text.push('\n');
    };
    line(header);
    for row in &rows {
        line(row.each_ref().map(String::as_str));
    }
}

fn ago(seconds: f64) -> String {
    format!("{} ago", words::seconds(seconds))
}

/// A server's words must not move the cursor of who reads them.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    text.chars().map(shown).collect()
}

/// Of what happened lately; JSON and the page have all.
const SHOWN: usize = 10;
