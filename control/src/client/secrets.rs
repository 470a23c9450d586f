//! All Secrets written anew as they are, so that etcd has them as the API server encrypts now.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

use super::objects::Page;
use super::{RequestError, Server};
use crate::object::Key;

impl Server {
    /// Puts back each Secret that the API server does not hold as it would write it now; those
    /// which it does hold so it does not touch. Page by page, a page in memory at a time.
    pub(crate) async fn rewrite_secrets(&self) -> Result<(), RequestError> {
        let mut restarts = 0;
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let page = match self.secrets_page(&next).await {
                Ok(page) => page,
                // What has been put back costs only a read the second time.
                Err(error) if error.expired && restarts < MAX_RESTARTS => {
                    restarts += 1;
                    next.clear();
                    continue;
                }
                Err(error) => return Err(error),
            };
            stream::iter(page.items)
                .map(|secret| self.put_back(secret))
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(());
            }
        }
        Err(RequestError::new(
            "cannot write all Secrets anew: their list does not end",
        ))
    }

    async fn secrets_page(&self, next: &str) -> Result<Page, RequestError> {
        let next = super::encode(next);
        let request = super::objects::get(&format!("/api/v1/secrets?limit={PAGE}&continue={next}"));
        Ok(self.exchange("list Secrets", request).await?.body)
    }

    /// Whoever was faster has written it as the API server encrypts now, or removed it.
    async fn put_back(&self, mut secret: Value) -> Result<(), RequestError> {
        let metadata = |field: &str| secret["metadata"][field].as_str().unwrap_or_default();
        let key = Key::core("Secret", metadata("namespace"), metadata("name"));
        // A list names them once for all its items.
        secret["apiVersion"] = key.api_version.clone().into();
        secret["kind"] = key.kind.clone().into();
        match self.replace(&key, "secrets", &secret).await {
            Err(error) if !error.conflict && !error.missing => Err(error),
            _ => Ok(()),
        }
    }
}

/// Secrets; of the largest, 1 MiB each, a page still fits in memory.
const PAGE: usize = 100;
/// More than any cluster has: a server that never ends its list must not keep us.
const MAX_PAGES: usize = 100_000;
const MAX_RESTARTS: usize = 3;
/// Requests that are under way at the same time.
const AT_ONCE: usize = 8;
