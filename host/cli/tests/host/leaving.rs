//! Clients that leave before their response, while the component works on: the work keeps its place.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use testkit::{
    Host,
    paths::{guest, scratch},
    ports::listen,
    until,
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{
    frames::{Peer, RST_STREAM, frame, get},
    harness::{start_app, start_guest},
};

/// Requests that `busy` may work on at the same time.
const PLACES: usize = 4;
/// Clients that leave, one after the other.
const CLIENTS: usize = 20;

/// A manifest of the service `busy`, which few requests may enter, of the service `neighbour`, and of the proxy `caller`,
/// which may ask `busy`.
fn manifest(test: &str, upstream: SocketAddr) -> PathBuf {
    let path = scratch(test).join("spin.toml");
    let (service, proxy) = (guest("service"), guest("proxy"));
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [[trigger.http]]\nroute = \"/fetch/...\"\ncomponent = \"busy\"\n\
         [[trigger.http]]\nroute = \"/fetch-after/...\"\ncomponent = \"caller\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"neighbour\"\n\
         [component.busy]\nsource = {service:?}\nallowed_outbound_hosts = [\"http://{upstream}\"]\n\
         [component.busy.tool.wasi-http-host]\nmax-concurrent-requests = {PLACES}\nmax-queued-requests = 0\n\
         request-timeout = \"15s\"\n\
         [component.neighbour]\nsource = {service:?}\n\
         [component.caller]\nsource = {proxy:?}\nallowed_outbound_hosts = [\"http://busy.spin.internal\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// The requests that a server has, which never answers.
#[derive(Default)]
struct Requests {
    accepted: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Requests {
    async fn hold(self: Arc<Self>, server: TcpListener) {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            self.most.fetch_max(self.open.fetch_add(1, SeqCst) + 1, SeqCst);
            self.accepted.fetch_add(1, SeqCst);
            let requests = self.clone();
            tokio::spawn(async move {
                while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
                requests.open.fetch_sub(1, SeqCst);
            });
        }
    }

    /// Waits until the server has another request than the first `before`.
    async fn another(&self, before: usize) {
        until("the server has another request", async || (self.accepted.load(SeqCst) > before).then_some(()))
            .await;
    }
}

/// Sends requests with `send`, which waits for the first of two events: the request has reached the server, or the host
/// has answered. Then the client leaves. Meanwhile a neighbour is served.
async fn assert_bounded(test: &str, send: impl AsyncFn(&Host, &Requests, SocketAddr)) {
    let (server, upstream) = listen().await;
    let requests = Arc::new(Requests::default());
    let holding = tokio::spawn(requests.clone().hold(server));
    let host = start_app(&manifest(test, upstream), &["--threads", "1"], &[]).await;
    for _ in 0..CLIENTS {
        send(&host, &requests, upstream).await;
        host.wait_for_metric("wasi_http_host_requests_active{component=\"busy\"}", |active| active == 0.0)
            .await;
        assert_eq!(host.get("/hello/x").await.text(), "hello x");
    }
    let most = requests.most.load(SeqCst);
    assert_eq!(most, PLACES, "{test}: requests at the server at the same time");
    // The time limit of the requests ends the work, and the places are free again.
    until("a request finds a place", async || {
        (host.get("/fetch/0?no-such-server.invalid/").await.status == 200).then_some(())
    })
    .await;
    holding.abort();
}

#[tokio::test]
async fn connections_that_close_get_no_more_work_than_there_are_places() {
    let send = async |host: &Host, requests: &Requests, upstream: SocketAddr| {
        let before = requests.accepted.load(SeqCst);
        let path = format!("/fetch/0?{upstream}/x");
        let mut client = host.request("GET", &path).start().await.unwrap();
        tokio::select! {
            () = requests.another(before) => {}
            refused = client.response() => assert_eq!(refused.unwrap().status, 503),
        }
    };
    assert_bounded("leaving-closed", send).await;
}

#[tokio::test]
async fn streams_that_are_reset_get_no_more_work_than_there_are_places() {
    let send = async |host: &Host, requests: &Requests, upstream: SocketAddr| {
        let before = requests.accepted.load(SeqCst);
        let mut peer = Peer::connect(host, &[]).await;
        peer.send(&get(1, &format!("/fetch/0?{upstream}/x"))).await;
        tokio::select! {
            () = requests.another(before) => {}
            refused = peer.verdict() => assert!(!refused.unwrap().is_ok()),
        }
        peer.send(&frame(RST_STREAM, 0, 1, &8u32.to_be_bytes())).await;
        // The connection stays, and serves the next request.
        peer.send(&get(3, "/hello/x")).await;
        while peer.verdict().await.expect("the connection stays").stream != 3 {}
    };
    assert_bounded("leaving-reset", send).await;
}

/// The proxy's instance ends when its client leaves, and drops its request to the service.
#[tokio::test]
async fn chained_calls_that_are_dropped_get_no_more_work_than_there_are_places() {
    let send = async |host: &Host, requests: &Requests, upstream: SocketAddr| {
        let before = requests.accepted.load(SeqCst);
        let path = format!("/fetch-after/0?busy.spin.internal/fetch/0?{upstream}/x");
        let mut client = host.request("GET", &path).start().await.unwrap();
        tokio::select! {
            () = requests.another(before) => {}
            refused = client.response() => {
                let refused = refused.unwrap();
                assert!(refused.text().contains("ConnectionLimitReached"), "{}", refused.text());
            }
        }
    };
    assert_bounded("leaving-chained", send).await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place_when_its_call_has_ended() {
    let flags = ["--max-concurrent-requests", "1", "--max-queued-requests", "0"];
    for (guest, path) in [("service", "/sleep/1500"), ("proxy", "/sleep/600000")] {
        let host = start_guest(guest, &flags).await;
        let mut stream = host.connect().await;
        stream.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        assert_eq!(host.get("/hello/x").await.status, 503);
        drop(stream);
        // A service works on until its call ends. A proxy's instance ends with its client.
        until("the place is free", async || (host.get("/hello/x").await.status == 200).then_some(())).await;
        assert_eq!(host.metric("wasi_http_host_requests_active").await, 0.0);
    }
}
