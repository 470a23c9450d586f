//! Everything that a zone can be asked, for zones that are as they should be: each algorithm, each
//! way of denial.

use tests::dns::RecordType::{self, A, AAAA, DNAME, DNSKEY, DS, MX, SOA};
use tests::signed::Denial;

use super::case::{Case, Expected, INSECURE, SECURE, SECURE_NX};
use super::hierarchy::{APEX, Hierarchy, unsigned};

/// Puts the zones into the tree.
pub(crate) fn zones(tree: &mut Hierarchy) {
    let text = format!("{APEX}{TEXT}");
    for (name, algorithm, denial) in ZONES {
        let zone = format!("{name}.tld.");
        tree.signed(&zone, &text, algorithm, denial);
        let sub = format!("sub.{zone}");
        tree.serve(&sub, &unsigned(&sub, "www A 192.0.2.7"));
    }
}

/// What they are asked. With `sha1`, algorithms 5 and 7 count.
pub(crate) fn cases(sha1: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, algorithm, denial) in ZONES {
        let is_sha1 = matches!(algorithm, "RSASHA1" | "NSEC3RSASHA1");
        for (prefix, kind, expected, rfc, proof) in QUESTIONS {
            let mut expected = expected;
            match denial {
                // The proof is not secure, or too dear.
                Denial::Nsec3 { opt_out: true, .. }
                    if proof == Proof::Span || proof == Proof::Cut =>
                {
                    expected = expected.unvalidated();
                }
                Denial::Nsec3 { iterations, .. } if iterations > 50 && proof != Proof::None => {
                    expected = expected.unvalidated().with_error(27);
                }
                _ => {}
            }
            let own_ds = prefix.is_empty() && kind == DS;
            if is_sha1 && !sha1 && !own_ds {
                expected = expected.unvalidated().with_error(1);
            }
            let rfc = if is_sha1 && !sha1 { "9905 3" } else { rfc };
            cases.push(Case::new(
                format!("{prefix}{name}.tld."),
                kind,
                expected,
                rfc,
            ));
        }
    }
    cases
}

/// What an answer needs beside the signature over itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Nothing.
    None,
    /// The record of a name that exists.
    Name,
    /// A record that spans names which do not.
    Span,
    /// That a delegation has no DS.
    Cut,
}

const ZONES: [(&str, &str, Denial); 12] = [
    ("a8", "RSASHA256", Denial::Nsec),
    ("a10", "RSASHA512", Denial::Nsec),
    ("a13", "ECDSAP256SHA256", Denial::Nsec),
    ("a14", "ECDSAP384SHA384", Denial::Nsec),
    ("a15", "ED25519", Denial::Nsec),
    ("n3", "ECDSAP256SHA256", nsec3(0, "-", false)),
    ("salt", "ECDSAP256SHA256", nsec3(10, "aabbccdd", false)),
    ("out", "ECDSAP256SHA256", nsec3(0, "-", true)),
    ("most", "ECDSAP256SHA256", nsec3(50, "ab", false)),
    ("many", "ECDSAP256SHA256", nsec3(200, "-", false)),
    ("a5", "RSASHA1", Denial::Nsec),
    ("a7", "NSEC3RSASHA1", nsec3(1, "ab", false)),
];

const fn nsec3(iterations: u16, salt: &'static str, opt_out: bool) -> Denial {
    Denial::Nsec3 {
        iterations,
        salt,
        opt_out,
    }
}

/// Beside the apex.
const TEXT: &str = "www A 192.0.2.1
www A 192.0.2.2
www AAAA 2001:db8::1
a.b.ent A 192.0.2.3
*.w A 192.0.2.4
*.x.deep A 192.0.2.5
alias CNAME www
alias2 CNAME alias
nowhere CNAME none
*.wc CNAME www
dn DNAME to
www.to A 192.0.2.6
sub NS ns.sub
ns.sub A 192.0.2.53
";

/// The name in front of the zone's, the type, the answer of a zone that is signed with NSEC or NSEC3.
const QUESTIONS: [(&str, RecordType, Expected, &str, Proof); 27] = [
    ("", SOA, SECURE, "4035 5.3", Proof::None),
    ("", DNSKEY, SECURE, "4035 5.3", Proof::None),
    ("", DS, SECURE, "4035 3.1.4.1", Proof::None),
    ("", MX, SECURE, "4035 5.4", Proof::Name),
    ("www.", A, SECURE, "4035 5.3", Proof::None),
    ("WWW.", AAAA, SECURE, "4034 6.2", Proof::None),
    ("www.", MX, SECURE, "4035 5.4", Proof::Name),
    ("www.", DS, SECURE, "4035 3.1.4.1", Proof::Name),
    ("nx.", A, SECURE_NX, "4035 5.4", Proof::Span),
    ("a.a.a.nx.", A, SECURE_NX, "4035 5.4", Proof::Span),
    ("nx.", DS, SECURE_NX, "4035 5.4", Proof::Span),
    ("ent.", A, SECURE, "4592 2.2.2", Proof::Name),
    ("b.ent.", A, SECURE, "4592 2.2.2", Proof::Name),
    ("x.w.", A, SECURE, "4035 5.3.4", Proof::Span),
    ("x.y.z.w.", A, SECURE, "4592 2.1.1", Proof::Span),
    ("a.x.deep.", A, SECURE, "4035 5.3.4", Proof::Span),
    ("x.w.", MX, SECURE, "4035 5.4", Proof::Span),
    ("*.w.", A, SECURE, "4592 2.1.1", Proof::None),
    ("alias.", A, SECURE, "4035 3.2.3", Proof::None),
    ("alias2.", MX, SECURE, "6840 5.6", Proof::Name),
    ("nowhere.", A, SECURE_NX, "6604 3", Proof::Span),
    ("x.wc.", A, SECURE, "4035 5.3.4", Proof::Span),
    ("www.dn.", A, SECURE, "6672 5.3.2", Proof::None),
    ("nx.dn.", A, SECURE_NX, "6672 5.3.4", Proof::Span),
    ("dn.", DNAME, SECURE, "6672 5.3", Proof::None),
    ("sub.", DS, SECURE, "4035 3.1.4.1", Proof::Cut),
    ("www.sub.", A, INSECURE, "4035 5.2", Proof::Cut),
];
