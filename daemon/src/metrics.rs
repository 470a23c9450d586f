//! The one metrics recorder of a program, and its text for Prometheus.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::warn;

/// Renders all metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Installs the recorder behind the `metrics` macros. Only composition roots
    /// call it; a second call in the same process gives the first recorder.
    ///
    /// Every histogram is in seconds, with buckets from 100 µs to 10 s.
    ///
    /// # Panics
    /// Another recorder was installed before: a programming error.
    pub fn install() -> Self {
        static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = INSTALLED.get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
                .expect("the list of buckets is not empty")
                .install_recorder()
                .expect("no other recorder is installed in this process");
            keep_up(handle.clone());
            handle
        });
        Self(handle.clone())
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn render(&self) -> String {
        // What was recorded a moment ago is to be in it.
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Histograms keep every sample until somebody drains them, and there may be nobody who scrapes.
fn keep_up(handle: PrometheusHandle) {
    let drain = move || {
        loop {
            thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    };
    let spawned = thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(drain);
    if let Err(error) = spawned {
        warn!(%error, "metrics take ever more memory unless they are scraped");
    }
}

const UPKEEP: Duration = Duration::from_secs(5);

const BUCKETS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_histograms_are_rendered() {
        let handle = Metrics::install();
        metrics::counter!("daemon_test_total").increment(3);
        metrics::histogram!("daemon_test_seconds").record(0.002);
        let text = Metrics::install().render();
        assert!(text.contains("daemon_test_total 3"), "{text}");
        assert!(
            text.contains("daemon_test_seconds_bucket{le=\"0.0025\"} 1"),
            "{text}"
        );
        drop(handle);
    }
}
