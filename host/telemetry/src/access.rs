//! The access log: one line for each request. The lines are formatted by hand, because `tracing` would cost several
//! times as much on every request.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method, StatusCode};
use tracing::Level;

use wasi_http_host_core::bounded;

use super::{Log, LogFormat, Sink};

/// Maximum number of bytes of a path in a log line.
const PATH_BYTES: usize = 512;

/// Writes access log lines. When the access log is disabled, it writes nothing.
#[derive(Clone)]
pub struct AccessLog {
    sink: Option<Sink>,
    format: LogFormat,
    level: Level,
}

/// The contents of one access log line.
pub struct AccessLine<'a> {
    /// The component that served the request. `None`: no route matched the path.
    pub component: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// The names in the client's verified certificate. `None`: the client showed none.
    pub certificate: Option<CertificateNames<'a>>,
    /// The request's method.
    pub method: &'a Method,
    /// The path without the query. The query is left out because it may hold secrets.
    pub path: &'a str,
    /// The value of `X-Request-Id`, from the client or made by the host.
    pub request_id: &'a HeaderValue,
    /// The id of the request's trace, in hexadecimal digits. `None`: the request has no trace.
    pub trace_id: Option<&'a str>,
    /// The status of the response. `None`: the client left before there was a response.
    pub status: Option<StatusCode>,
    /// Whether the host has handed the whole response to the client's connection.
    pub complete: bool,
    /// Bytes of the response's body that the host has handed to the connection.
    pub bytes: u64,
    /// Time from the request's head to the end of its response.
    pub duration: Duration,
}

/// The names in a client's certificate.
pub struct CertificateNames<'a> {
    /// The subject's distinguished name. It may be empty.
    pub subject: &'a str,
    /// The alternative names, each with its kind.
    pub alternative: &'a [String],
}

impl AccessLog {
    /// Creates an access log that writes to the sink of `log`, at its level and in its format. When `enabled` is
    /// false, the access log writes nothing.
    #[must_use]
    pub fn new(log: &Log, enabled: bool) -> Self {
        Self { sink: enabled.then(|| log.sink.clone()), format: log.format, level: log.level }
    }

    /// Whether [`AccessLog::write`] would write a line for a request with this status.
    pub fn wants(&self, status: Option<StatusCode>) -> bool {
        self.sink.is_some() && level(status) <= self.level
    }

    /// Writes the line, if the log's level admits a line for this status.
    pub fn write(&self, line: &AccessLine<'_>) {
        let Some(sink) = self.sink.as_ref().filter(|_| self.wants(line.status)) else { return };
        let mut text = String::with_capacity(320);
        let written = match self.format {
            LogFormat::Json => self.json(&mut text, line),
            LogFormat::Text => self.text(&mut text, line),
        };
        // Writing to a string cannot fail.
        debug_assert!(written.is_ok(), "a string takes all");
        sink.write(text.as_bytes());
    }

    fn json(&self, to: &mut String, line: &AccessLine<'_>) -> fmt::Result {
        write!(to, "{{\"timestamp\":\"{}\",\"level\":\"{}\"", Timestamp::now(), level(line.status))?;
        to.write_str(",\"message\":\"request\"")?;
        if let Some(component) = line.component {
            to.write_str(",\"component\":")?;
            quote(to, component)?;
        }
        write!(to, ",\"request_id\":\"{}\"", line.request_id.to_str().unwrap_or_default())?;
        if let Some(id) = line.trace_id {
            write!(to, ",\"trace_id\":\"{id}\"")?;
        }
        write!(to, ",\"client\":\"{}\"", line.client)?;
        if let Some(certificate) = &line.certificate {
            to.write_str(",\"client_subject\":")?;
            quote(to, certificate.subject)?;
            to.write_str(",\"client_names\":[")?;
            for (at, name) in certificate.alternative.iter().enumerate() {
                to.write_str(if at == 0 { "" } else { "," })?;
                quote(to, name)?;
            }
            to.write_char(']')?;
        }
        write!(to, ",\"method\":\"{}\",\"path\":", line.method)?;
        quote(to, bounded(line.path, PATH_BYTES))?;
        if let Some(status) = line.status {
            write!(to, ",\"status\":{}", status.as_u16())?;
        }
        let ms = line.duration.as_micros();
        write!(to, ",\"bytes\":{},\"duration_ms\":{}.{:03}", line.bytes, ms / 1_000, ms % 1_000)?;
        if !line.complete {
            to.write_str(",\"aborted\":true")?;
        }
        to.write_str("}\n")
    }

    fn text(&self, to: &mut String, line: &AccessLine<'_>) -> fmt::Result {
        let status = line.status.map_or("---".to_owned(), |status| status.as_u16().to_string());
        let path = bounded(line.path, PATH_BYTES);
        let ms = line.duration.as_micros();
        let level = level(line.status);
        write!(to, "{} {:>5} {status} {} ", Timestamp::now(), level.as_str(), line.client)?;
        if let Some(certificate) = &line.certificate {
            let name = if certificate.subject.is_empty() { certificate.alternative.first() } else { None };
            to.write_char('(')?;
            printable(to, name.map_or(certificate.subject, String::as_str))?;
            to.write_str(") ")?;
        }
        write!(to, "{} ", line.method)?;
        printable(to, path)?;
        write!(to, " {} bytes {}.{:03} ms", line.bytes, ms / 1_000, ms % 1_000)?;
        to.write_str(if line.complete { "\n" } else { " (aborted)\n" })
    }
}

/// Appends `text` without control characters, which a client must not be able to send to a terminal.
fn printable(to: &mut String, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| to.write_char(if c.is_control() { '?' } else { c }))
}

fn level(status: Option<StatusCode>) -> Level {
    match status {
        Some(status) if status.is_server_error() => Level::ERROR,
        _ => Level::INFO,
    }
}

/// Appends `text` as a JSON string, with its quotation marks.
fn quote(to: &mut String, text: &str) -> fmt::Result {
    to.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => to.write_str("\\\"")?,
            '\\' => to.write_str("\\\\")?,
            c if c.is_control() => write!(to, "\\u{:04x}", u32::from(c))?,
            c => to.write_char(c)?,
        }
    }
    to.write_char('"')
}

/// The time since 1970, displayed by RFC 3339 in UTC with microseconds.
struct Timestamp(Duration);

impl Timestamp {
    fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60,
            self.0.subsec_micros()
        )
    }
}

/// Converts a number of days since 1970 to year, month and day. The calculation uses years that begin in March, so
/// that a leap day is the last day of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds, micros: u32| Timestamp(Duration::new(seconds, micros * 1_000)).to_string();
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_399, 5), "2000-02-28T23:59:59.000005Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(1_709_251_199, 0), "2024-02-29T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn a_line_is_json_whatever_the_path() {
        let log = AccessLog { sink: None, format: LogFormat::Json, level: Level::INFO };
        let mut text = String::new();
        let line = AccessLine {
            component: Some("a\"b"),
            client: IpAddr::from([192, 0, 2, 1]),
            certificate: Some(CertificateNames {
                subject: "CN=\"a\"",
                alternative: &["URI:spiffe://a\"\u{1}".to_owned(), "DNS:b".to_owned()],
            }),
            method: &Method::GET,
            path: "/a\"\\\u{1}ä",
            request_id: &HeaderValue::from_static("id-1"),
            trace_id: None,
            status: Some(StatusCode::NOT_FOUND),
            complete: false,
            bytes: 12,
            duration: Duration::from_micros(1_234),
        };
        log.json(&mut text, &line).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], "/a\"\\\u{1}ä");
        assert_eq!(value["component"], "a\"b");
        assert_eq!(value["client"], "192.0.2.1");
        assert_eq!(value["client_subject"], "CN=\"a\"");
        assert_eq!(value["client_names"], serde_json::json!(["URI:spiffe://a\"\u{1}", "DNS:b"]));
        assert_eq!(value["status"], 404);
        assert_eq!(value["duration_ms"], 1.234);
        assert_eq!(value["aborted"], true);
        assert_eq!(value["level"], "INFO");
    }
}
