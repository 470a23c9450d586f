//! Questions of `control status` to the API server.

use hyper::Request;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::objects::{Page, encode, get};
use super::{RequestError, Server};

impl Server {
    /// Whether somebody may do something: the `spec` of a SubjectAccessReview, which is asked and
    /// not kept.
    pub(crate) async fn is_allowed(&self, spec: &Value) -> Result<bool, RequestError> {
        #[derive(Deserialize)]
        struct Review {
            status: Allowed,
        }
        #[derive(Deserialize)]
        struct Allowed {
            allowed: bool,
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
        });
        let request = Request::post("/apis/authorization.k8s.io/v1/subjectaccessreviews")
            .header(CONTENT_TYPE, "application/json")
            .body(review.to_string().into_bytes());
        let reply = self
            .exchange::<Review>("ask who may do what", request)
            .await?;
        Ok(reply.body.status.allowed)
    }

    /// All objects at this path, which may end with a query, page by page.
    pub(crate) async fn items(&self, doing: &str, path: &str) -> Result<Vec<Value>, RequestError> {
        let and = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let page = format!("{path}{and}limit={PAGE}&continue={}", encode(&next));
            let page = self.exchange::<Page>(doing, get(&page)).await?.body;
            items.extend(page.items);
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(items);
            }
        }
        Err(RequestError::new(&format!(
            "cannot {doing}: the list does not end"
        )))
    }

    /// What the kubelet of a Node runs on, through the API server.
    pub(crate) async fn kubelet_config(&self, node: &str) -> Result<Value, RequestError> {
        let path = format!("/api/v1/nodes/{}/proxy/configz", encode(node));
        let doing = format!("ask the kubelet of {node}");
        let asked = self.exchange(&doing, get(&path));
        match tokio::time::timeout(KUBELET, asked).await {
            Ok(reply) => Ok(reply?.body),
            Err(_) => Err(RequestError::new(&format!("cannot {doing}: no answer"))),
        }
    }
}

const PAGE: u32 = 500;
/// 100,000 objects.
const MAX_PAGES: u32 = 200;
/// One that cannot be reached must not keep `status` waiting.
pub(super) const KUBELET: std::time::Duration = std::time::Duration::from_secs(5);
