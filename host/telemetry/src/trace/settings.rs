//! The settings of tracing: OpenTelemetry's own environment variables. An operator can thus configure this host
//! like any other service.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. Unlike the specification, an invalid value is an
//! error here. Otherwise a service would silently send traces elsewhere or not at all, and people would notice only
//! when they need the traces.

use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::sampler::{Root, Sampler};
use wasi_http_host_core::InvalidSetting;

/// Upper limit for the size of the queue, in spans. This number of spans takes some tens of megabytes.
const MOST_QUEUED: usize = 1 << 16;
/// The endpoint for HTTP if the settings name none.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// The endpoint for gRPC if the settings name none.
const DEFAULT_GRPC_ENDPOINT: &str = "http://localhost:4317";
const HTTP_PATH: &str = "v1/traces";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The collector, the sampler, the resource and the batches.
pub struct Settings {
    pub(super) endpoint: Uri,
    pub(super) protocol: Protocol,
    /// Headers of each export request. The headers may hold secrets and are never logged.
    pub(super) headers: HeaderMap,
    /// Timeout of one attempt to send a batch.
    pub(super) timeout: Duration,
    /// A PEM file of certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    pub(super) sampler: Sampler,
    /// Whether the host reads and writes `traceparent`.
    pub(super) propagate: bool,
    /// Attributes of the process. `service.name` is the first.
    pub(super) resource: Vec<(String, String)>,
    pub(super) batch: Batch,
}

/// The sizes and timeouts of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// How long a batch waits for more spans before it is sent.
    pub(super) delay: Duration,
    /// Timeout of one batch, with all attempts and pauses.
    pub(super) limit: Duration,
    /// Maximum number of spans in the queue.
    pub(super) queue: usize,
    /// Maximum number of spans in a batch.
    pub(super) size: usize,
}

/// The protocol of export requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// OTLP over HTTP with protobuf: `http/protobuf`.
    Http,
    /// OTLP over gRPC: `grpc`.
    Grpc,
}

/// The environment variables, read by a function.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

/// The name of a variable and its value.
type Found = (&'static str, String);

impl Settings {
    /// Reads the settings from environment variables. `variable` returns the value of a variable. `service` is the
    /// service's name if the variables set none. Returns `None` if no variable asks for traces.
    ///
    /// # Errors
    /// When a variable has an invalid value. The error names the variable.
    pub fn read(
        service: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, InvalidSetting> {
        let variables = Variables(variable);
        if !variables.are_asked_for()? {
            return Ok(None);
        }
        let protocol = variables.protocol()?;
        Ok(Some(Self {
            endpoint: variables.endpoint(protocol)?,
            protocol,
            headers: variables.headers()?,
            timeout: variables
                .of_traces("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
                .map_or(Ok(Duration::from_secs(10)), milliseconds)?,
            ca_file: variables
                .of_traces("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
                .map(|(_, path)| path.into()),
            sampler: variables.sampler()?,
            propagate: variables.propagate()?,
            resource: variables.resource(service)?,
            batch: variables.batch()?,
        }))
    }
}

impl Settings {
    /// Whether requests to the collector need HTTP/2. gRPC has no other transport.
    #[must_use]
    pub fn needs_http2(&self) -> bool {
        self.protocol == Protocol::Grpc
    }
}

impl Variables<'_> {
    /// Returns a variable. An empty variable counts as unset.
    fn get(&self, name: &'static str) -> Option<Found> {
        let value = (self.0)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| (name, value.to_owned()))
    }

    /// Returns the variable for traces, or else the variable for all signals.
    fn of_traces(&self, traces: &'static str, all: &'static str) -> Option<Found> {
        self.get(traces).or_else(|| self.get(all))
    }

    fn are_asked_for(&self) -> Result<bool, InvalidSetting> {
        match self.get("OTEL_SDK_DISABLED") {
            None => {}
            Some((_, text)) if text.eq_ignore_ascii_case("false") => {}
            Some((_, text)) if text.eq_ignore_ascii_case("true") => return Ok(false),
            Some((name, text)) => return Err(wanted(name, &text, "true or false")),
        }
        match self.get("OTEL_TRACES_EXPORTER") {
            None => Ok((self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
                .or_else(|| self.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
                .is_some()),
            Some((_, text)) if text == "otlp" => Ok(true),
            Some((_, text)) if text == "none" => Ok(false),
            Some((name, text)) => Err(wanted(name, &text, "otlp or none")),
        }
    }

    fn protocol(&self) -> Result<Protocol, InvalidSetting> {
        for name in ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"] {
            if self.get(name).is_some() {
                return Err(invalid(name, "client certificates are not supported"));
            }
        }
        let compression =
            self.of_traces("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION");
        match compression {
            None => {}
            Some((_, text)) if text == "none" => {}
            // A collector accepts both, so the host still sends traces.
            Some((name, text)) if text == "gzip" => {
                tracing::warn!(variable = name, "spans are sent without compression: gzip is not supported");
            }
            Some((name, text)) => return Err(wanted(name, &text, "none")),
        }
        let protocol = self.of_traces("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        match protocol {
            None => Ok(Protocol::Http),
            Some((_, text)) if text == "http/protobuf" => Ok(Protocol::Http),
            Some((_, text)) if text == "grpc" => Ok(Protocol::Grpc),
            Some((name, text)) => Err(wanted(name, &text, "http/protobuf or grpc")),
        }
    }

    fn endpoint(&self, protocol: Protocol) -> Result<Uri, InvalidSetting> {
        let default = match protocol {
            Protocol::Http => DEFAULT_ENDPOINT,
            Protocol::Grpc => DEFAULT_GRPC_ENDPOINT,
        };
        let traces = self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let is_whole = traces.is_some();
        let (name, text) = traces
            .or_else(|| self.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
            .unwrap_or(("OTEL_EXPORTER_OTLP_ENDPOINT", default.to_owned()));
        // The error does not repeat the text, because the text may hold a password or a key.
        let uri: Uri =
            text.parse().map_err(|_| invalid(name, "expected a URL such as http://collector:4318"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(invalid(name, "expected a URL that begins with http:// or https://"));
        }
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(invalid(name, "the URL must not contain a password: use OTEL_EXPORTER_OTLP_HEADERS"));
        }
        let path = match protocol {
            Protocol::Grpc => GRPC_PATH.to_owned(),
            Protocol::Http if is_whole => return Ok(uri),
            Protocol::Http => format!("{}/{HTTP_PATH}", uri.path().trim_end_matches('/')),
        };
        let mut parts = uri.into_parts();
        parts.path_and_query = Some(path.parse().map_err(|_| invalid(name, "its path is not valid"))?);
        Uri::from_parts(parts).map_err(|_| invalid(name, "it is not valid"))
    }

    fn headers(&self) -> Result<HeaderMap, InvalidSetting> {
        let mut headers = HeaderMap::new();
        let found = self.of_traces("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
        let Some((name, text)) = found else { return Ok(headers) };
        for (key, value) in pairs(name, &text)? {
            let key: HeaderName = key.parse().map_err(|_| invalid(name, "a key is not a header name"))?;
            let mut value =
                HeaderValue::try_from(value).map_err(|_| invalid(name, "a value is not a header value"))?;
            value.set_sensitive(true);
            headers.append(key, value);
        }
        Ok(headers)
    }

    fn sampler(&self) -> Result<Sampler, InvalidSetting> {
        let (name, text) = self
            .get("OTEL_TRACES_SAMPLER")
            .unwrap_or(("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()));
        let root = text.strip_prefix("parentbased_");
        let parent_based = root.is_some();
        let root = match root.unwrap_or(&text) {
            "always_on" => Root::On,
            "always_off" => Root::Off,
            "traceidratio" => Root::ratio(self.ratio()?),
            _ => {
                let known = "always_on, always_off, traceidratio, or one of these behind parentbased_";
                return Err(wanted(name, &text, known));
            }
        };
        Ok(Sampler { root, parent_based })
    }

    fn ratio(&self) -> Result<f64, InvalidSetting> {
        let Some((name, text)) = self.get("OTEL_TRACES_SAMPLER_ARG") else { return Ok(1.0) };
        let share: Option<f64> = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| wanted(name, &text, "a number from 0 to 1"))
    }

    fn propagate(&self) -> Result<bool, InvalidSetting> {
        let Some((name, text)) = self.get("OTEL_PROPAGATORS") else { return Ok(true) };
        let mut propagate = false;
        for one in text.split(',').map(str::trim) {
            match one {
                "tracecontext" => propagate = true,
                // Guests handle `baggage` themselves: they see the header and may pass it on.
                "baggage" | "none" => {}
                _ => return Err(wanted(name, one, "tracecontext, baggage or none")),
            }
        }
        Ok(propagate)
    }

    fn resource(&self, service: &str) -> Result<Vec<(String, String)>, InvalidSetting> {
        let mut attributes = match self.get("OTEL_RESOURCE_ATTRIBUTES") {
            Some((name, text)) => pairs(name, &text)?,
            None => Vec::new(),
        };
        let named = attributes.iter().position(|(key, _)| key == "service.name");
        let named = named.map(|at| attributes.remove(at).1);
        let name = self.get("OTEL_SERVICE_NAME").map(|(_, name)| name).or(named);
        attributes.insert(0, ("service.name".to_owned(), name.unwrap_or_else(|| service.to_owned())));
        Ok(attributes)
    }

    fn batch(&self) -> Result<Batch, InvalidSetting> {
        let queue =
            self.get("OTEL_BSP_MAX_QUEUE_SIZE").map_or(Ok(2048), |found| count(found, MOST_QUEUED))?;
        let size = self.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
        Ok(Batch {
            delay: self.get("OTEL_BSP_SCHEDULE_DELAY").map_or(Ok(Duration::from_secs(5)), milliseconds)?,
            limit: self.get("OTEL_BSP_EXPORT_TIMEOUT").map_or(Ok(Duration::from_secs(30)), milliseconds)?,
            queue,
            size: size.map_or(Ok(queue.min(512)), |found| count(found, queue))?,
        })
    }
}

fn invalid(name: &'static str, reason: &str) -> InvalidSetting {
    InvalidSetting { name, reason: reason.to_owned() }
}

fn wanted(name: &'static str, text: &str, wanted: &str) -> InvalidSetting {
    InvalidSetting { name, reason: format!("{text:?}: expected {wanted}") }
}

fn milliseconds((name, text): Found) -> Result<Duration, InvalidSetting> {
    let ms = text.parse().ok().filter(|ms| (1..=3_600_000).contains(ms));
    ms.map(Duration::from_millis).ok_or_else(|| wanted(name, &text, "milliseconds, up to an hour"))
}

fn count((name, text): Found, most: usize) -> Result<usize, InvalidSetting> {
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| wanted(name, &text, &format!("a number from 1 to {most}")))
}

/// Parses `key=value,key=value` with percent-encoding. The error does not repeat the text, because the text may
/// hold secrets.
fn pairs(name: &'static str, text: &str) -> Result<Vec<(String, String)>, InvalidSetting> {
    let decode = |text: &str| percent_decode_str(text.trim()).decode_utf8().map(String::from);
    let members = text.split(',').filter(|member| !member.trim().is_empty());
    members
        .map(|member| {
            let (key, value) = member.split_once('=').filter(|(key, _)| !key.trim().is_empty())?;
            Some((decode(key).ok()?, decode(value).ok()?))
        })
        .map(|pair| pair.ok_or_else(|| invalid(name, "expected key=value pairs, separated by commas")))
        .collect()
}

#[cfg(test)]
mod tests;
