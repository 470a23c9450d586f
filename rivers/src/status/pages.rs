//! The pages of the admin endpoint: `/` for people, `/status.json` and `/explain` for programs.

use std::{net::SocketAddr, str::Utf8Error};

use daemon::admin::{Page, Reply};
use serde::Serialize;

use super::{Gather, html};
use crate::recent::KEPT;

/// The pages, which ask anew each time.
pub(crate) fn pages(gather: &Gather) -> Vec<Page> {
    let [people, programs, explain] = [gather; 3].map(Clone::clone);
    vec![
        Page::new("/", "the status, for people", move |_| {
            let gather = people.clone();
            async move { Reply::html(html::page(&gather.status().await)) }
        }),
        Page::new("/status.json", "the status, for programs", move |_| {
            let gather = programs.clone();
            async move { json(&gather.status().await) }
        }),
        Page::new(
            "/explain",
            "why the connection of `?client=IP:PORT` is where it is",
            move |query| {
                let gather = explain.clone();
                async move { answer(&gather, &query).await }
            },
        ),
    ]
}

async fn answer(gather: &Gather, query: &str) -> Reply {
    let Some(client) = client(query) else {
        return Reply::not_found(
            "ask for the address of a client, as in /explain?client=127.0.0.1:45678",
        );
    };
    let explanation = gather.explain(client).await;
    if !explanation.connections.is_empty() {
        return json(&explanation);
    }
    let silent = super::words::silent(explanation.silent_workers);
    let silent = silent.map(|words| format!(" ({words})"));
    Reply::not_found(&format!(
        "no connection of {client} is here, nor among the last {KEPT} that have ended on each listener and worker; `ss -tn` lists the addresses of those that live{}",
        silent.unwrap_or_default()
    ))
}

/// The value of `client`.
fn client(query: &str) -> Option<SocketAddr> {
    let mut pairs = query.split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix("client="))?;
    decoded(value).ok()?.trim().parse().ok()
}

/// Text without its percent signs (RFC 3986 §2.1), as browsers put an address into a query.
fn decoded(text: &str) -> Result<String, Utf8Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.first_chunk().map(|pair: &[u8; 2]| pair.as_slice());
        let digits = digits.and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::str::from_utf8(&bytes).map(str::to_owned)
}

fn json(value: &impl Serialize) -> Reply {
    // The model has only keys that are text, and no numbers that JSON lacks.
    Reply::json(serde_json::to_string_pretty(value).unwrap_or_default() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_as_people_and_as_browsers_write_it() {
        for (query, wanted) in [
            ("client=127.0.0.1:45678", Some("127.0.0.1:45678")),
            ("client=127.0.0.1%3A45678", Some("127.0.0.1:45678")),
            ("x=1&client=[::1]:5", Some("[::1]:5")),
            ("client=%5B::1%5d%3a5", Some("[::1]:5")),
            ("client=127.0.0.1", None),
            ("client=%", None),
            ("client=%f", None),
            ("client=%ff%fe", None),
            ("client=%zz", None),
            ("client=%+1", None),
            ("", None),
        ] {
            let wanted = wanted.map(|text| text.parse().unwrap());
            assert_eq!(client(query), wanted, "{query}");
        }
    }
}
