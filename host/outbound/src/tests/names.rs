//! Attacks by the owner of a listed name.

use super::*;
use tokio::net::TcpListener;

const ENDING: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// Returns a URL for `server`, and a setup whose policy permits 127.0.0.1 like a public address and no other
/// loopback address.
fn named(server: &Server, names: Names) -> (Setup, String) {
    let url = format!("http://name.test:{}", server.address.port());
    let networks = vec!["127.0.0.1/32".parse().unwrap()];
    (Setup { names, entries: vec![url.clone()], networks, ..Setup::open() }, url)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_asked_about_at_each_connection() {
    let server = Server::saying(ENDING).await;
    let answers = vec![ip("127.0.0.1"), ip("127.0.0.3"), ip("169.254.169.254"), ip("::ffff:10.0.0.1")];
    let names = Names::Changing(Arc::new(Mutex::new(answers)));
    let (setup, url) = named(&server, names);
    let (client, stats) = setup.client();
    assert_eq!(read(get(&client, &url).await.unwrap()).await.unwrap(), "ok");
    for _ in 0..3 {
        let error = failure(&client, &url).await;
        assert!(matches!(error, Error::DestinationIpProhibited), "{error:?}");
    }
    assert_eq!((server.connections(), outcomes(&stats)), (1, vec![("2xx", 1), ("denied", 3)]));
}

/// With one look-up for the check and another for the connection, the second answer could bypass the check.
#[tokio::test]
async fn what_is_connected_to_is_the_very_address_that_was_checked() {
    let server = Server::saying(ENDING).await;
    let answers = Arc::new(Mutex::new(vec![ip("127.0.0.1"), ip("10.0.0.1")]));
    let (setup, url) = named(&server, Names::Changing(Arc::clone(&answers)));
    let (client, _) = setup.client();
    assert_eq!(get(&client, &url).await.unwrap().status(), 200);
    assert_eq!(*answers.lock().unwrap(), [ip("10.0.0.1")], "asked once");
}

#[tokio::test]
async fn of_mixed_answers_only_the_public_ones_are_connected_to() {
    // Nothing listens at the permitted address. The forbidden address would answer, and must not be used.
    let inside = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let url = format!("http://name.test:{}", inside.local_addr().unwrap().port());
    for order in [["127.0.0.3", "127.0.0.1"], ["127.0.0.1", "127.0.0.3"]] {
        let setup = Setup {
            names: Names::At(order.into_iter().map(ip).collect()),
            entries: vec![url.clone()],
            networks: vec!["127.0.0.1/32".parse().unwrap()],
            ..Setup::open()
        };
        let error = failure(&setup.client().0, &url).await;
        assert!(matches!(error, Error::ConnectionRefused), "{error:?}");
    }
    let nobody = tokio::time::timeout(SHORT, inside.accept()).await;
    assert!(nobody.is_err(), "somebody connected");
}

#[tokio::test]
async fn addresses_without_end_are_cut_off() {
    let server = Server::saying(ENDING).await;
    let mut addresses = vec![ip("10.0.0.1"); 1000];
    addresses.push(ip("127.0.0.1"));
    let (setup, url) = named(&server, Names::At(addresses));
    let error = failure(&setup.client().0, &url).await;
    assert!(matches!(error, Error::DestinationIpProhibited), "{error:?}");
}

/// A connection opened under one component's policy must not serve another component.
#[tokio::test]
async fn a_pooled_connection_serves_only_the_client_whose_policy_let_it_be_opened() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let url = format!("http://name.test:{}", server.address.port());
    let settings = OutboundSettings { limits: patient(), ..OutboundSettings::default() };
    let outbound = Arc::new(Outbound::new(settings).unwrap().with_resolver(Arc::new(loopback())));
    let client = |networks: &[&str]| {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        let policy = Policy::new(AllowList::parse(&[&url]).unwrap(), networks);
        let stats = Arc::new(Stats::new(&policy));
        Client::new(Arc::clone(&outbound), Arc::new(policy), stats)
    };
    let (trusted, other) = (client(&["127.0.0.0/8"]), client(&[]));
    for _ in 0..2 {
        assert_eq!(read(get(&trusted, &url).await.unwrap()).await.unwrap(), "ok");
        assert!(matches!(failure(&other, &url).await, Error::DestinationIpProhibited));
    }
    assert_eq!((server.connections(), server.heads().len()), (1, 2));
}

#[tokio::test]
async fn metadata_services_are_not_to_be_had_by_a_wildcard() {
    let (client, stats) = Setup { networks: Vec::new(), ..Setup::open() }.client();
    let addresses = [
        "169.254.169.254",
        "169.254.170.2",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[::ffff:169.254.169.254]",
        "0xa9.0xfe.0xa9.0xfe",
        "2852039166",
        "0251.0376.0251.0376",
        "169.254.43518",
    ];
    for address in addresses {
        let error = failure(&client, &format!("http://{address}/latest/meta-data/")).await;
        assert!(matches!(error, Error::DestinationIpProhibited), "{address}: {error:?}");
    }
    assert_eq!(stats.denied(), addresses.len() as u64);
}
