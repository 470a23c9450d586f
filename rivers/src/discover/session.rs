//! One connection's worth of news: a LIST of the EndpointSlices, then a WATCH from there until it ends.

use std::{collections::BTreeMap, path::Path, pin::Pin};

use anyhow::{Context as _, bail};
use futures_util::{Stream, TryStreamExt as _};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Config,
    api::{ListParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{config::address::Address, kube_client};

/// The slices as they are, and a watch on them.
pub(super) struct Session {
    slices: BTreeMap<String, EndpointSlice>,
    events: Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<EndpointSlice>>> + Send>>,
}

impl Session {
    /// Lists the slices at one of `servers` with the credentials of `kubeconfig`, which is read anew, since
    /// credentials are renewed, and begins to watch them.
    pub(super) async fn begin(
        kubeconfig: &Path,
        servers: impl Fn() -> Vec<Address> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let at = || format!("kubeconfig {}", kubeconfig.display());
        let parsed = Kubeconfig::read_from(kubeconfig).with_context(at)?;
        let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
            .await
            .with_context(at)?;
        let client = kube_client::follow(config, servers, MAX_LENGTH).with_context(at)?;
        let api = Api::<EndpointSlice>::namespaced(client, NAMESPACE);

        let list = api.list(&ListParams::default().labels(SELECTOR)).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let watch = WatchParams::default()
            .labels(SELECTOR)
            .timeout(rand::random_range(WATCH_SECONDS));
        let mut session = Self {
            slices: BTreeMap::new(),
            events: Box::pin(api.watch(&watch, &version).await?),
        };
        for slice in list.items {
            session.insert(slice)?;
        }
        Ok(session)
    }

    /// The slices as they are.
    pub(super) fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.slices.values()
    }

    /// Waits for a change; `false`: the API server has ended the watch, as it does with every one.
    pub(super) async fn next(&mut self) -> anyhow::Result<bool> {
        while let Some(event) = self.events.try_next().await? {
            match event {
                WatchEvent::Added(slice) | WatchEvent::Modified(slice) => self.insert(slice)?,
                WatchEvent::Deleted(slice) => {
                    self.slices.remove(&name(&slice));
                }
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => bail!("the API server ends the watch: {status}"),
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn insert(&mut self, slice: EndpointSlice) -> anyhow::Result<()> {
        self.slices.insert(name(&slice), slice);
        if self.slices.len() > MAX_SLICES {
            bail!("there are more than {MAX_SLICES} EndpointSlices labelled {SELECTOR}");
        }
        Ok(())
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

const NAMESPACE: &str = "default";
const SELECTOR: &str = "kubernetes.io/service-name=kubernetes";
/// The longest that a watch lasts; the list after it is read with renewed credentials. Not the same for
/// all nodes, so that they do not come all at once.
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 200..=290;
/// One for each family is usual, and a reconciler under way may have some more.
const MAX_SLICES: usize = 16;
/// Of the list, and of each event, in bytes. A slice has at most 1,000 endpoints.
const MAX_LENGTH: usize = 4 << 20;
