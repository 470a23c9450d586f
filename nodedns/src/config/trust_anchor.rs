//! Files of trust anchors: DS and DNSKEY records as in a zone file, which is what
//! `unbound-anchor`, `dnssec-keygen` and `ldns-keygen` write.
//!
//! ```text
//! ; a comment
//! corp.example. 3600 IN DS 4711 13 2 ( 0123…
//!                                      cdef )
//! ```

use std::path::Path;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::BinEncodable as _;
use hickory_proto::serialize::txt::trust_anchor::{Entry, Parser};

use crate::anchors::{Anchor, Trusted};
use crate::config::Name;

/// Reads the anchors of the file at `path`; the error is a sentence.
pub(super) fn read(path: &Path) -> Result<Vec<Anchor>, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let anchors = parse(&text).map_err(|(line, what)| format!("{shown}:{line}: {what}"))?;
    if anchors.is_empty() {
        return Err(format!("{shown} has no DS and no DNSKEY record"));
    }
    Ok(anchors)
}

/// Reads the anchors in `text`; the error has the line's number.
fn parse(text: &str) -> Result<Vec<Anchor>, (usize, String)> {
    let mut anchors = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(';').next().unwrap_or("");
        let (first, mut entry) = open.take().unwrap_or((number, String::new()));
        entry.push_str(line);
        entry.push(' ');
        let is_open = entry.matches('(').count() > entry.matches(')').count();
        if is_open {
            open = Some((first, entry));
        } else if !entry.trim().is_empty() {
            anchors.push(record(&entry).map_err(|what| (first, what))?);
        }
    }
    match open {
        Some((first, _)) => Err((first, "a parenthesis is not closed".to_owned())),
        None => Ok(anchors),
    }
}

/// Reads `NAME [TTL] [IN] DS|DNSKEY DATA`, the TTL and class in either order.
fn record(entry: &str) -> Result<Anchor, String> {
    let entry = entry.replace(['(', ')'], " ");
    let mut words = entry.split_whitespace();
    let zone = Name::from_text(words.next().unwrap_or("")).map_err(|error| error.to_string())?;
    let is_ttl = |word: &str| word.starts_with(|letter: char| letter.is_ascii_digit());
    let kind = words
        .find(|word| !is_ttl(word) && !word.eq_ignore_ascii_case("IN"))
        .unwrap_or("");
    let data: Vec<&str> = words.collect();
    let trusted = match kind.to_ascii_uppercase().as_str() {
        "DS" => ds(&data.join(" ")),
        "DNSKEY" => key(&data.join(" ")),
        _ => {
            return Err(format!(
                "`{kind}` is not a trust anchor; write `ZONE IN DS …` or `ZONE IN DNSKEY …`"
            ));
        }
    };
    let trusted = trusted.map_err(|error| format!("{zone} {kind}: {error}"))?;
    Ok(Anchor { zone, trusted })
}

fn ds(data: &str) -> Result<Trusted, String> {
    match RData::try_from_str(RecordType::DS, data) {
        Ok(RData::DNSSEC(DNSSECRData::DS(ds))) => Ok(Trusted::Ds {
            tag: ds.key_tag(),
            algorithm: ds.algorithm().into(),
            digest_type: ds.digest_type().into(),
            digest: ds.digest().to_vec(),
        }),
        Ok(_) => Err("is no DS record".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn key(data: &str) -> Result<Trusted, String> {
    let parsed = Parser::new(format!(". IN DNSKEY {data}\n"))
        .parse()
        .map_err(|error| error.to_string())?;
    let Some(Entry::DNSKEY(record)) = parsed.first() else {
        return Err("is no DNSKEY record".to_owned());
    };
    let data = record
        .data()
        .to_bytes()
        .map_err(|error| error.to_string())?;
    Ok(Trusted::Key(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "2BB183AF5F22588179A53B0A98631FAD1A292118";

    #[test]
    fn ds_and_dnskey_are_read_in_all_their_spellings() {
        let text = format!(
            "; root\n. 172800 IN DS 60485 5 1 {DIGEST}\n\n\
             example. IN DS 60485 5 1 ( 2BB183AF5F22588179A53B0A ; first part\n 98631FAD1A292118 )\n\
             corp.example 300 DNSKEY 257 3 13 aGVsbG8= ;{{id = 1}}\n"
        );
        let anchors = parse(&text).unwrap();
        let zones: Vec<_> = anchors.iter().map(|one| one.zone.to_string()).collect();
        assert_eq!(zones, [".", "example.", "corp.example."]);
        assert_eq!(anchors[0].trusted, anchors[1].trusted);
        let Trusted::Ds { tag, digest, .. } = &anchors[0].trusted else {
            panic!("a DS")
        };
        assert_eq!((*tag, digest.len()), (60485, 20));
        let key = [&[1, 1, 3, 13][..], b"hello"].concat();
        assert_eq!(anchors[2].trusted, Trusted::Key(key));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, part) in [
            ("\nexample. IN A 192.0.2.1", 2, "`A` is not a trust anchor"),
            ("example.", 1, "is not a trust anchor"),
            (". IN DS 1 8 2 zz", 1, ". DS: "),
            (". IN DNSKEY 257 3 13", 1, ". DNSKEY: "),
            ("a..b IN DS 1 8 2 00", 1, "is not a domain name"),
            (". IN DS 1 8 2 ( 00\n", 1, "not closed"),
        ] {
            let (at, what) = parse(text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(what.contains(part), "{text}: {what}");
        }
    }
}
