//! CoreDNS' configuration: the cluster domain and reverse zones from the API,
//! everything else forwarded.

use std::fmt::Write;
use std::net::IpAddr;

/// The Corefile for `domain`. Without upstreams, names outside the cluster are
/// not forwarded, and addresses without a Service or pod do not exist.
pub(super) fn render(domain: &str, upstreams: &[IpAddr]) -> String {
    let mut text =
        String::from("# Written by control from cluster.yml; changes here are undone.\n");
    text.push_str(".:1053 {\n");
    // A pod that ends answers on while the nodes learn that it is gone.
    let health = "health {\n        lameduck 5s\n    }";
    for plugin in ["errors", "log", health, "ready", "reload", "loadbalance"] {
        let _ = writeln!(text, "    {plugin}");
    }
    text.push_str("    prometheus :9153\n    cache 30\n");
    let _ = writeln!(text, "    kubernetes {domain} in-addr.arpa ip6.arpa {{");
    text.push_str("        pods verified\n");
    if !upstreams.is_empty() {
        text.push_str("        fallthrough in-addr.arpa ip6.arpa\n");
    }
    text.push_str("    }\n");
    if !upstreams.is_empty() {
        text.push_str("    forward .");
        for upstream in upstreams {
            let _ = write!(text, " {upstream}");
        }
        text.push('\n');
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_upstreams_other_names_are_forwarded() {
        let upstreams = ["192.0.2.53", "2001:db8::53"].map(|text| text.parse().unwrap());
        insta::assert_snapshot!(render("cluster.local", &upstreams));
    }

    #[test]
    fn without_upstreams_nothing_is_forwarded() {
        insta::assert_snapshot!(render("k8s.example", &[]));
    }
}
