//! Spans while they last, and what is kept of them.
//!
//! What is kept is copied, and no longer than is of use: a span waits for seconds, and a slice of a request's head would keep
//! all of it in memory for as long.

mod client;
mod keyvalue;
mod server;

pub(crate) use client::ClientSpan;
pub(crate) use keyvalue::KeyValueSpan;
pub(crate) use server::{Ended, ServerSpan};

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{
    Method, StatusCode, Version,
    uri::{Authority, Scheme},
};

use super::{Calls, Origin, Tracer};
use crate::{
    keyvalue::{Access, Operation},
    outbound::Outcome,
    telemetry::bounded,
};

/// Bytes of a path that clients and guests choose.
const PATH_BYTES: usize = 1024;
/// Bytes of a server's name, which has no more (RFC 1035, 2.3.4).
const NAME_BYTES: usize = 255;
/// Bytes of a method.
const METHOD_BYTES: usize = 64;

/// A span that is over.
pub(super) struct Span {
    pub(super) origin: Origin,
    /// Its parent's identity; none where a trace begins.
    pub(super) parent: Option<[u8; 8]>,
    /// None where a request has no route.
    pub(super) component: Option<Arc<str>>,
    pub(super) start: SystemTime,
    pub(super) duration: Duration,
    pub(super) what: What,
}

/// What a span is about.
pub(super) enum What {
    Request(Box<RequestDetails>),
    Fetch(Box<FetchDetails>),
    KeyValue(KeyValueDetails),
}

pub(super) struct RequestDetails {
    pub(super) method: Method,
    pub(super) scheme: Scheme,
    pub(super) path: Box<str>,
    pub(super) route: Option<Box<str>>,
    pub(super) server: Option<Server>,
    pub(super) version: Version,
    pub(super) request_id: Box<str>,
    pub(super) status: Option<StatusCode>,
    pub(super) error: Option<&'static str>,
    pub(super) complete: bool,
}

pub(super) struct FetchDetails {
    pub(super) method: Method,
    /// Without user information and query.
    pub(super) url: Box<str>,
    pub(super) server: Option<Server>,
    pub(super) status: Option<StatusCode>,
    pub(super) version: Option<Version>,
    pub(super) outcome: Outcome,
}

pub(super) struct KeyValueDetails {
    pub(super) operation: Operation,
    pub(super) access: Access,
    /// Which of its stores.
    pub(super) bucket: u32,
    /// A remote store was not asked, for its answer was known here.
    pub(super) known: bool,
    pub(super) failed: bool,
}

/// Whom a request is for, as it says.
pub(super) struct Server {
    pub(super) address: Box<str>,
    pub(super) port: Option<u16>,
}

impl Server {
    /// Without user information.
    fn of(authority: &Authority) -> Self {
        let address = authority.host().trim_matches(['[', ']']);
        Self { address: bounded(address, NAME_BYTES).into(), port: authority.port_u16() }
    }
}

/// A method, or the beginning of one that somebody made up.
fn kept(method: &Method) -> Method {
    // The beginning of a method is one.
    let cut = method.as_str().as_bytes().get(..METHOD_BYTES).and_then(|cut| Method::from_bytes(cut).ok());
    cut.unwrap_or_else(|| method.clone())
}

/// When a recorded span began.
#[derive(Clone, Copy)]
struct Start {
    /// For people.
    time: SystemTime,
    /// To measure by.
    moment: Instant,
}

impl Start {
    fn now() -> Self {
        Self { time: SystemTime::now(), moment: Instant::now() }
    }
}

#[cfg(test)]
mod tests;
