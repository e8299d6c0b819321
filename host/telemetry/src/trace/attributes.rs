//! Attributes of spans, by OpenTelemetry's stable conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use http::{Method, Version};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

use super::server::Server;

/// The attribute value for an unknown method or an unknown error.
pub const OTHER: &str = "_OTHER";

/// The attributes of one span, in the order in which they were added.
///
/// No attribute has a query, user information, a header, or the key or value of a store, because they may hold
/// secrets.
#[derive(Default)]
pub struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    /// Adds a string attribute.
    pub fn text(&mut self, key: &str, value: impl Into<String>) {
        self.add(key, Value::StringValue(value.into()));
    }

    /// Adds an integer attribute.
    pub fn number(&mut self, key: &str, value: i64) {
        self.add(key, Value::IntValue(value));
    }

    /// Adds a boolean attribute.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.add(key, Value::BoolValue(value));
    }

    /// Adds `http.request.method`. For an unknown method, also adds `http.request.method_original`.
    pub fn method(&mut self, method: &Method) {
        let known = Self::known_method(method);
        self.text("http.request.method", known.unwrap_or(OTHER));
        if known.is_none() {
            self.text("http.request.method_original", method.as_str());
        }
    }

    /// Adds `server.address` and, if the port is known, `server.port`. Adds nothing for `None`.
    pub fn server(&mut self, server: Option<&Server>) {
        let Some(Server { address, port }) = server else { return };
        self.text("server.address", &**address);
        if let Some(port) = port {
            self.number("server.port", i64::from(*port));
        }
    }

    /// Adds `network.protocol.version` for HTTP/1.0, HTTP/1.1 and HTTP/2.
    pub fn version(&mut self, version: Version) {
        let version = match version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_11 => "1.1",
            Version::HTTP_2 => "2",
            _ => return,
        };
        self.text("network.protocol.version", version);
    }

    /// Returns the method's name if it is one of the known methods. Clients could otherwise create any number of
    /// span names.
    #[must_use]
    pub fn known_method(method: &Method) -> Option<&str> {
        const KNOWN: [Method; 9] = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::CONNECT,
            Method::OPTIONS,
            Method::TRACE,
            Method::PATCH,
        ];
        KNOWN.contains(method).then(|| method.as_str())
    }

    fn add(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
    }
}
