//! One connection's worth of news: a LIST of the EndpointSlices, then a WATCH from there until it ends.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    pin::Pin,
};

use anyhow::{anyhow, bail};
use futures_util::{Stream, TryStreamExt as _};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, Config,
    api::{ListParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::{config::address::Address, kube_client};

/// The slices as they are, and a watch on them.
pub(super) struct Session {
    slices: BTreeMap<String, EndpointSlice>,
    /// For errors.
    kubeconfig: PathBuf,
    events: Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<EndpointSlice>>> + Send>>,
}

impl Session {
    /// Lists the slices at one of `servers` with the credentials of `kubeconfig`, which is read anew, since
    /// credentials are renewed, and begins to watch them.
    pub(super) async fn begin(
        kubeconfig: &Path,
        servers: impl Fn() -> Vec<Address> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let client = connect(kubeconfig, servers).await?;
        let api = Api::<EndpointSlice>::namespaced(client, NAMESPACE);

        let explained = |error| explain(kubeconfig, &error);
        let list = api
            .list(&ListParams::default().labels(SELECTOR))
            .await
            .map_err(explained)?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let watch = WatchParams::default()
            .labels(SELECTOR)
            .timeout(rand::random_range(WATCH_SECONDS));
        let mut session = Self {
            slices: BTreeMap::new(),
            kubeconfig: kubeconfig.to_owned(),
            events: Box::pin(api.watch(&watch, &version).await.map_err(explained)?),
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
        loop {
            let event = self.events.try_next().await;
            let Some(event) = event.map_err(|error| explain(&self.kubeconfig, &error))? else {
                return Ok(false);
            };
            match event {
                WatchEvent::Added(slice) | WatchEvent::Modified(slice) => self.insert(slice)?,
                WatchEvent::Deleted(slice) => {
                    self.slices.remove(&name(&slice));
                }
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => {
                    bail!(
                        "the API server ends the watch: {} {}",
                        status.code,
                        shortened(&status.message)
                    )
                }
            }
            return Ok(true);
        }
    }

    fn insert(&mut self, slice: EndpointSlice) -> anyhow::Result<()> {
        self.slices.insert(name(&slice), slice);
        if self.slices.len() > MAX_SLICES {
            bail!("there are more than {MAX_SLICES} EndpointSlices labelled {SELECTOR}");
        }
        Ok(())
    }
}

/// A client with the credentials of this file. Errors are whole sentences without causes: a cause would
/// quote the file, which holds secrets.
async fn connect(
    kubeconfig: &Path,
    servers: impl Fn() -> Vec<Address> + Send + Sync + 'static,
) -> anyhow::Result<Client> {
    let unusable = |error: &dyn Error| {
        let why = kube_client::flat(error);
        anyhow!("kubeconfig {}: {why}", kubeconfig.display())
    };
    let parsed = match Kubeconfig::read_from(kubeconfig) {
        Ok(parsed) => parsed,
        Err(KubeconfigError::ReadConfig(error, _)) => return Err(unusable(&error)),
        Err(error) => return Err(unusable(&error)),
    };
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await;
    let config = config.map_err(|error| unusable(&error))?;
    kube_client::follow(config, servers, MAX_LENGTH).map_err(|error| unusable(&error))
}

/// What went wrong with a request, and the way out where there is one.
fn explain(kubeconfig: &Path, error: &kube::Error) -> anyhow::Error {
    let kubeconfig = kubeconfig.display();
    match error {
        kube::Error::Api(status) if status.code == 401 => anyhow!(
            "the API server does not accept the credentials in {kubeconfig} (401); have they expired, or are they another cluster's?"
        ),
        kube::Error::Api(status) if status.code == 403 => anyhow!(
            "the credentials in {kubeconfig} may not list and watch endpointslices.discovery.k8s.io in {NAMESPACE} (403)"
        ),
        kube::Error::Api(status) => {
            anyhow!(
                "the API server says {} {}",
                status.code,
                shortened(&status.message)
            )
        }
        kube::Error::Service(cause) => anyhow!(kube_client::flat(cause.as_ref())),
        other => anyhow!(kube_client::flat(other)),
    }
}

/// The server's own words are as long as it likes.
fn shortened(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
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
/// Characters of the server's own words in an error.
const MAX_WORDS: usize = 300;
