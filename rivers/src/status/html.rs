//! The status as a page for people: one table of upstreams a listener, what happened lately below. No
//! script, nothing from elsewhere; whatever comes from outside is escaped ([`daemon::admin::html`]).

use std::fmt::{self, Write as _};

use daemon::admin::html::{self, Escaped};

use super::{Close, Dial, Listener, Status, Upstream, words};

/// The whole page.
pub(super) fn page(status: &Status) -> String {
    let mut page = String::with_capacity(16 * 1024);
    // A String takes whatever is written.
    let _ = write_page(&mut page, status);
    page
}

fn write_page(page: &mut String, status: &Status) -> fmt::Result {
    html::begin(page, "rivers", &status.version, status.pid, FORM)?;
    if let Some(words) = words::silent(status.silent_workers) {
        writeln!(page, "<p class=\"warning\">{}</p>", Escaped(&words))?;
    }
    if status.listeners.is_empty() {
        writeln!(page, "<p>Nothing is listened to yet.</p>")?;
    }
    for listener in &status.listeners {
        write_listener(page, listener)?;
    }
    html::end(page)
}

fn write_listener(page: &mut String, listener: &Listener) -> fmt::Result {
    let name = Escaped(&listener.name);
    write!(page, "<section><h2>{name}")?;
    if listener.name != listener.address {
        write!(page, " <small>{}</small>", Escaped(&listener.address))?;
    }
    page.write_str(
        "</h2>\n<table class=\"upstreams\"><thead><tr><th>upstream<th>state<th class=\"n\">connections\
         <th>trusted<th>last byte<th>addresses<th>why</tr></thead><tbody>\n",
    )?;
    for upstream in &listener.upstreams {
        write_upstream(page, upstream)?;
    }
    page.write_str("</tbody></table>\n")?;
    write_closes(page, &listener.recent_closes)?;
    write_dials(page, &listener.recent_dials)?;
    page.write_str("</section>\n")
}

fn write_upstream(page: &mut String, upstream: &Upstream) -> fmt::Result {
    let heard = upstream.heard_seconds_ago;
    let heard = heard.map_or_else(|| "never".to_owned(), ago);
    writeln!(
        page,
        "<tr><td>{}<td><span class=\"state {state}\">{state}</span><td class=\"n\">{}\
         <td>{}<td>{heard}<td>{}<td>{}</tr>",
        Escaped(&upstream.address),
        upstream.connections,
        if upstream.trusted { "yes" } else { "no" },
        Escaped(&upstream.places()),
        Escaped(&upstream.why()),
        state = Escaped(&upstream.state),
    )
}

fn write_closes(page: &mut String, closes: &[Close]) -> fmt::Result {
    let count = closes.len();
    let open = if count == 0 { "" } else { " open" };
    write!(
        page,
        "<details{open}><summary>recent closes <small>{count}</small></summary>\n\
         <table class=\"closes\"><thead><tr><th>when<th>client<th>upstream<th>tried before<th class=\"n\">lasted\
         <th class=\"n\">to upstream<th class=\"n\">to client<th>reason</tr></thead><tbody>\n"
    )?;
    for close in closes {
        writeln!(
            page,
            "<tr><td>{}<td><a href=\"/explain?client={client}\">{client}</a><td>{}<td>{}\
             <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td>{}</tr>",
            ago(close.seconds_ago),
            Escaped(close.upstream.as_deref().unwrap_or("none")),
            Escaped(&words::tried(&close.tried)),
            words::seconds(close.seconds),
            words::bytes(close.to_upstream),
            words::bytes(close.to_client),
            Escaped(&close.reason),
            client = close.client,
        )?;
    }
    page.write_str("</tbody></table></details>\n")
}

fn write_dials(page: &mut String, dials: &[Dial]) -> fmt::Result {
    write!(
        page,
        "<details><summary>recent dials <small>{}</small></summary>\n\
         <table class=\"dials\"><thead><tr><th>when<th>upstream<th>outcome<th class=\"n\">took</tr></thead><tbody>\n",
        dials.len()
    )?;
    for dial in dials {
        writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td class=\"n\">{}</tr>",
            ago(dial.seconds_ago),
            Escaped(&dial.upstream),
            Escaped(&dial.outcome),
            words::seconds(dial.took_seconds),
        )?;
    }
    page.write_str("</tbody></table></details>\n")
}

fn ago(seconds: f64) -> String {
    format!("{} ago", words::seconds(seconds))
}

const FORM: &str = "<form action=\"/explain\"><input name=\"client\" placeholder=\"client IP:PORT\" aria-label=\"client\"> \
    <button>explain</button></form>";
