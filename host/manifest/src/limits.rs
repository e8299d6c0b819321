//! A component's own limits, from its `tool` table in the manifest.

use super::document::{Error, Node, Section};
use super::least::{LEAST_MEMORY, LEAST_REQUEST_TIMEOUT};
use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use wasi_http_host_core::{ByteSize, Period};

/// `[component.ID.tool.wasi-http-host]`: limits of one component. Each key has the name of the flag that sets the
/// same limit. A manifest can lower a flag's limit and cannot raise it
/// (`docs/decisions/0036-a-manifest-cannot-widen-a-limit.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnLimits {
    /// `max-instances`: instances in the whole process.
    pub max_instances: Option<NonZeroU32>,
    /// `max-memory`: bytes of linear memory for each instance.
    pub max_memory: Option<ByteSize>,
    /// `instance-max-concurrency`: requests that one instance serves at the same time.
    pub instance_max_concurrency: Option<NonZeroUsize>,
    /// `max-concurrent-requests`: requests in flight in the whole process.
    pub max_concurrent_requests: Option<NonZeroUsize>,
    /// `max-queued-requests`: requests that wait for admission.
    pub max_queued_requests: Option<usize>,
    /// `request-timeout`: from the request's head to the response's head.
    pub request_timeout: Option<Period>,
    /// `response-cache = false`: no response of the component is cached.
    pub response_cache: Option<bool>,
}

impl OwnLimits {
    /// Reads the component's `tool` table. Tables of other tools are ignored without a warning.
    ///
    /// # Errors
    /// A key is unknown, or a value is not valid or is below its lower bound.
    pub(super) fn read(tool: Option<Node<'_>>) -> Result<Self, Error> {
        let Some(own) = tool.map(Node::section).transpose()?.and_then(|mut tools| tools.take(TABLE)) else {
            return Ok(Self::default());
        };
        let mut own: Section<'_> = own.section()?;
        let limits = Self {
            max_instances: value(&mut own, "max-instances")?,
            max_memory: at_least(&mut own, "max-memory", &LEAST_MEMORY)?,
            instance_max_concurrency: value(&mut own, "instance-max-concurrency")?,
            max_concurrent_requests: value(&mut own, "max-concurrent-requests")?,
            max_queued_requests: value(&mut own, "max-queued-requests")?,
            request_timeout: at_least(&mut own, "request-timeout", &LEAST_REQUEST_TIMEOUT)?,
            response_cache: own.take("response-cache").map(|node| node.boolean()).transpose()?,
        };
        // A limit whose key is misspelt would not hold.
        own.finish()?;
        Ok(limits)
    }
}

const TABLE: &str = "wasi-http-host";

impl Error {
    /// Whether the error is about a setting of this host rather than about one of Spin's keys: a limit in the
    /// manifest, or the flag that names the file.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        self.is_whole() || self.key.as_ref().is_some_and(|key| key.contains(&format!(".tool.{TABLE}")))
    }
}

fn value<T: FromStr<Err: Display>>(section: &mut Section<'_>, key: &str) -> Result<Option<T>, Error> {
    section.take(key).map(|node| parse(&node)).transpose()
}

/// Like [`value`], and refuses a value below `least`. The flag of the same name has the same lower bound.
fn at_least<T: FromStr<Err: Display> + PartialOrd + Display + Copy>(
    section: &mut Section<'_>,
    key: &str,
    least: &T,
) -> Result<Option<T>, Error> {
    let Some(node) = section.take(key) else { return Ok(None) };
    match parse::<T>(&node)? {
        value if value < *least => Err(node.error(format!("{value} is less than {least}"))),
        value => Ok(Some(value)),
    }
}

fn parse<T: FromStr<Err: Display>>(node: &Node<'_>) -> Result<T, Error> {
    let text = node.text()?;
    text.parse().map_err(|error: T::Err| node.error(format!("{text:?}: {error}")))
}
