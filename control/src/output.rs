//! Results for people ([`text`]) and for programs ([`json`]).

use std::io::{self, Write};

pub(crate) mod authority;
pub(crate) mod encryption;
pub(crate) mod json;
pub(crate) mod kube_proxy;
pub(crate) mod rivers;
pub(crate) mod text;

mod fields;

/// Writes to standard output; colours only where a terminal shows them. A reader
/// that has gone (`control plan | head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// `text` without control characters: what an API server sent must not steer the
/// terminal, nor begin a new line.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
