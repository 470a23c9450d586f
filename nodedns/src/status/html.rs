//! The status as a page for people.

use std::fmt::{self, Write as _};

use daemon::admin::html::{self, Escaped};

use super::{Status, text};
use crate::seen::Top;

/// The whole page.
pub(super) fn page(status: &Status) -> String {
    let mut page = String::with_capacity(8 << 10);
    // A String takes whatever is written.
    let _ = write_page(&mut page, status);
    page
}

fn write_page(page: &mut String, status: &Status) -> fmt::Result {
    html::begin(page, "nodedns", &status.version, status.pid, "")?;
    let cache = text::cache(status);
    writeln!(
        page,
        "<section><h2>questions</h2>\n<table><tbody>\n<tr><th>queries<td>{}</tr>\n<tr><th>cache<td>{}</tr>",
        status.queries,
        Escaped(&cache)
    )?;
    if let Some(micros) = &status.miss_micros {
        writeln!(
            page,
            "<tr><th>misses took<td>{}</tr>",
            Escaped(&text::quantiles(micros))
        )?;
    }
    for (title, counts) in text::sections(status) {
        if !counts.is_empty() {
            writeln!(
                page,
                "<tr><th>{title}<td>{}</tr>",
                Escaped(&text::listed(counts))
            )?;
        }
    }
    writeln!(
        page,
        "<tr><th>TCP connections<td>{}</tr>\n</tbody></table></section>",
        status.tcp_connections
    )?;
    write_servers(page, status)?;
    match &status.seen {
        Some(seen) => {
            write_tops(page, "clients that ask most, lately", &seen.clients)?;
            write_tops(page, "names asked for most, lately", &seen.names)?;
            write_tops(page, "names that fail most, lately", &seen.failing)?;
        }
        None => writeln!(
            page,
            "<p>Others can read this page: clients and names are shown by <code>nodedns status</code> on the node, \
             or here when <code>admin</code> is a loopback address.</p>"
        )?,
    }
    html::end(page)
}

fn write_servers(page: &mut String, status: &Status) -> fmt::Result {
    page.write_str(
        "<section><h2>servers</h2>\n<table><thead><tr><th>server<th>state<th class=\"n\">answered\
         <th class=\"n\">not, or late<th>took</tr></thead><tbody>\n",
    )?;
    for server in &status.servers {
        let state = if server.is_up { "up" } else { "down" };
        let took = server
            .micros
            .as_ref()
            .map_or_else(String::new, text::quantiles);
        writeln!(
            page,
            "<tr><td>{}<td><span class=\"state {state}\">{state}</span><td class=\"n\">{}<td class=\"n\">{}<td>{}</tr>",
            Escaped(&server.server),
            server.answered,
            server.other,
            Escaped(&took),
        )?;
    }
    page.write_str("</tbody></table></section>\n")
}

fn write_tops(page: &mut String, title: &str, tops: &[Top]) -> fmt::Result {
    writeln!(
        page,
        "<section><h2>{title}</h2>\n<table><thead><tr><th class=\"n\">share<th>who<th>why</tr></thead><tbody>"
    )?;
    for top in tops {
        writeln!(
            page,
            "<tr><td class=\"n\">{}<td>{}<td>{}</tr>",
            text::percent(top.permille),
            Escaped(&top.what),
            Escaped(top.note.as_deref().unwrap_or_default()),
        )?;
    }
    page.write_str("</tbody></table></section>\n")
}
