//! Tests of name resolution with a local name server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::*;

/// A name server that answers for the given names (IPv4 addresses only) and records the queries.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(records: &[(&str, [u8; 4])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let records: HashMap<String, [u8; 4]> =
            records.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        let log = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                let query = message.queries[0].clone();
                message = message.into_response();
                let name = query.name().to_string();
                match (records.get(&name), query.query_type()) {
                    (Some(address), RecordType::A) => {
                        let data = RData::A(Ipv4Addr::from(*address).into());
                        message.add_answer(Record::from_rdata(query.name().clone(), 300, data));
                    }
                    (Some(_), _) => {}
                    (None, _) => message.metadata.response_code = ResponseCode::NXDomain,
                }
                if query.query_type() == RecordType::A {
                    log.lock().unwrap().push(name);
                }
                socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn resolver(&self, search: &[&str], ndots: usize) -> SystemResolver {
        let mut connection = ConnectionConfig::new(ProtocolConfig::Udp);
        connection.port = self.address.port();
        let server = NameServerConfig::new(self.address.ip(), true, vec![connection]);
        let search = search.iter().map(|name| name.parse().unwrap()).collect();
        let mut options = ResolverOpts::default();
        options.ndots = ndots;
        let config = ResolverConfig::from_parts(None, search, vec![server]);
        SystemResolver { lookup: Lookup::new(&config, options, None).unwrap().into() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The search list that the kubelet writes to a pod's `/etc/resolv.conf`.
const SEARCH: [&str; 3] = ["dev.svc.cluster.local.", "svc.cluster.local.", "cluster.local."];

#[tokio::test]
async fn a_services_short_name_is_found_by_the_search_list() {
    let server = Server::start(&[("redis.cache.svc.cluster.local.", [10, 96, 0, 7])]).await;
    let found = server.resolver(&SEARCH, 5).resolve("redis.cache", 6379).await.unwrap();
    assert_eq!(found, ["10.96.0.7:6379".parse::<SocketAddr>().unwrap()]);
    assert_eq!(
        server.asked(),
        ["redis.cache.dev.svc.cluster.local.", "redis.cache.svc.cluster.local."],
        "in the list's order, and no further than needed"
    );
}

#[tokio::test]
async fn a_name_with_dots_enough_is_asked_for_as_it_is() {
    let server = Server::start(&[("api.github.com.", [192, 0, 2, 1])]).await;
    let resolver = server.resolver(&SEARCH, 2);
    for _ in 0..2 {
        let found = resolver.resolve("api.github.com", 443).await.unwrap();
        assert_eq!(found, ["192.0.2.1:443".parse::<SocketAddr>().unwrap()]);
    }
    assert_eq!(server.asked(), ["api.github.com."], "once: the answer is remembered");
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_named() {
    let server = Server::start(&[]).await;
    let error = server.resolver(&SEARCH, 5).resolve("nobody.example", 80).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (io::ErrorKind::NotFound, "nobody.example has no address".to_owned())
    );
    assert_eq!(server.asked().len(), 4, "each search domain, then the name itself");
}

#[tokio::test]
async fn without_a_configuration_the_error_says_so_and_localhost_works() {
    let config = ResolverConfig::from_parts(None, vec![], vec![]);
    let unconfigured = Some("/etc/resolv.conf: missing".to_owned());
    let lookup = Lookup::new(&config, ResolverOpts::default(), unconfigured).unwrap();
    let resolver = SystemResolver { lookup: lookup.into() };
    let error = resolver.resolve("github.invalid-tld", 443).await.unwrap_err().to_string();
    assert!(error.contains("github.invalid-tld") && error.contains("/etc/resolv.conf: missing"), "{error}");
    let found = resolver.resolve("localhost", 80).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    assert_eq!(found.len(), 2, "both families");
}

#[tokio::test]
async fn what_is_no_name_is_refused() {
    let server = Server::start(&[]).await;
    let resolver = server.resolver(&[], 1);
    for text in ["", "a..b", "a b"] {
        assert!(resolver.resolve(text, 80).await.is_err(), "{text:?}");
    }
}
