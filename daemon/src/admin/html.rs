//! What the pages for people have in common: their head, their looks, and that whatever comes from
//! outside is text. No script, nothing from elsewhere.

use std::fmt::{self, Write as _};

/// Begins a page about a program: up to the end of its header, into which `form` goes as it is.
///
/// # Errors
/// Those of `page`.
pub fn begin(page: &mut String, program: &str, version: &str, pid: u32, form: &str) -> fmt::Result {
    let (program, version) = (Escaped(program), Escaped(version));
    writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{program}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'\">\n\
         <style>{STYLE}</style></head><body>\n\
         <header><h1>{program} <small>{version}, process {pid}</small></h1>\n\
         <nav><a href=\"/status.json\">status.json</a> <a href=\"/metrics\">metrics</a> \
         <a href=\"/readyz\">readyz</a> <a href=\"/healthz\">healthz</a></nav>\n{form}</header>"
    )
}

/// Ends it.
///
/// # Errors
/// Those of `page`.
pub fn end(page: &mut String) -> fmt::Result {
    page.write_str("</body></html>\n")
}

/// Text that is text only, in elements and in quoted attributes.
#[derive(Debug)]
pub struct Escaped<'a>(pub &'a str);

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
