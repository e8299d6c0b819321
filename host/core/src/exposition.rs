//! The text format of Prometheus, version 0.0.4. Scrapers, Istio's merging of metrics and the components' own
//! metrics all support this version.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::{
    collections::HashSet,
    fmt::{Display, Write as _},
};

use super::component_metrics::{self, InvalidMetrics};

/// Builds a text of metric families with their samples.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The type of a metric family.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The values only grow.
    Counter,
    /// The values go up and down.
    Gauge,
    /// The samples are cumulative buckets, a sum and a count.
    Histogram,
}

impl Exposition {
    /// The value of the `Content-Type` header for this format.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Writes the head of a family. The caller adds the family's samples next.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample to the current family, and escapes the labels' values.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// Adds a family with one counter that has no labels.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }

    /// Adds a family with one gauge that has no labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    /// Adds a histogram's samples. Each of `buckets` is an upper bound in seconds and the number of values at or
    /// below the bound. The `+Inf` bucket is not among `buckets`: its number is `count`. `sum` is in seconds.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, below) in buckets {
            let bound = bound.to_string();
            let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
            self.sample(&bucket, &labels, below);
        }
        let labels_inf: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.sample(&bucket, &labels_inf, count);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// Appends a component's own metrics, which are in the same format.
    ///
    /// # Errors
    /// When a scraper could not read `document`, when it has too many samples, or when a family of the host's is in it.
    /// Nothing is appended then.
    pub fn append(&mut self, document: &str) -> Result<(), InvalidMetrics> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let families: HashSet<_> = lines.filter_map(|family| family.split(' ').next()).collect();
        let checked = component_metrics::check(document, |name| families.contains(name))?;
        self.text.push_str(&checked);
        Ok(())
    }

    /// Returns the text of all families.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_escapes() {
        let mut exposition = Exposition::default();
        exposition.family("hits_total", Kind::Counter, "Hits.");
        exposition.sample("hits_total", &[("by", "a\"b\\c\nd"), ("status", "2xx")], 3);
        exposition.gauge("live", "Live.", -1);
        assert!(exposition.append("own 1\nhits_total 4").is_err());
        exposition.append("own 1").unwrap();
        assert_eq!(
            exposition.into_text(),
            "# HELP hits_total Hits.\n# TYPE hits_total counter\n\
             hits_total{by=\"a\\\"b\\\\c\\nd\",status=\"2xx\"} 3\n\
             # HELP live Live.\n# TYPE live gauge\nlive -1\nown 1\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_infinity_sum_and_count() {
        let mut exposition = Exposition::default();
        exposition.histogram("t_seconds", &[("c", "x")], &[(0.5, 1), (1.0, 2)], 2.25, 3);
        assert_eq!(
            exposition.into_text(),
            "t_seconds_bucket{c=\"x\",le=\"0.5\"} 1\nt_seconds_bucket{c=\"x\",le=\"1\"} 2\n\
             t_seconds_bucket{c=\"x\",le=\"+Inf\"} 3\nt_seconds_sum{c=\"x\"} 2.25\nt_seconds_count{c=\"x\"} 3\n"
        );
    }
}
