//! Checks the metrics of a component before they stand beside the host's own.
//!
//! A component may send anything. A document that is not in the text format would break the whole scrape, series
//! without end would burden the scraper, and a family of the host's own would be believed.

use std::collections::HashSet;

/// The most samples of a component's document.
const MAX_SERIES: usize = 10_000;
/// The prefix of the host's own families.
const RESERVED: &str = "wasi_http_host_";
/// Bytes of a component's text in an error.
const SHOWN: usize = 100;

/// Why a component's metrics are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct InvalidMetrics {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// What is wrong with the line.
    pub reason: String,
}

/// Checks a document in the text format of Prometheus, and returns its lines without comments. `is_taken` says whether
/// the host has a family of this name.
pub(super) fn check(document: &str, is_taken: impl Fn(&str) -> bool) -> Result<String, InvalidMetrics> {
    let mut checked = String::with_capacity(document.len());
    let mut seen = Seen::default();
    for (at, line) in document.split('\n').enumerate() {
        let invalid = |reason| InvalidMetrics { line: at + 1, reason };
        let name = match Line::parse(line).map_err(invalid)? {
            Line::Comment => continue,
            Line::Help(name) => seen.help(name).map(|()| name),
            Line::Type(name) => seen.family(name).map(|()| name),
            Line::Sample { name, series } => seen.sample(name, series).map(|()| name),
        };
        let name = name.map_err(invalid)?;
        if name.starts_with(RESERVED) || is_taken(name) {
            return Err(invalid(format!("the name {} belongs to the host", shown(name))));
        }
        checked.push_str(line);
        checked.push('\n');
    }
    Ok(checked)
}

/// What the lines so far have declared. Nothing may be declared twice.
#[derive(Default)]
struct Seen<'a> {
    helps: HashSet<&'a str>,
    types: HashSet<&'a str>,
    names: HashSet<&'a str>,
    series: HashSet<&'a str>,
}

impl<'a> Seen<'a> {
    fn help(&mut self, name: &'a str) -> Result<(), String> {
        match self.helps.insert(name) {
            true => Ok(()),
            false => Err(format!("a second HELP of {}", shown(name))),
        }
    }

    fn family(&mut self, name: &'a str) -> Result<(), String> {
        if self.names.contains(name) {
            return Err(format!("the TYPE of {} comes after its samples", shown(name)));
        }
        match self.types.insert(name) {
            true => Ok(()),
            false => Err(format!("a second TYPE of {}", shown(name))),
        }
    }

    fn sample(&mut self, name: &'a str, series: &'a str) -> Result<(), String> {
        self.names.insert(name);
        if !self.series.insert(series) {
            return Err(format!("a second sample of {}", shown(series)));
        }
        match self.series.len() <= MAX_SERIES {
            true => Ok(()),
            false => Err(format!("more than {MAX_SERIES} samples")),
        }
    }
}

enum Line<'a> {
    /// Nothing, or a comment for people.
    Comment,
    Help(&'a str),
    Type(&'a str),
    /// `series` is the name with its labels, as they are written.
    Sample {
        name: &'a str,
        series: &'a str,
    },
}

const BLANK: [char; 2] = [' ', '\t'];

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Result<Self, String> {
        let line = line.trim_matches(BLANK);
        if line.is_empty() {
            return Ok(Self::Comment);
        }
        let Some(comment) = line.strip_prefix('#') else { return Self::sample(line) };
        let (keyword, rest) = word(comment.trim_start_matches(BLANK));
        let (name, rest) = word(rest);
        match keyword {
            "HELP" if !is_name(name) => Err(format!("{} is no name of a metric", shown(name))),
            "HELP" if escapes(rest, "\\n").is_none() => Err("HELP has an invalid escape".to_owned()),
            "HELP" => Ok(Self::Help(name)),
            "TYPE" if !is_name(name) => Err(format!("{} is no name of a metric", shown(name))),
            "TYPE" => match rest {
                "counter" | "gauge" | "histogram" | "summary" | "untyped" => Ok(Self::Type(name)),
                other => Err(format!("{} is no type of a metric", shown(other))),
            },
            _ => Ok(Self::Comment),
        }
    }

    /// `NAME{LABEL="VALUE",…} VALUE [TIMESTAMP]`
    fn sample(line: &'a str) -> Result<Self, String> {
        let end = line.find(['{', ' ', '\t']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if !is_name(name) {
            return Err(format!("{} is no name of a metric", shown(name)));
        }
        let rest = match rest.trim_start_matches(BLANK).strip_prefix('{') {
            Some(labels) => after_labels(labels)?,
            None => rest,
        };
        let series = line.strip_suffix(rest).unwrap_or(line).trim_end_matches(BLANK);
        let (value, rest) = word(rest.trim_start_matches(BLANK));
        if value.parse::<f64>().is_err() {
            return Err(format!("{} is no value", shown(value)));
        }
        if !rest.is_empty() && rest.parse::<i64>().is_err() {
            return Err(format!("{} is no timestamp", shown(rest)));
        }
        Ok(Self::Sample { name, series })
    }
}

/// Reads labels after their opening brace. Returns what follows the closing brace.
fn after_labels(mut rest: &str) -> Result<&str, String> {
    let mut names = HashSet::new();
    loop {
        rest = rest.trim_start_matches(BLANK);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (name, after) = rest.split_once('=').ok_or("the labels do not end")?;
        let name = name.trim_end_matches(BLANK);
        if !is_name(name) || name.contains(':') || name.starts_with("__") {
            return Err(format!("{} is no name of a label", shown(name)));
        }
        if !names.insert(name) {
            return Err(format!("the label {} stands twice", shown(name)));
        }
        let value = after.trim_start_matches(BLANK).strip_prefix('"').ok_or("a label has no quoted value")?;
        let length = escapes(value, "\\n\"").ok_or("the value of a label has an invalid escape")?;
        let (_, after) = value.split_at(length);
        rest = after.strip_prefix('"').ok_or("the value of a label does not end")?;
        rest = rest.trim_start_matches(BLANK);
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else if !rest.starts_with('}') {
            return Err("the labels do not end".to_owned());
        }
    }
}

/// The length of a text up to its first quote, or to its end if a quote need not be escaped. `None` if a backslash
/// escapes another character than one of `allowed`.
fn escapes(text: &str, allowed: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if allowed.contains('"') => return Some(at),
            '\\' => {
                let (_, escaped) = chars.next()?;
                allowed.contains(escaped).then_some(())?;
            }
            _ => {}
        }
    }
    Some(text.len())
}

/// The text up to the first blank, and what follows the blanks.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(BLANK).unwrap_or((text, ""));
    (word, rest.trim_start_matches(BLANK))
}

/// The name of a metric. A label has no colon in its name.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// A component's text in an error: quoted and cut.
fn shown(text: &str) -> String {
    format!("{:?}", super::bounded(text, SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(document: &str) -> Result<String, String> {
        check(document, |name| name == "process_open_fds").map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_scraper_can_read_is_kept_without_its_comments() {
        let document = "# HELP hits Hits \\\\ \\n \"here\".\n# TYPE hits counter\n\
                        hits{by=\"a\\\"b\\\\c\\nd\",status=\"2xx\",} 3\nhits 1 1700000000000\n\n\
                        \t# TYPE  took  histogram\ntook_bucket{le=\"+Inf\"}\t4\ntook_sum { } 1e-9\ntook:avg NaN\nlow -Inf";
        assert_eq!(checked(document), Ok(document.replace("\n\n", "\n") + "\n"));
        assert_eq!(checked("# a comment\n#EOF\nup 1\n"), Ok("up 1\n".to_owned()));
        assert_eq!(checked(""), Ok(String::new()));
    }

    #[test]
    fn what_belongs_to_the_host_or_breaks_a_scrape_is_refused() {
        for (line, reason) in [
            ("wasi_http_host_requests_total 1", "belongs to the host"),
            ("# HELP wasi_http_host_requests_total Mine.", "belongs to the host"),
            ("# TYPE wasi_http_host_anything counter", "belongs to the host"),
            ("process_open_fds 1", "belongs to the host"),
            ("<html>", "\"<html>\" is no name of a metric"),
            ("1st 1", "is no name of a metric"),
            ("hits", "\"\" is no value"),
            ("hits many", "\"many\" is no value"),
            ("hits 1 now", "\"now\" is no timestamp"),
            ("hits 1 # {trace=\"1\"} 1", "is no timestamp"),
            ("hits{a=\"1\"", "the labels do not end"),
            ("hits{a=\"1\" b=\"2\"} 1", "the labels do not end"),
            ("hits{a=1} 1", "a label has no quoted value"),
            ("hits{a=\"1} 1", "the value of a label does not end"),
            ("hits{a=\"\\t\"} 1", "an invalid escape"),
            ("hits{a=\"1\",a=\"2\"} 1", "the label \"a\" stands twice"),
            ("hits{__name__=\"wasi_http_host_requests_total\"} 1", "is no name of a label"),
            ("hits{a:b=\"1\"} 1", "is no name of a label"),
            ("# TYPE hits number", "\"number\" is no type"),
            ("# TYPE hits counter\n# TYPE hits counter", "line 3: a second TYPE"),
            ("hits 1\n# TYPE hits counter", "after its samples"),
            ("# HELP hits a\n# HELP hits b", "a second HELP"),
            ("hits{a=\"1\"} 1\nhits{a=\"1\"} 2", "a second sample"),
            ("hits\r 1", "is no name of a metric"),
        ] {
            let error = checked(&format!("up 1\n{line}\n")).expect_err(line);
            assert!(error.starts_with("line ") && error.contains(reason), "{line}: {error}");
        }
    }

    #[test]
    fn series_and_errors_have_a_bound() {
        let series =
            |count: usize| (0..count).map(|at| format!("hits{{at=\"{at}\"}} 1\n")).collect::<String>();
        assert!(checked(&series(MAX_SERIES)).is_ok());
        let error = checked(&series(MAX_SERIES + 1)).unwrap_err();
        assert_eq!(error, "line 10001: more than 10000 samples");
        let error = checked(&"é".repeat(1 << 20)).unwrap_err();
        assert!(error.len() < 2 * SHOWN, "{error}");
    }
}
