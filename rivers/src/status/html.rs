//! The status as a page for people: one table of upstreams a listener, what happened lately below. No
//! script, nothing from elsewhere; whatever comes from outside is escaped.

use std::fmt::{self, Write as _};

use super::{Close, Dial, Listener, Status, Upstream, words};

/// The whole page.
pub(super) fn page(status: &Status) -> String {
    let mut page = String::with_capacity(16 * 1024);
    // A String takes whatever is written.
    let _ = write_page(&mut page, status);
    page
}

fn write_page(page: &mut String, status: &Status) -> fmt::Result {
    let (version, pid) = (Escaped(&status.version), status.pid);
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>rivers</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'\">\n\
         <style>{STYLE}</style></head><body>\n\
         <header><h1>rivers <small>{version}, process {pid}</small></h1>\n\
         <nav><a href=\"/status.json\">status.json</a> <a href=\"/metrics\">metrics</a> \
         <a href=\"/readyz\">readyz</a> <a href=\"/healthz\">healthz</a></nav>\n\
         <form action=\"/explain\"><input name=\"client\" placeholder=\"client IP:PORT\" aria-label=\"client\"> \
         <button>explain</button></form></header>\n"
    )?;
    if let Some(words) = words::silent(status.silent_workers) {
        writeln!(page, "<p class=\"warning\">{}</p>", Escaped(&words))?;
    }
    if status.listeners.is_empty() {
        writeln!(page, "<p>Nothing is listened to yet.</p>")?;
    }
    for listener in &status.listeners {
        write_listener(page, listener)?;
    }
    page.write_str("</body></html>\n")
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

/// Text that is text only, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}\
body{margin:0 auto;padding:1.5rem 2rem;max-width:75rem}\
header{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;align-items:baseline;border-bottom:1px solid #8884;padding-bottom:.75rem}\
header form{margin-left:auto}h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:1.75rem 0 .5rem}\
small{font-weight:400;color:#777;font-size:.85em}a{color:#1a66c9}nav a{margin-right:.5rem}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th{font-weight:500;color:#777;text-align:left;font-size:.85rem}\
th,td{padding:.3rem .9rem .3rem 0;border-bottom:1px solid #8883;vertical-align:top}\
.n{text-align:right}details{margin-top:1rem}summary{cursor:pointer;font-weight:500}\
details table{font-size:.9rem}\
.state{display:inline-block;padding:0 .6rem;border-radius:1rem;color:#fff;background:#777;font-size:.85rem;font-weight:500}\
.up{background:#1a7f37}.suspect{background:#b26a00}.draining{background:#6f42c1}.down{background:#c62828}\
.warning{background:#c62828;color:#fff;padding:.5rem 1rem;border-radius:.3rem}";
