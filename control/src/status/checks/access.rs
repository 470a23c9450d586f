//! Whether rights are as they ought to be: those that the API servers and CoreDNS need are
//! there, and one that nobody should have is not.

use serde_json::{Value, json};

use super::{Finding, Verdict};
use crate::client::Server;

pub(super) async fn check(server: &Server) -> Finding {
    let mut lacking = Vec::new();
    for question in &QUESTIONS {
        let allowed = match server.is_allowed(&question.spec()).await {
            Ok(allowed) => allowed,
            Err(error) => return (Verdict::Open, error.to_string()),
        };
        if allowed != question.allowed {
            lacking.push(question.what);
        }
    }
    if lacking.is_empty() {
        let detail = "the API servers, CoreDNS and nobody else have the rights that they need";
        return (Verdict::Good, detail.to_owned());
    }
    (Verdict::Bad, lacking.join("; "))
}

struct Question {
    user: &'static str,
    groups: &'static [&'static str],
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    allowed: bool,
    /// What is wrong when it is otherwise.
    what: &'static str,
}

impl Question {
    fn spec(&self) -> Value {
        json!({
            "user": self.user,
            "groups": self.groups,
            "resourceAttributes": {
                "verb": self.verb, "group": self.group, "resource": self.resource,
                "subresource": self.subresource,
            },
        })
    }
}

const QUESTIONS: [Question; 4] = [
    Question {
        user: "kubernetes",
        groups: &["system:authenticated"],
        verb: "get",
        group: "",
        resource: "nodes",
        subresource: "proxy",
        allowed: true,
        what: "the API servers (user `kubernetes`) may not reach kubelets: no logs, no exec",
    },
    Question {
        user: CLUSTER_DNS,
        groups: &["system:serviceaccounts", "system:authenticated"],
        verb: "list",
        group: "",
        resource: "services",
        subresource: "",
        allowed: true,
        what: "CoreDNS may not read Services",
    },
    Question {
        user: CLUSTER_DNS,
        groups: &["system:serviceaccounts", "system:authenticated"],
        verb: "list",
        group: "discovery.k8s.io",
        resource: "endpointslices",
        subresource: "",
        allowed: true,
        what: "CoreDNS may not read EndpointSlices",
    },
    Question {
        user: "system:anonymous",
        groups: &["system:unauthenticated"],
        verb: "list",
        group: "",
        resource: "secrets",
        subresource: "",
        allowed: false,
        what: "anybody may read Secrets: do the API servers run with --authorization-mode=Node,RBAC?",
    },
];
const CLUSTER_DNS: &str = "system:serviceaccount:kube-system:cke-cluster-dns";
