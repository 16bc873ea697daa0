//! Definitions of metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prometheus::{Opts, Registry};

/// Upper bounds for the time of a request, in seconds: from a fraction of a hop on one machine to the longest timeouts.
pub const LATENCY_BUCKETS: [f64; 14] =
    [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds for the time of a step of the store, in seconds: from a lookup in a cache to a slow disk.
pub const STORE_BUCKETS: [f64; 12] =
    [0.000_001, 0.000_005, 0.000_025, 0.0001, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0];

/// Defines metrics in a registry. A metric with labels is given out as one counter for each value, so that no name of a
/// label is looked up when it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Definitions<'a> {
    registry: &'a Registry,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self { registry }
    }

    fn register<C: Collector + Clone + 'static>(self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// A counter.
    ///
    /// # Errors
    ///
    /// The name is taken, or not well formed; the same for all others.
    pub fn counter(self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    /// A gauge of whole numbers.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn gauge(self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    /// A gauge of seconds.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn seconds(self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(name, help)?)
    }

    /// A histogram of seconds.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn histogram(self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    /// Counters with one label, in the order of its values.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn counters(
        self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> Result<Vec<IntCounter>, prometheus::Error> {
        let counters = self.register(IntCounterVec::new(Opts::new(name, help), &[label])?)?;
        values.iter().map(|value| counters.get_metric_with_label_values(&[value])).collect()
    }

    /// Counters with two labels: a row for each value of the first one.
    pub fn counter_table(
        self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        rows: &[&str],
        columns: &[&str],
    ) -> Result<Vec<Vec<IntCounter>>, prometheus::Error> {
        let counters = self.register(IntCounterVec::new(Opts::new(name, help), &labels)?)?;
        let row =
            |row: &&str| columns.iter().map(|column| counters.get_metric_with_label_values(&[*row, *column])).collect();
        rows.iter().map(row).collect()
    }

    /// Gauges with one label, in the order of its values.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn gauges(
        self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> Result<Vec<IntGauge>, prometheus::Error> {
        let gauges = self.register(IntGaugeVec::new(Opts::new(name, help), &[label])?)?;
        values.iter().map(|value| gauges.get_metric_with_label_values(&[value])).collect()
    }

    /// Histograms of seconds with one label, in the order of its values.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn histograms(
        self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
        buckets: &[f64],
    ) -> Result<Vec<Histogram>, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histograms = self.register(HistogramVec::new(options, &[label])?)?;
        values.iter().map(|value| histograms.get_metric_with_label_values(&[value])).collect()
    }

    /// A gauge that is always 1, with labels that tell of the process.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn information(self, name: &str, help: &str, labels: &[&str]) -> Result<Information, prometheus::Error> {
        Ok(Information(self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)?))
    }

    /// A counter that follows a total.
    ///
    /// # Errors
    ///
    /// The name is taken, or is no name of Prometheus.
    pub fn followed(self, name: &str, help: &str) -> Result<Followed, prometheus::Error> {
        Ok(Followed { counter: self.counter(name, help)?, last: AtomicU64::new(0) })
    }
}

/// A gauge that is always 1, with labels that tell of the process.
#[derive(Debug)]
pub struct Information(IntGaugeVec);

impl Information {
    /// Shows these values of its labels, and no others.
    pub fn show(&self, values: &[&str]) {
        self.0.reset();
        if let Ok(gauge) = self.0.get_metric_with_label_values(values) {
            gauge.set(1);
        }
    }
}

/// A counter that follows a total which is counted elsewhere, and which may begin anew there.
#[derive(Debug)]
pub struct Followed {
    counter: IntCounter,
    last: AtomicU64,
}

impl Followed {
    /// The total is this now. One that is smaller than before has begun anew.
    pub fn follow(&self, total: u64) {
        let last = self.last.swap(total, Ordering::Relaxed);
        self.counter.inc_by(total.checked_sub(last).unwrap_or(total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followed_counter_never_falls() {
        let registry = Registry::new();
        let followed = Definitions::new(&registry).followed("a_total", "A.").unwrap();
        for (total, counted) in [(3, 3), (3, 3), (5, 5), (2, 7), (4, 9)] {
            followed.follow(total);
            assert_eq!(followed.counter.get(), counted);
        }
    }

    #[test]
    fn information_shows_the_last_values_only() {
        let registry = Registry::new();
        let information = Definitions::new(&registry).information("a_info", "A.", &["id"]).unwrap();
        information.show(&["r1"]);
        information.show(&["r2"]);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("a_info{id=\"r2\"} 1") && !text.contains("r1"), "{text}");
    }
}
