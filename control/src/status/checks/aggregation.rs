//! Whether API servers that stand behind the API servers answer.

use serde_json::Value;

use super::{Finding, Verdict, few};
use crate::client::Server;

pub(super) async fn check(server: &Server) -> Finding {
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    let services = match server.items("list APIServices", services).await {
        Ok(services) => services,
        Err(error) => return (Verdict::Open, error.to_string()),
    };
    found(&services)
}

/// What is told by the APIServices.
fn found(services: &[Value]) -> Finding {
    let aggregated: Vec<_> = services
        .iter()
        .filter(|service| service["spec"]["service"].is_object())
        .collect();
    let unavailable: Vec<String> = aggregated
        .iter()
        .filter_map(|service| {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            let why = unavailable(service)?;
            Some(format!("{name} ({why})"))
        })
        .collect();
    if aggregated.is_empty() {
        return (Verdict::Open, "nobody uses it".to_owned());
    }
    if unavailable.is_empty() {
        return (
            Verdict::Good,
            format!("{} APIServices answer", aggregated.len()),
        );
    }
    let names: Vec<&str> = unavailable.iter().map(String::as_str).collect();
    (Verdict::Bad, format!("no answer from {}", few(&names)))
}

/// Why it is not available.
fn unavailable(service: &Value) -> Option<String> {
    let conditions = service["status"]["conditions"].as_array();
    let available = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Available");
    match available {
        Some(condition) if condition["status"] == "True" => None,
        Some(condition) => Some(condition["message"].as_str().unwrap_or_default().to_owned()),
        None => Some("nobody has looked yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_those_that_stand_elsewhere_count() {
        let service = |name: &str, conditions: Value| {
            json!({
                "metadata": {"name": name},
                "spec": {"service": {"name": "a", "namespace": "b"}},
                "status": {"conditions": conditions},
            })
        };
        let own = json!({"metadata": {"name": "v1."}, "spec": {}});
        assert_eq!(found(std::slice::from_ref(&own)).0, Verdict::Open);
        let good = service("v1.a", json!([{"type": "Available", "status": "True"}]));
        assert_eq!(found(&[own, good.clone()]).0, Verdict::Good);
        let bad = json!([{"type": "Available", "status": "False", "message": "no endpoints"}]);
        assert_eq!(
            found(&[good, service("v1.b", bad), service("v1.c", json!(null))]),
            (
                Verdict::Bad,
                "no answer from v1.b (no endpoints), v1.c (nobody has looked yet)".to_owned()
            )
        );
    }
}
