//! The client of the API server: token, refusals, retries.

use std::fs;

use wasi_http_installer::{api::Api, error::Error};

use crate::{
    nodes::{ETC, TestNode, fixture},
    server::Server,
};

fn removed(server: &Server) -> Result<(), Error> {
    let node = TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.installation(Some(server.cluster("node-1"))).remove(std::time::Duration::ZERO)
}

#[test]
fn each_request_has_the_token_that_the_file_has_then() {
    let server = Server::start();
    let token = server.account.path().join("token");
    server.hook(move |state, _| {
        if state.requests.len() == 1 {
            fs::write(&token, "renewed\n").expect("a token");
        }
    });
    removed(&server).expect("removed");
    let requests = server.state().requests.clone();
    assert!(requests[0].head.contains("authorization: bearer secret\r\n"), "{}", requests[0].head);
    assert!(
        requests[0].head.contains("content-type: application/merge-patch+json\r\n"),
        "{}",
        requests[0].head
    );
    assert!(requests[1].head.contains("authorization: bearer renewed\r\n"), "{}", requests[1].head);
}

#[test]
fn a_request_is_retried_when_the_server_is_overloaded() {
    let server = Server::start();
    server.state().refusals.push_back("503 Service Unavailable");
    removed(&server).expect("removed");
    assert_eq!(server.changes().len(), 2);
}

#[test]
fn a_refusal_is_not_retried_and_the_error_names_the_node_and_the_reason() {
    let server = Server::start();
    server.state().refusals.push_back("403 Forbidden");
    let error = removed(&server).expect_err("refused").to_string();
    assert!(
        error.contains("PATCH") && error.contains("node-1") && error.contains("403 Forbidden: because"),
        "{error}"
    );
    assert_eq!(server.changes().len(), 1);
}

#[test]
fn a_server_of_another_certificate_authority_does_not_get_the_token() {
    let (server, other) = (Server::start(), Server::start());
    let node = TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    let cluster = wasi_http_installer::cluster::Cluster {
        api: server.api_with(&other.account),
        ..server.cluster("node-1")
    };
    let error =
        node.installation(Some(cluster)).remove(std::time::Duration::ZERO).expect_err("refused").to_string();
    assert!(error.contains("node-1") && error.contains("certificate"), "{error}");
    assert!(server.state().requests.is_empty());
}

#[test]
fn without_a_service_account_the_error_names_the_missing_file() {
    let empty = tempfile::tempdir().expect("a directory");
    let error = Api::at("127.0.0.1", "443", empty.path()).expect_err("refused").to_string();
    assert!(error.contains("ca.crt"), "{error}");
    let server = Server::start();
    fs::copy(server.account.path().join("ca.crt"), empty.path().join("ca.crt")).expect("authorities");
    let error = Api::at("127.0.0.1", "443", empty.path()).expect_err("refused").to_string();
    assert!(error.contains("token"), "{error}");
}
