//! Where servers of the root are: where recursion begins (RFC 8109).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The servers of the world's root, a to m
/// (<https://www.internic.net/domain/named.root>).
pub(super) fn built_in() -> Vec<IpAddr> {
    let v4 = V4.map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = V6.map(|words| Ipv6Addr::from(words).into());
    v4.into_iter().chain(v6).collect()
}

/// The addresses in the zone file at `path`; the error is a sentence.
pub(super) fn read(path: &Path) -> Result<Vec<IpAddr>, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let addresses = parse(&text).map_err(|(line, what)| format!("{shown}:{line}: {what}"))?;
    if addresses.is_empty() {
        return Err(format!(
            "{shown} has no A and no AAAA record: where is the root?"
        ));
    }
    Ok(addresses)
}

/// Reads the A and AAAA records in `text`, a line each; the names do not matter,
/// and NS records say nothing more. The error has the line's number.
fn parse(text: &str) -> Result<Vec<IpAddr>, (usize, String)> {
    let mut addresses = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(';').next().unwrap_or("");
        let words: Vec<&str> = line.split_whitespace().collect();
        let [.., kind, data] = words[..] else {
            continue;
        };
        let wrong = || (number, format!("`{data}` is no address of type {kind}"));
        match kind.to_ascii_uppercase().as_str() {
            "A" => {
                let address: Ipv4Addr = data.parse().map_err(|_| wrong())?;
                addresses.push(address.into());
            }
            "AAAA" => {
                let address: Ipv6Addr = data.parse().map_err(|_| wrong())?;
                addresses.push(address.into());
            }
            "NS" => {}
            _ => {
                let message = format!("`{kind}` is not of use here; write NS, A and AAAA records");
                return Err((number, message));
            }
        }
    }
    Ok(addresses)
}

const V4: [[u8; 4]; 13] = [
    [198, 41, 0, 4],
    [170, 247, 170, 2],
    [192, 33, 4, 12],
    [199, 7, 91, 13],
    [192, 203, 230, 10],
    [192, 5, 5, 241],
    [192, 112, 36, 4],
    [198, 97, 190, 53],
    [192, 36, 148, 17],
    [192, 58, 128, 30],
    [193, 0, 14, 129],
    [199, 7, 83, 42],
    [202, 12, 27, 33],
];
const V6: [[u16; 8]; 13] = [
    [0x2001, 0x503, 0xba3e, 0, 0, 0, 0x2, 0x30],
    [0x2801, 0x1b8, 0x10, 0, 0, 0, 0, 0xb],
    [0x2001, 0x500, 0x2, 0, 0, 0, 0, 0xc],
    [0x2001, 0x500, 0x2d, 0, 0, 0, 0, 0xd],
    [0x2001, 0x500, 0xa8, 0, 0, 0, 0, 0xe],
    [0x2001, 0x500, 0x2f, 0, 0, 0, 0, 0xf],
    [0x2001, 0x500, 0x12, 0, 0, 0, 0, 0xd0d],
    [0x2001, 0x500, 0x1, 0, 0, 0, 0, 0x53],
    [0x2001, 0x7fe, 0, 0, 0, 0, 0, 0x53],
    [0x2001, 0x503, 0xc27, 0, 0, 0, 0x2, 0x30],
    [0x2001, 0x7fd, 0, 0, 0, 0, 0, 0x1],
    [0x2001, 0x500, 0x9f, 0, 0, 0, 0, 0x42],
    [0x2001, 0xdc3, 0, 0, 0, 0, 0, 0x35],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_world_is_read() {
        let text = "; formerly NS.INTERNIC.NET\n.  3600000  NS  A.ROOT-SERVERS.NET.\n\
            A.ROOT-SERVERS.NET. 3600000 A 198.41.0.4\n\
            a.root-servers.net. 3600000 IN AAAA 2001:503:ba3e::2:30 ; both\n";
        let addresses = parse(text).unwrap();
        assert_eq!(addresses, [built_in()[0], built_in()[13]]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, part) in [
            ("\nns. A 192.0.2", 2, "is no address of type A"),
            ("ns. AAAA 192.0.2.1", 1, "is no address of type AAAA"),
            ("ns. CNAME a.", 1, "write NS, A and AAAA"),
        ] {
            let (number, message) = parse(text).unwrap_err();
            assert_eq!(number, line);
            assert!(message.contains(part), "{message}");
        }
    }
}
