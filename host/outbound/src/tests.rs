//! Tests of the client with local servers, both correct and faulty.

mod hostile;
mod limits;
mod names;
mod proxy;
mod requests;
mod server;
mod tls;

use super::{Client, Limits, Outbound, OutboundSettings, Stats};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use server::Server;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasi_http_host_egress::{AllowList, Policy, Resolve, Resolving};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// A timeout for events that must happen.
const LONG: Duration = Duration::from_secs(60);
/// A timeout for tests of timeouts, and for events that must not happen.
const SHORT: Duration = Duration::from_millis(50);

fn patient() -> Limits {
    Limits { connect: LONG, first_byte: LONG, between_bytes: LONG, total: LONG, ..Limits::default() }
}

/// A resolver. Each name has the addresses that the test sets.
#[derive(Clone)]
enum Names {
    At(Vec<IpAddr>),
    Unknown,
    Silent,
    /// Each look-up takes the next address. The last address stays.
    Changing(Arc<Mutex<Vec<IpAddr>>>),
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            match self {
                Self::At(addresses) => Ok(addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
                Self::Unknown => Err(io::Error::other("no such host")),
                Self::Silent => std::future::pending().await,
                Self::Changing(answers) => {
                    let mut answers = answers.lock().unwrap();
                    let now = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
                    Ok(vec![SocketAddr::new(now, port)])
                }
            }
        })
    }
}

fn loopback() -> Names {
    Names::At(vec![Ipv4Addr::LOCALHOST.into()])
}

struct Setup {
    settings: OutboundSettings,
    names: Names,
    entries: Vec<String>,
    networks: Vec<ipnet::IpNet>,
}

impl Setup {
    /// A setup whose policy allows all loopback addresses, by name or address.
    fn open() -> Self {
        Self {
            settings: OutboundSettings { limits: patient(), ..OutboundSettings::default() },
            names: loopback(),
            entries: vec!["*://*:*".to_owned()],
            networks: vec!["127.0.0.0/8".parse().unwrap()],
        }
    }

    fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.settings.limits);
        self
    }

    fn client(self) -> (Client, Arc<Stats>) {
        let outbound = Outbound::new(self.settings).unwrap().with_resolver(Arc::new(self.names));
        let policy = Policy::new(AllowList::parse(&self.entries).unwrap(), self.networks);
        let stats = Arc::new(Stats::new(&policy));
        (Client::new(Arc::new(outbound), Arc::new(policy), Arc::clone(&stats)), stats)
    }
}

fn request(uri: &str) -> http::Request<WasiBody> {
    let body = Empty::<Bytes>::new().map_err(|e| match e {}).boxed_unsync();
    http::Request::get(uri).body(body).unwrap()
}

async fn get(client: &Client, uri: &str) -> Result<http::Response<WasiBody>, Error> {
    client.send(request(uri), RequestOptions::default()).await
}

async fn read(response: http::Response<WasiBody>) -> Result<Bytes, Error> {
    response.into_body().collect().await.map(http_body_util::Collected::to_bytes)
}

/// Returns the error of a request that must fail, in its head or its body.
async fn failure(client: &Client, uri: &str) -> Error {
    match get(client, uri).await {
        Ok(response) => read(response).await.expect_err("the body came whole"),
        Err(error) => error,
    }
}

/// Returns the counts of all entries together that are not zero.
fn outcomes(stats: &Stats) -> Vec<(&'static str, u64)> {
    let all = stats.snapshot().flat_map(|entry| entry.outcomes);
    all.filter(|(_, n)| *n > 0).map(|(outcome, n)| (outcome.as_str(), n)).collect()
}

fn uri(server: &Server) -> String {
    format!("http://{}/path", server.address)
}
