//! Aliases across zones: secure, insecure and bogus ones in every order. The whole is worth what its
//! worst link is (RFC 4035 §3.2.3, RFC 6840 §5.10).

use tests::dns::RecordType::{A, MX};
use tests::signed::Denial;

use super::case::{Case, INSECURE, INSECURE_NX, SECURE, SECURE_NX, bogus};
use super::hierarchy::{APEX, Hierarchy, unsigned};

/// Puts the zones into the tree: one signed, one not, with the same names.
pub(crate) fn zones(tree: &mut Hierarchy) {
    tree.signed(
        "s.tld.",
        &format!("{APEX}{TEXT}"),
        "ECDSAP256SHA256",
        Denial::Nsec,
    );
    tree.delegated("i.tld.", &[], &unsigned("i.tld.", TEXT));
}

/// What they are asked. `s`ecure, `i`nsecure, `b`ogus: the zones on the way.
pub(crate) fn cases() -> Vec<Case> {
    let rows = [
        ("to-s.s.tld.", A, SECURE),
        ("to-i.s.tld.", A, INSECURE),
        ("to-b.s.tld.", A, bogus(10)),
        ("to-s.i.tld.", A, INSECURE),
        ("to-i.i.tld.", A, INSECURE),
        ("to-b.i.tld.", A, bogus(10)),
        ("to-s-s.s.tld.", A, SECURE),
        ("to-s-i.s.tld.", A, INSECURE),
        ("to-s-b.s.tld.", A, bogus(10)),
        ("to-i-s.s.tld.", A, INSECURE),
        ("to-i-i.s.tld.", A, INSECURE),
        ("to-i-b.s.tld.", A, bogus(10)),
        ("to-s-s.i.tld.", A, INSECURE),
        ("to-s-i.i.tld.", A, INSECURE),
        ("to-s-b.i.tld.", A, bogus(10)),
        ("to-i-b.i.tld.", A, bogus(10)),
        // The alias in the middle is what is wrong; where it leads is right.
        ("to-b-s.s.tld.", A, bogus(10)),
        ("to-b-s.i.tld.", A, bogus(10)),
        ("alias.faults.tld.", A, bogus(10)),
        ("to-s-b-s.s.tld.", A, bogus(10)),
        ("to-i-b-s.s.tld.", A, bogus(10)),
        ("to-s.s.tld.", MX, SECURE),
        ("to-s.i.tld.", MX, INSECURE),
        ("nx-s.s.tld.", A, SECURE_NX),
        ("nx-i.s.tld.", A, INSECURE_NX),
        ("nx-s.i.tld.", A, INSECURE_NX),
        ("no-b.s.tld.", MX, bogus(10)),
        ("nx-b.s.tld.", A, bogus(10)),
        ("nx-b.i.tld.", A, bogus(10)),
        ("www.dn-s.s.tld.", A, SECURE),
        ("nx.dn-s.s.tld.", A, SECURE_NX),
        ("www.dn-i.s.tld.", A, INSECURE),
        ("missing.dn-b.s.tld.", A, bogus(10)),
        ("www.dn-s.i.tld.", A, INSECURE),
        ("missing.dn-b.i.tld.", A, bogus(10)),
        ("x.wild-s.s.tld.", A, SECURE),
        ("x.wild-i.s.tld.", A, INSECURE),
        ("x.wild-b.s.tld.", A, bogus(10)),
    ];
    rows.into_iter()
        .map(|(name, kind, expected)| Case::new(name, kind, expected, "4035 3.2.3"))
        .collect()
}

const TEXT: &str = "www A 192.0.2.1
to-s CNAME www.a13.tld.
to-i CNAME www.plain.tld.
to-b CNAME missing.faults.tld.
to-s-s CNAME alias.a8.tld.
to-s-i CNAME to-i.s.tld.
to-s-b CNAME to-b.s.tld.
to-i-s CNAME to-s.i.tld.
to-i-i CNAME to-i.i.tld.
to-i-b CNAME to-b.i.tld.
to-b-s CNAME alias.faults.tld.
to-s-b-s CNAME to-b-s.s.tld.
to-i-b-s CNAME to-b-s.i.tld.
nx-s CNAME nx.a13.tld.
nx-i CNAME nx.plain.tld.
nx-b CNAME nx.h-unsigned.tld.
no-b CNAME www.d-unsigned.tld.
dn-s DNAME a13.tld.
dn-i DNAME plain.tld.
dn-b DNAME faults.tld.
*.wild-s CNAME www.a13.tld.
*.wild-i CNAME www.plain.tld.
*.wild-b CNAME missing.faults.tld.
";
