//! Name servers that can be paused: CoreDNS is one process, whereas NSD's children go on when it is
//! stopped.

use std::fs;

use tests::coredns::CoreDns;
use tests::place::Place;

/// CoreDNS on the place's address with this last byte, with one zone: the text of a zone file in which
/// `@` is its name.
pub(crate) async fn coredns(place: &Place, last: u8, zone: &str, text: &str) -> Option<CoreDns> {
    let address = place.socket_address(last, 5353);
    let file = place.folder().join(format!("{last}.{zone}zone"));
    fs::write(&file, format!("$ORIGIN {zone}\n$TTL 300\n{SOA}{text}\n")).unwrap();
    let corefile = format!(
        "{zone}:5353 {{\n bind {}\n file {} {zone}\n}}\n",
        address.ip(),
        file.display()
    );
    CoreDns::start(place, address, &corefile).await
}

/// What every zone here has; denials of it may be kept for 20 seconds.
pub(crate) const SOA: &str = "@ SOA ns host 1 3600 600 86400 20\n@ NS ns\nns A 192.0.2.1\n";
