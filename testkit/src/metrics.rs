//! Reads Prometheus' text exposition format, version 0.0.4.

use std::collections::BTreeMap;

/// All samples of a scrape, in their order.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub Vec<Sample>);

/// One sample: a line of the text that is no comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name, with a suffix such as `_bucket` where the line has one.
    pub name: String,
    /// Label names and unescaped values.
    pub labels: BTreeMap<String, String>,
    /// The value; infinite for `+Inf` and `-Inf`.
    pub value: f64,
}

impl Samples {
    /// Reads a scrape. Panics at a line that is neither a comment nor a sample.
    #[must_use]
    #[expect(clippy::panic, reason = "how a test reports it")]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}"))).collect())
    }

    /// The sum of all samples of this name that carry these labels; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matches = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        // The sum starts at positive zero: `Iterator::sum` of no floats is negative zero.
        self.0.iter().filter(matches).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// As [`Samples::sum`], by a selector as PromQL writes it: `name` or `name{label="value"}`. `None` if no sample matches.
    #[must_use]
    pub fn select(&self, selector: &str) -> Option<f64> {
        let wanted = sample(&format!("{selector} 0"))?;
        let labels: Vec<_> =
            wanted.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        let matches = |sample: &Sample| {
            sample.name == wanted.name
                && wanted.labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
        };
        self.0.iter().any(matches).then(|| self.sum(&wanted.name, &labels))
    }

    /// The distinct values of a label over all samples, sorted.
    #[must_use]
    pub fn values_of(&self, label: &str) -> Vec<&str> {
        let mut values: Vec<_> =
            self.0.iter().filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Whether there is a sample of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|sample| sample.name == name)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, mut rest) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let end = quote_end(after)?;
        let value = after.get(..end)?.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
        labels.insert(label.to_owned(), value);
        rest = after.get(end + 1..)?.trim_start_matches(',');
    }
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        _ => value.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The index of the first quote that no backslash escapes.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(index, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_escapes_and_infinities() {
        let text = "# HELP a b\na{x=\"1\",y=\"q\\\"}\"} 2\na{x=\"2\"} 3.5\nb +Inf\n\n";
        let samples = Samples::parse(text);
        assert_eq!(samples.0.len(), 3);
        assert!((samples.sum("a", &[]) - 5.5).abs() < f64::EPSILON);
        assert!((samples.sum("a", &[("y", "q\"}")]) - 2.0).abs() < f64::EPSILON);
        assert!(samples.sum("b", &[]).is_infinite() && samples.has("b"));
        assert_eq!(samples.values_of("x"), ["1", "2"]);
        assert_eq!(samples.select("a{x=\"2\"}"), Some(3.5));
        assert_eq!((samples.select("a"), samples.select("a{x=\"3\"}")), (Some(5.5), None));
    }

    #[test]
    #[should_panic(expected = "not a sample")]
    fn a_line_that_is_no_sample_is_not_passed_over() {
        let _ = Samples::parse("no-value\n");
    }
}
