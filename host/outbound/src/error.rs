//! The mapping from a failure to the guest's error and to the outcome that metrics count.

use super::stats::Outcome;
use super::transport::ConnectError;
use std::error::Error as StdError;
use std::{fmt, io};
use wasi_http_host_egress::Denied;
use wasi_http_host_egress::InvalidTarget;
use wasmtime_wasi_http::Error;

/// A failed outbound request: it got no response, or only a part of one.
#[derive(Debug)]
pub struct Failure {
    /// The error that the guest gets.
    pub error: Error,
    /// The outcome that metrics count.
    pub outcome: Outcome,
}

impl Failure {
    /// Creates a failure with the guest's error and the counted outcome.
    #[must_use]
    pub fn new(error: Error, outcome: Outcome) -> Self {
        Self { error, outcome }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let error = match denied {
            Denied::Invalid(InvalidTarget::Scheme) => Error::HttpProtocolError,
            Denied::Invalid(_) => Error::HttpRequestUriInvalid,
            Denied::NotListed(_) => Error::HttpRequestDenied,
            Denied::Address(_) => Error::DestinationIpProhibited,
        };
        Self::new(error, Outcome::Denied)
    }
}

impl From<&ConnectError> for Failure {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Invalid(_) => Self::new(Error::HttpRequestUriInvalid, Outcome::Denied),
            ConnectError::Prohibited(_) => Self::new(Error::DestinationIpProhibited, Outcome::Denied),
            ConnectError::DnsTimeout => Self::new(Error::DnsTimeout, Outcome::Timeout),
            ConnectError::Dns(_) => {
                let rcode = Some("address not available".to_owned());
                Self::new(Error::DnsError { rcode, info_code: None }, Outcome::Dns)
            }
            ConnectError::Timeout => Self::new(Error::ConnectionTimeout, Outcome::Timeout),
            ConnectError::Tcp(error) => Self::new(connect(error.kind()), Outcome::Connect),
            ConnectError::Tls(error) => Self::new(tls(&**error), Outcome::Tls),
            ConnectError::Proxy(error) => match find::<ConnectError>(&**error) {
                // The connection to the proxy failed, and the guest cannot change that.
                Some(ConnectError::DnsTimeout | ConnectError::Timeout) => {
                    Self::new(Error::ConnectionTimeout, Outcome::Timeout)
                }
                _ => Self::new(Error::DestinationUnavailable, Outcome::Connect),
            },
        }
    }
}

impl From<&hyper_util::client::legacy::Error> for Failure {
    fn from(error: &hyper_util::client::legacy::Error) -> Self {
        if let Some(error) = find::<ConnectError>(error) {
            return error.into();
        }
        match find::<hyper::Error>(error) {
            Some(error) => error.into(),
            None => Self::new(Error::HttpProtocolError, Outcome::Protocol),
        }
    }
}

impl From<&hyper::Error> for Failure {
    fn from(error: &hyper::Error) -> Self {
        // The guest makes the request's body, so the guest gets the body's own error.
        if let Some(Error::HttpRequestBodySize(size)) = find::<Error>(error) {
            return Self::new(Error::HttpRequestBodySize(*size), Outcome::Limit);
        }
        // In TLS 1.3 a server refuses the host's certificate, or the lack of one, after the handshake (RFC 8446, 4.4.2.4).
        if let Some(alert @ rustls::Error::AlertReceived(_)) = find::<rustls::Error>(error) {
            return Self::new(tls(alert), Outcome::Tls);
        }
        let io = find::<io::Error>(error).map(io::Error::kind);
        let error = if error.is_parse_too_large() {
            return Self::new(Error::HttpResponseHeaderSectionSize(None), Outcome::Limit);
        } else if error.is_incomplete_message() || io == Some(io::ErrorKind::UnexpectedEof) {
            Error::HttpResponseIncomplete
        } else if error.is_canceled() || error.is_closed() || io.is_some_and(is_broken) {
            Error::ConnectionTerminated
        } else {
            Error::HttpProtocolError
        };
        Self::new(error, Outcome::Protocol)
    }
}

fn is_broken(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(kind, ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn connect(kind: io::ErrorKind) -> Error {
    match kind {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        _ => Error::DestinationUnavailable,
    }
}

fn tls(error: &(dyn StdError + 'static)) -> Error {
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some((*alert).into()),
            alert_message: Some(format!("{alert:?}")),
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

/// Returns the first error of type `E` in the chain. `io::Error::source` skips the wrapped error, so this looks
/// into each `io::Error`.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Displays an error with all its causes.
pub(super) struct Causes<'a>(pub(super) &'a dyn StdError);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
