//! The text of `/metrics`, read back. Pure.

use crate::status::Quantiles;

/// All series.
#[derive(Debug)]
pub(super) struct Scrape(Vec<Series>);

#[derive(Debug)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    /// Reads the text; lines that are no series are left out.
    pub(super) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(series).collect())
    }

    /// The sum of the series that have this name and at least these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.with(name, labels)
            .map(|series| series.value as u64)
            .sum()
    }

    /// Whether there is one.
    pub(super) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.with(name, labels).next().is_some()
    }

    /// The values that a label has, in order.
    pub(super) fn values(&self, name: &str, label: &str) -> Vec<String> {
        let values = self
            .with(name, &[])
            .filter_map(|series| series.label(label));
        let mut values: Vec<_> = values.map(str::to_owned).collect();
        values.sort();
        values.dedup();
        values
    }

    /// Bounds of a histogram in seconds below which so much of it lies; none when it is empty.
    pub(super) fn quantiles(&self, name: &str, labels: &[(&str, &str)]) -> Option<Quantiles> {
        let bucket = format!("{name}_bucket");
        let buckets = self.with(&bucket, labels);
        let buckets = buckets.filter_map(|series| {
            let bound: f64 = series.label("le")?.parse().ok()?;
            Some((bound, series.value))
        });
        let mut buckets: Vec<_> = buckets.collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all = buckets.last()?.1;
        if all == 0.0 {
            return None;
        }
        let most = buckets.iter().rev().find(|(bound, _)| bound.is_finite())?.0;
        let below = |share: f64| {
            let bucket = buckets.iter().find(|(_, count)| *count >= all * share);
            // What is above the last bound is above it.
            let bound = bucket.map_or(most, |(bound, _)| bound.min(most));
            (bound * 1e6) as u64
        };
        Some(Quantiles {
            p50: below(0.5),
            p90: below(0.9),
            p99: below(0.99),
        })
    }

    fn with<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Series> {
        self.0.iter().filter(move |series| {
            series.name == name
                && labels
                    .iter()
                    .all(|(label, value)| series.label(label) == Some(value))
        })
    }
}

impl Series {
    fn label(&self, label: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels
            .find(|(name, _)| name == label)
            .map(|(_, value)| value.as_str())
    }
}

/// `name{label="value",…} number`. No label of ours has a quote or a comma in it.
fn series(line: &str) -> Option<Series> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Series {
            name: series.to_owned(),
            labels: Vec::new(),
            value,
        });
    };
    let labels = labels.strip_suffix('}')?.split(',');
    let labels = labels.filter_map(|label| {
        let (label, value) = label.split_once("=\"")?;
        Some((label.to_owned(), value.strip_suffix('"')?.to_owned()))
    });
    Some(Series {
        name: name.to_owned(),
        labels: labels.collect(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "# HELP a all\n# TYPE a counter\na{x=\"1\",y=\"b c\"} 3\na{x=\"2\",y=\"b\"} 4\n\
        b 0.5\nh_bucket{le=\"0.001\"} 50\nh_bucket{le=\"0.01\"} 95\nh_bucket{le=\"0.1\"} 95\n\
        h_bucket{le=\"+Inf\"} 100\nh_sum 1\nh_count 100\n\nnonsense\n";

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let scrape = Scrape::read(TEXT);
        assert_eq!(scrape.sum("a", &[]), 7);
        assert_eq!(scrape.sum("a", &[("y", "b c")]), 3);
        assert_eq!(scrape.sum("a", &[("y", "c")]), 0);
        assert_eq!(scrape.values("a", "x"), ["1", "2"]);
        assert!(scrape.has("b", &[]) && !scrape.has("c", &[]));
    }

    #[test]
    fn quantiles_are_bounds() {
        let quantiles = Scrape::read(TEXT).quantiles("h", &[]).unwrap();
        assert_eq!(
            (quantiles.p50, quantiles.p90, quantiles.p99),
            (1_000, 10_000, 100_000)
        );
        let empty = "h_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(Scrape::read(empty).quantiles("h", &[]), None);
        assert_eq!(Scrape::read("").quantiles("h", &[]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z{}\"=, 0-9.\n+-]{0,200}") {
            let scrape = Scrape::read(&text);
            let _ = (scrape.sum("a", &[]), scrape.quantiles("a", &[]));
        }
    }
}
