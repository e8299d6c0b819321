//! Attributes of spans, by the stable conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use http::{Method, Version};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

use super::server::Server;

/// What stands for a method, or an error, that is not one of the known ones.
pub const OTHER: &str = "_OTHER";

/// The attributes of one span, in the order in which they are added.
///
/// Queries, user information, headers, keys and values are in none: they are where secrets are.
#[derive(Default)]
pub struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    /// Adds a text.
    pub fn text(&mut self, key: &str, value: impl Into<String>) {
        self.add(key, Value::StringValue(value.into()));
    }

    /// Adds a number.
    pub fn number(&mut self, key: &str, value: i64) {
        self.add(key, Value::IntValue(value));
    }

    /// Adds a truth value.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.add(key, Value::BoolValue(value));
    }

    /// Adds `http.request.method`, and the original one where that is none of the known ones.
    pub fn method(&mut self, method: &Method) {
        let known = Self::known_method(method);
        self.text("http.request.method", known.unwrap_or(OTHER));
        if known.is_none() {
            self.text("http.request.method_original", method.as_str());
        }
    }

    /// Adds `server.address` and `server.port`.
    pub fn server(&mut self, server: Option<&Server>) {
        let Some(Server { address, port }) = server else { return };
        self.text("server.address", &**address);
        if let Some(port) = port {
            self.number("server.port", i64::from(*port));
        }
    }

    /// Adds `network.protocol.version`.
    pub fn version(&mut self, version: Version) {
        let version = match version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_11 => "1.1",
            Version::HTTP_2 => "2",
            _ => return,
        };
        self.text("network.protocol.version", version);
    }

    /// A method's name, if it is one of those that are known: others would be names without end.
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
