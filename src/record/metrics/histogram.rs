//! A histogram without a lock: prometheus-client's own takes one for each value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Where values are sorted in.
#[derive(Debug)]
pub(super) struct Scale {
    /// One unit of the sum: fine enough for the values, coarse enough that the sum never overflows.
    unit: Duration,
    /// Upper bounds in microseconds, inclusive, ascending.
    bounds: &'static [u64],
}

/// 10 µs to 100 ms.
pub(super) static ADDED_LATENCY: Scale = Scale {
    unit: Duration::from_nanos(1),
    bounds: &[10, 20, 35, 50, 75, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000],
};

/// 10 ms to 10 min.
pub(super) static TTFT: Scale = Scale {
    unit: Duration::from_micros(1),
    bounds: &[
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        120_000_000,
        300_000_000,
        600_000_000,
    ],
};

/// Durations by size. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Histogram(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    scale: &'static Scale,
    /// One for each bound, and one for what is above the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn new(scale: &'static Scale) -> Self {
        let buckets = (0..=scale.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Counts { scale, buckets, sum: AtomicU64::new(0) }))
    }

    pub(super) fn observe(&self, value: Duration) {
        let Counts { scale, buckets, sum } = &*self.0;
        let place = scale.bounds.partition_point(|bound| Duration::from_micros(*bound) < value);
        buckets[place].fetch_add(1, Ordering::Relaxed);
        let units = value.as_nanos() / scale.unit.as_nanos();
        sum.fetch_add(u64::try_from(units).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Counts { scale, buckets, sum } = &*self.0;
        let seconds = scale.bounds.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64()).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = seconds.zip(buckets.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        // Whole seconds first: the product of a large sum and its unit fits in no 64 bits.
        let per_second = 1_000_000_000 / u64::from(scale.unit.subsec_nanos());
        let sum = sum.load(Ordering::Relaxed);
        let sum = Duration::from_secs(sum / per_second) + scale.unit * u32::try_from(sum % per_second).unwrap_or_default();
        encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}
