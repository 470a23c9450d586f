//! unbound.conf as it is written: clauses, and options with their values. Pure.

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) clause: Clause,
    /// Without its colon.
    pub(super) key: &'a str,
    /// Without quotes.
    pub(super) values: Vec<&'a str>,
}

/// What an option is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    Server,
    /// Each with the number of the line on which it begins.
    Forward(usize),
    Stub(usize),
    /// Something that nodedns has no counterpart of.
    Other,
}

/// A line that is neither empty nor a clause nor an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: `{text}` is no option of unbound.conf; one is written `name: value`")]
pub struct NoOption {
    number: usize,
    text: String,
}

/// The options of `text`, in order. Options before the first clause count as the server's.
pub(super) fn read(text: &str) -> Result<Vec<Line<'_>>, NoOption> {
    let mut lines = Vec::new();
    let mut clause = Clause::Server;
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = || NoOption {
            number,
            text: line.trim().chars().take(MAX_SHOWN).collect(),
        };
        let words = words(line).ok_or_else(wrong)?;
        let Some((first, values)) = words.split_first() else {
            continue;
        };
        let key = first.strip_suffix(':').ok_or_else(wrong)?;
        if values.is_empty() {
            clause = match key {
                "server" => Clause::Server,
                "forward-zone" => Clause::Forward(number),
                "stub-zone" => Clause::Stub(number),
                _ => Clause::Other,
            };
            continue;
        }
        lines.push(Line {
            number,
            clause,
            key,
            values: values.to_vec(),
        });
    }
    Ok(lines)
}

/// The words of a line up to its comment; `None` when a quote does not end.
fn words(line: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let after = match first {
            '#' => break,
            '"' | '\'' => {
                let (word, after) = rest[1..].split_once(first)?;
                words.push(word);
                after
            }
            _ => {
                // `name:value` is two words, as `name: value` is; addresses have colons as well.
                let is_key = words.is_empty();
                let end = rest.find(|c: char| c.is_whitespace() || c == '"' || c == '#');
                let end = end.unwrap_or(rest.len());
                let end = match rest.find(':') {
                    Some(colon) if is_key && colon < end => colon + 1,
                    _ => end,
                };
                // A comment is one after a blank only: `192.0.2.1@853#dns.example`.
                let end = if rest[end..].starts_with('#') && !is_key {
                    rest.find(char::is_whitespace).unwrap_or(rest.len())
                } else {
                    end.max(first.len_utf8())
                };
                let (word, after) = rest.split_at(end);
                words.push(word);
                after
            }
        };
        rest = after.trim_start();
    }
    Some(words)
}

const MAX_SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clauses_options_quotes_and_comments_are_told_apart() {
        let text = "# all of it\nserver:\n  interface: 0.0.0.0 # here\n  local-zone: \"a.b.\" static\n\
            forward-zone:\n name: '.'\n  forward-addr: 2001:db8::1@853#dns.example\nremote-control:\n x:y\n";
        let lines = read(text).unwrap();
        let shown: Vec<_> = lines
            .iter()
            .map(|line| (line.number, line.clause, line.key, line.values.join("|")))
            .collect();
        let expected = [
            (3, Clause::Server, "interface", "0.0.0.0"),
            (4, Clause::Server, "local-zone", "a.b.|static"),
            (6, Clause::Forward(5), "name", "."),
            (
                7,
                Clause::Forward(5),
                "forward-addr",
                "2001:db8::1@853#dns.example",
            ),
            (9, Clause::Other, "x", "y"),
        ];
        let expected =
            expected.map(|(number, clause, key, values)| (number, clause, key, values.to_owned()));
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_no_option_is_named_with_its_line() {
        for text in [
            "server:\nverbosity 1\n",
            "server:\nlogfile: \"x\n",
            "server:\n{\n",
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("line 2: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z:#\"' \n.@ü0-9-]{0,200}") {
            if let Ok(lines) = read(&text) {
                prop_assert!(lines.iter().all(|line| !line.values.is_empty()));
            }
        }
    }
}
