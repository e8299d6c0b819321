//! `probe`: asks a running host whether it is ready, for the health check of a container without a shell.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::Builder, time::timeout};

use wasi_http_host_core::{InvalidSetting, Period};

use crate::config::Config;

/// The time limit of a probe. The image's health check has a longer one, so that the reason is the probe's own.
const TIMEOUT: Period = Period::secs(3);
/// The most bytes of an answer's head, and of its body, which is read only for the reason of a failure.
const MAX_HEAD: usize = 16 << 10;
const MAX_BODY: usize = 64 << 10;

/// The configuration of `probe`.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true)]
pub struct ProbeConfig {
    /// URL to ask: http:// with an IP address or localhost [default: /ready on the admin port of --admin-listen]
    #[arg(value_name = "URL")]
    pub url: Option<ProbeUrl>,
    /// Address of the admin port, as serve has it; the probe asks for 0.0.0.0 and [::] on loopback
    #[arg(long, value_name = "ADDR", env = "WASI_HTTP_HOST_ADMIN_LISTEN", default_value_t = Config::default().admin_listen)]
    pub admin_listen: SocketAddr,
    /// How long the whole probe may take
    #[arg(long, value_name = "DUR", default_value_t = TIMEOUT, value_parser = positive)]
    pub timeout: Period,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeUrl {
    /// Where the host may listen, in the order of the attempts.
    addresses: Vec<SocketAddr>,
    authority: String,
    path: String,
}

/// Why a probe fails.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A setting's value is not valid.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// Nothing listens.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// The operating system's error.
        cause: io::Error,
    },
    /// The answer is not complete in time.
    #[error("{url} does not answer within {limit}")]
    TimedOut {
        /// What was asked.
        url: ProbeUrl,
        /// The time limit.
        limit: Period,
    },
    /// What answers does not speak HTTP/1.1, or closes the connection.
    #[error("{url} does not answer: {cause}")]
    NoAnswer {
        /// What was asked.
        url: ProbeUrl,
        /// The HTTP client's error.
        cause: hyper::Error,
    },
    /// The answer's status is not 2xx.
    #[error("{url} answers {}{}", status.as_u16(), reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    NotReady {
        /// What was asked.
        url: ProbeUrl,
        /// The status.
        status: StatusCode,
        /// The reason in the answer, if it has one.
        reason: Option<String>,
    },
    /// The operating system refused an event queue.
    #[error("cannot start an event queue: {0}")]
    System(#[from] io::Error),
}

/// Asks once. Returns a line that says what was answered.
///
/// # Errors
/// There is no answer within the time limit, or its status is not 2xx.
pub fn probe(config: &ProbeConfig) -> Result<String, ProbeError> {
    let url = match &config.url {
        Some(url) => url.clone(),
        None => ProbeUrl::readiness(config.admin_listen)?,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let answered = runtime.block_on(async { timeout(config.timeout.get(), ask(&url)).await });
    let status =
        answered.unwrap_or_else(|_| Err(ProbeError::TimedOut { url: url.clone(), limit: config.timeout }))?;
    Ok(format!("{url} answers {}", status.as_u16()))
}

async fn ask(url: &ProbeUrl) -> Result<StatusCode, ProbeError> {
    let no_answer = |cause| ProbeError::NoAnswer { url: url.clone(), cause };
    let stream = connect(&url.addresses).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(no_answer)?;
    // It ends with the runtime. Its error is the error of the request, too.
    tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url.path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(authority) = url.authority.parse() {
        headers.insert(header::HOST, authority);
    }
    let agent = concat!("wasi-http-host/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static(agent));
    let response = sender.send_request(request).await.map_err(no_answer)?;
    let status = response.status();
    if status.is_success() {
        return Ok(status);
    }
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let reason = body.ok().and_then(|body| reason(&body.to_bytes()));
    Err(ProbeError::NotReady { url: url.clone(), status, reason })
}

/// Connects to the first address that accepts.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, ProbeError> {
    let mut failed = ProbeError::System(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => failed = ProbeError::Connect { address: *address, cause },
        }
    }
    Err(failed)
}

/// The reason in an answer of the admin port (`reason`) or of the host's main port (`detail`).
fn reason(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    ["reason", "detail"].into_iter().find_map(|key| Some(answer.get(key)?.as_str()?.to_owned()))
}

impl ProbeUrl {
    /// `/ready` of a host on this machine whose admin port listens on `listen`.
    fn readiness(listen: SocketAddr) -> Result<Self, InvalidSetting> {
        if listen.port() == 0 {
            let reason = format!("{listen} has no port that a probe could know: give the URL");
            return Err(InvalidSetting { name: "--admin-listen", reason });
        }
        let at = |ip: IpAddr| SocketAddr::new(ip, listen.port());
        let (v4, v6) = (at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into()));
        let addresses = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => vec![v4],
            // A container without IPv6 has no ::1, and a host that listens on [::] accepts IPv4 there.
            IpAddr::V6(ip) if ip.is_unspecified() => vec![v6, v4],
            _ => vec![listen],
        };
        let authority = addresses.first().map(ToString::to_string).unwrap_or_default();
        Ok(Self { addresses, authority, path: "/ready".to_owned() })
    }
}

impl FromStr for ProbeUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str =
            "want http:// with an IP address or localhost, such as http://127.0.0.1:9090/ready";
        let url: Uri = text.parse().map_err(|_| WANTED)?;
        let authority =
            url.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(WANTED)?;
        if url.scheme() != Some(&Scheme::HTTP) {
            return Err(WANTED);
        }
        let port = match (authority.port_u16(), authority.as_str().rsplit_once(':')) {
            (Some(0), _) => return Err(WANTED),
            (Some(port), _) => port,
            // A port that is not a number below 65536.
            (None, Some((_, rest))) if !rest.ends_with(']') => return Err(WANTED),
            (None, _) => 80,
        };
        let name = authority.host();
        let ips = if name.eq_ignore_ascii_case("localhost") {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            let ip = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
            vec![ip.parse::<IpAddr>().map_err(|_| WANTED)?]
        };
        Ok(Self {
            addresses: ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            authority: authority.to_string(),
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

impl fmt::Display for ProbeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// A time limit of zero would fail every probe.
fn positive(text: &str) -> Result<Period, String> {
    let period: Period = text.parse()?;
    if period.get().is_zero() { Err("want at least 1ms".to_owned()) } else { Ok(period) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_on_loopback() {
        for (listen, asked) in [
            ("127.0.0.1:9090", &["127.0.0.1:9090"][..]),
            ("0.0.0.0:9090", &["127.0.0.1:9090"]),
            // Without IPv6, [::] accepts IPv4 only.
            ("[::]:9090", &["[::1]:9090", "127.0.0.1:9090"]),
            ("10.1.2.3:81", &["10.1.2.3:81"]),
            ("[fd00::1]:81", &["[fd00::1]:81"]),
        ] {
            let url = ProbeUrl::readiness(listen.parse().unwrap()).unwrap();
            let addresses: Vec<_> = url.addresses.iter().map(ToString::to_string).collect();
            assert_eq!(addresses, asked, "{listen}");
            assert_eq!(url.to_string(), format!("http://{}/ready", asked[0]), "{listen}");
        }
        let error = ProbeUrl::readiness("127.0.0.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("--admin-listen") && error.contains("give the URL"), "{error}");
    }

    #[test]
    fn a_url_names_an_address_and_plain_http() {
        let parsed = |text: &str| text.parse::<ProbeUrl>().map(|url| (url.addresses.len(), url.to_string()));
        assert_eq!(parsed("http://127.0.0.1:9090/live"), Ok((1, "http://127.0.0.1:9090/live".to_owned())));
        assert_eq!(parsed("http://[::1]:9090/x?y=z"), Ok((1, "http://[::1]:9090/x?y=z".to_owned())));
        assert_eq!(parsed("http://[::1]"), Ok((1, "http://[::1]/".to_owned())));
        assert_eq!(parsed("http://localhost:8080"), Ok((2, "http://localhost:8080/".to_owned())));
        for bad in [
            "",
            "/ready",
            "127.0.0.1:9090",
            "https://127.0.0.1:9090/",
            "http://example.com/",
            "http://",
            "http:///x",
            "http://a:b@127.0.0.1/",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:/",
            "unix:/x",
        ] {
            assert!(parsed(bad).unwrap_err().starts_with("want http://"), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_taken_from_the_hosts_own_answers() {
        let text = |body: &str| reason(body.as_bytes());
        assert_eq!(
            text(r#"{"status":"unavailable","reason":"shutting down"}"#).as_deref(),
            Some("shutting down")
        );
        assert_eq!(text(r#"{"detail":"Not Found"}"#).as_deref(), Some("Not Found"));
        for other in ["", "<html>", "[]", r#"{"reason":1}"#] {
            assert_eq!(text(other), None, "{other}");
        }
    }
}
