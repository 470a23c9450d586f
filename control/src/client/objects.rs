//! Objects of any kind, as JSON: read, listed, applied, deleted.
//!
//! The requests are made here rather than by kube's typed interface: it guesses plurals,
//! keeps the server's warnings to itself, and holds a whole list twice.

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE, WARNING};
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{RequestError, Server};
use crate::FIELD_MANAGER;
use crate::kind::Kind;
use crate::object::Key;
use crate::output::printable;

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Reply<T = Value> {
    pub(crate) body: T,
    /// Its warnings (RFC 9111 removed the header, Kubernetes keeps it), in its own words.
    pub(crate) warnings: Vec<String>,
}

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) metadata: PageMetadata,
    #[serde(default)]
    pub(super) items: Vec<Value>,
}

#[derive(Deserialize, Default)]
pub(super) struct PageMetadata {
    #[serde(default, rename = "continue")]
    pub(super) next: String,
}

impl Server {
    /// One object; None when it does not exist.
    pub(crate) async fn object(
        &self,
        key: &Key,
        kind: &Kind,
    ) -> Result<Option<Value>, RequestError> {
        let request = get(&path(key, &kind.plural));
        match self.exchange(format_args!("read {key}"), request).await {
            Ok(Reply { body, .. }) => Ok(Some(body)),
            Err(error) if error.missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects of the kind of `example`, in all namespaces or one, page by page. Only
    /// those that `keep` keeps are held.
    pub(crate) async fn list(
        &self,
        example: &Key,
        kind: &Kind,
        namespace: Option<&str>,
        mut keep: impl FnMut(&Key) -> bool,
    ) -> Result<Vec<(Key, Value)>, RequestError> {
        let collection = collection(&example.api_version, &kind.plural, namespace);
        let mut found = Vec::new();
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let page = format!("{collection}?limit={PAGE}&continue={}", encode(&next));
            let doing = format_args!("list {}s", example.kind);
            let Reply { body, .. } = self.exchange::<Page>(doing, get(&page)).await?;
            for mut item in body.items {
                let metadata = |field: &str| item["metadata"][field].as_str().map(str::to_owned);
                let Some(name) = metadata("name") else {
                    continue;
                };
                let key = Key {
                    namespace: metadata("namespace"),
                    name,
                    ..example.clone()
                };
                if keep(&key) {
                    // A list names them once for all its items.
                    item["apiVersion"] = json!(key.api_version);
                    item["kind"] = json!(key.kind);
                    found.push((key, item));
                }
            }
            next = body.metadata.next;
            if next.is_empty() {
                return Ok(found);
            }
        }
        Err(RequestError::new(&format!(
            "cannot list {}s: the API server has more than {}; is it one?",
            example.kind,
            MAX_PAGES * PAGE
        )))
    }

    /// Forced server-side apply, as CKE; a dry run changes nothing. Gives the object as it
    /// is then.
    pub(crate) async fn apply(
        &self,
        key: &Key,
        plural: &str,
        content: &Value,
        dry_run: bool,
    ) -> Result<Reply, RequestError> {
        let (doing, dry) = if dry_run {
            ("try to write", "&dryRun=All")
        } else {
            ("write", "")
        };
        let path = format!(
            "{}?fieldManager={FIELD_MANAGER}&force=true{dry}",
            path(key, plural)
        );
        let request = Request::patch(path)
            .header(CONTENT_TYPE, "application/apply-patch+yaml")
            .body(content.to_string().into_bytes());
        self.exchange(format_args!("{doing} {key}"), request).await
    }

    /// Deletes the object with this UID, and no other of the same name. Somebody else may
    /// have been faster.
    pub(crate) async fn delete(
        &self,
        key: &Key,
        plural: &str,
        uid: &str,
    ) -> Result<(), RequestError> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        });
        let request = Request::delete(path(key, plural))
            .header(CONTENT_TYPE, "application/json")
            .body(options.to_string().into_bytes());
        let doing = format!("delete {key}");
        match self.exchange::<Value>(doing, request).await {
            Err(error) if !error.missing => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates an object that must not exist yet, in the collection of its kind or in a
    /// `subresource` of the object that `key` names.
    pub(crate) async fn create(
        &self,
        key: &Key,
        plural: &str,
        subresource: Option<&str>,
        content: &Value,
    ) -> Result<Reply, RequestError> {
        let path = match subresource {
            Some(subresource) => format!("{}/{subresource}", path(key, plural)),
            None => collection(&key.api_version, plural, key.namespace.as_deref()),
        };
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .body(content.to_string().into_bytes());
        let doing = subresource.unwrap_or("create");
        self.exchange(format_args!("{doing} {key}"), request).await
    }

    /// Replaces an object, if it is still of the resourceVersion in `content`.
    pub(crate) async fn replace(
        &self,
        key: &Key,
        plural: &str,
        content: &Value,
    ) -> Result<Reply, RequestError> {
        let request = Request::put(path(key, plural))
            .header(CONTENT_TYPE, "application/json")
            .body(content.to_string().into_bytes());
        self.exchange(format_args!("replace {key}"), request).await
    }

    /// What kinds the server knows: two documents of aggregated discovery (KEP-3352).
    pub(crate) async fn discovery(&self) -> Result<[Value; 2], RequestError> {
        let ask = |path: &'static str| {
            let request = Request::get(path)
                .header(ACCEPT, AGGREGATED_DISCOVERY)
                .body(Vec::new());
            self.exchange(format!("ask for the API's kinds ({path})"), request)
        };
        let (core, groups) = tokio::join!(ask("/api"), ask("/apis"));
        Ok([core?.body, groups?.body])
    }

    /// Sends one request and reads its answer, within the deadline and a bound of memory.
    pub(crate) async fn exchange<T: for<'de> Deserialize<'de>>(
        &self,
        doing: impl std::fmt::Display,
        request: hyper::http::Result<Request<Vec<u8>>>,
    ) -> Result<Reply<T>, RequestError> {
        self.request(doing, async {
            let request = request.map_err(kube::Error::HttpError)?;
            let response = self.client.send(request.map(Body::from)).await?;
            let (head, body) = response.into_parts();
            let bytes = Limited::new(body, MAX_BODY)
                .collect()
                .await
                .map_err(kube::Error::Service)?
                .to_bytes();
            if !head.status.is_success() {
                return Err(kube::Error::Api(Box::new(status(
                    head.status.as_u16(),
                    &bytes,
                ))));
            }
            let warnings = head.headers.get_all(WARNING).iter();
            Ok(Reply {
                body: serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?,
                warnings: warnings
                    .take(MAX_WARNINGS)
                    .filter_map(|header| warning(header.to_str().ok()?))
                    .collect(),
            })
        })
        .await
    }
}

/// The server's own words, whether it says them as a Status or not.
pub(super) fn status(code: u16, bytes: &[u8]) -> kube::core::Status {
    serde_json::from_slice(bytes).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(bytes);
        let mut status = kube::core::Status::failure(text.trim(), "");
        status.code = code;
        status
    })
}

/// The text of `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let text = header.strip_prefix("299 ")?.split_once(' ')?.1;
    let text = text.trim().trim_matches('"').replace("\\\"", "\"");
    Some(printable(&text))
}

pub(super) fn get(path: &str) -> hyper::http::Result<Request<Vec<u8>>> {
    Request::get(path).body(Vec::new())
}

fn path(key: &Key, plural: &str) -> String {
    let collection = collection(&key.api_version, plural, key.namespace.as_deref());
    format!("{collection}/{}", encode(&key.name))
}

fn collection(api_version: &str, plural: &str, namespace: Option<&str>) -> String {
    let root = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    let api = api_version
        .split('/')
        .map(encode)
        .collect::<Vec<_>>()
        .join("/");
    match namespace {
        Some(namespace) => {
            let namespace = encode(namespace);
            format!("/{root}/{api}/namespaces/{namespace}/{}", encode(plural))
        }
        None => format!("/{root}/{api}/{}", encode(plural)),
    }
}

/// One segment of a path, or the value of a query: everything that could end it is
/// written as `%XX` (RFC 3986 §2.1).
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    // A segment of dots would be a way up.
    if encoded.bytes().all(|byte| byte == b'.') {
        encoded = encoded.replace('.', "%2E");
    }
    encoded
}

const AGGREGATED_DISCOVERY: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
/// A page of the largest objects that etcd takes (1.5 MiB) fits the bound of a body.
const PAGE: usize = 500;
/// More objects of a kind than any cluster has: a server that never ends its list must
/// not keep us.
const MAX_PAGES: usize = 1000;
/// Of one answer.
const MAX_BODY: usize = 1 << 30;
/// Of one answer; a server sends a few.
const MAX_WARNINGS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let key = Key::core("ConfigMap", "kube-system", "node-dns");
        assert_eq!(
            path(&key, "configmaps"),
            "/api/v1/namespaces/kube-system/configmaps/node-dns"
        );
        let role = Key {
            kind: "ClusterRole".to_owned(),
            api_version: "rbac.authorization.k8s.io/v1".to_owned(),
            namespace: None,
            name: "system:a".to_owned(),
        };
        assert_eq!(
            path(&role, "clusterroles"),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a"
        );
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for (name, encoded) in [
            ("../x", "..%2Fx"),
            ("..", "%2E%2E"),
            ("a?b=c#d", "a%3Fb%3Dc%23d"),
            ("a b%", "a%20b%25"),
        ] {
            assert_eq!(encode(name), encoded);
        }
    }

    #[test]
    fn a_warning_is_the_servers_own_words() {
        assert_eq!(
            warning("299 - \"v1 Endpoints is deprecated\""),
            Some("v1 Endpoints is deprecated".to_owned())
        );
        assert_eq!(warning("199 - \"x\""), None);
        assert_eq!(warning("299"), None);
    }

    #[test]
    fn an_error_that_is_no_status_keeps_code_and_text() {
        let status = status(502, b"Bad Gateway\n");
        assert_eq!((status.code, status.message.as_str()), (502, "Bad Gateway"));
    }
}
