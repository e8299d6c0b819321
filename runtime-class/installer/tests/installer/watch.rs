//! The watcher: labels of nodes that have lost the runtime, and its series.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use wasi_http_installer::{
    exporter::{self, Figures},
    watch::turn,
};

use crate::server::{LEASE, PODS, Server};

/// Three nodes with the label and an installer that is done. Each kubelet lists what it is given.
fn labelled(handlers: [Value; 3]) -> Server {
    let server = Server::start();
    for (name, handlers) in ["node-1", "node-2", "node-3"].into_iter().zip(handlers) {
        server.add_node(name);
        let mut state = server.state();
        state.change(&format!("/api/v1/nodes/{name}"), |node| {
            node["metadata"]["labels"]["runtime.wasi-http/ready"] = "true".into();
            node["status"]["runtimeHandlers"] = handlers;
        });
        state.change(&format!("{PODS}/on-{name}"), |pod| {
            pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
        });
    }
    server
}

fn sample(figures: &Figures, name: &str) -> u64 {
    let text = figures.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("wasi_http_installer_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

#[test]
fn a_node_that_has_lost_the_runtime_loses_the_label_and_is_installed_again() {
    let (with, without) = (json!([{ "name": "runc" }, { "name": "wasi-http" }]), json!([{ "name": "runc" }]));
    // The third kubelet lists no handlers, as older ones do: it says nothing about the runtime.
    let server = labelled([with, without, Value::Null]);
    let figures = Figures::default();
    turn(&server.cluster("node-1"), &figures, |_| {}).expect("a turn");
    assert_eq!(server.changes(), ["PATCH /api/v1/nodes/node-2", &format!("DELETE {PODS}/on-node-2")]);
    assert_eq!((sample(&figures, "nodes_ready"), sample(&figures, "nodes_lost_total")), (2, 1));
    assert_eq!(sample(&figures, "lease_held_seconds"), 0);

    turn(&server.cluster("node-1"), &figures, |_| {}).expect("a turn");
    assert_eq!((sample(&figures, "nodes_ready"), sample(&figures, "nodes_lost_total")), (2, 1));
}

#[test]
fn the_label_of_a_nodes_template_stays_while_its_startup_taint_does() {
    let without = json!([{ "name": "runc" }]);
    let server = labelled([without.clone(), without.clone(), without]);
    for name in ["node-1", "node-2", "node-3"] {
        server.state().change(&format!("/api/v1/nodes/{name}"), |node| {
            node["spec"]["taints"] =
                json!([{ "key": "runtime.wasi-http/not-ready", "effect": "NoSchedule" }]);
        });
    }
    turn(&server.cluster("node-1"), &Figures::default(), |_| {}).expect("a turn");
    assert_eq!(server.changes(), [""; 0]);
}

#[test]
fn the_series_show_a_rollout_that_stands_still() {
    let server = Server::start();
    server.state().change(LEASE, |lease| {
        lease["spec"] = json!({ "holderIdentity": "node-1", "acquireTime": "2026-01-01T00:00:00.000000Z" });
    });
    let figures = Figures::default();
    turn(&server.cluster("node-1"), &figures, |_| {}).expect("a turn");
    assert!(sample(&figures, "lease_held_seconds") > 0);
    assert_eq!(sample(&figures, "nodes_installing"), 1);
}

fn get(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

#[test]
fn scrapes_and_probes_are_answered_and_all_else_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let figures = Arc::new(Figures::default());
    thread::spawn(move || exporter::serve(&listener, &figures));
    let metrics = get(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(
        metrics.starts_with("HTTP/1.1 200 OK\r\n")
            && metrics.contains("\nwasi_http_installer_nodes_ready 0\n"),
        "{metrics}"
    );
    for right in ["GET /live HTTP/1.1\r\n\r\n", "GET /metrics?timeout=30s HTTP/1.1\r\n\r\n"] {
        assert!(get(address, right).starts_with("HTTP/1.1 200"), "{right}");
    }
    for wrong in ["GET / HTTP/1.1\r\n\r\n", "POST /metrics HTTP/1.1\r\n\r\n", "\r\n\r\n"] {
        assert!(get(address, wrong).starts_with("HTTP/1.1 404"), "{wrong}");
    }
}
