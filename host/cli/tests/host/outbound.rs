//! The egress policy: a guest reaches only the hosts that its manifest or a flag lists.

use std::{net::SocketAddr, path::Path};

use testkit::{
    paths::{guest, scratch},
    ports::listen,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{run, start_app, start_guest};

fn manifest(dir: &Path, allowed: &str) -> std::path::PathBuf {
    let path = dir.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"asking\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"asking\"\n\
         [component.asking]\nsource = {:?}\nallowed_outbound_hosts = [{allowed}]\n",
        guest("service")
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn an_address_that_is_not_listed_is_never_connected_to() {
    let (upstream, address) = listen().await;
    let host = start_guest("service", &[]).await;
    let answer = host.get(&format!("/fetch?{address}")).await;
    assert!(answer.text().contains("HttpRequestDenied"), "{}", answer.text());
    let listed = manifest(&scratch("outbound-private"), "\"http://*:*\"");
    let host = start_app(&listed, &[], &[]).await;
    // The wildcard lists any name. A private address is reached only if the address itself is listed.
    let answer = host.get(&format!("/fetch?{address}")).await;
    assert!(answer.text().contains("DestinationIpProhibited"), "{}", answer.text());
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), upstream.accept()).await;
    assert!(nobody.is_err(), "a connection was made");
}

/// An upstream that responds to one request.
async fn upstream() -> SocketAddr {
    let (upstream, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    });
    address
}

#[tokio::test]
async fn a_bare_component_reaches_what_flags_list() {
    let address = upstream().await;
    // As in a pod, all settings are environment variables.
    let environment = [
        ("WASI_HTTP_HOST_ALLOWED_OUTBOUND_HOST", "https://api.example, {{ upstream_url }}"),
        ("WASI_HTTP_HOST_VAR", "upstream_url, other"),
        ("UPSTREAM_URL", &format!("http://{address}")),
    ];
    let host = start_app(&guest("service"), &[], &environment).await;
    assert_eq!(host.get(&format!("/fetch?{address}")).await.text(), "status 204");
    let answer = host.get("/fetch?127.0.0.1:1").await;
    assert!(answer.text().contains("HttpRequestDenied"), "{}", answer.text());
}

#[test]
fn an_entry_whose_variable_has_no_value_stops_the_start() {
    let service = guest("service");
    let args =
        ["serve", service.to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let flags = ["--no-cache", "--allowed-outbound-host", "{{ upstream_url }}"];
    for var in [&[][..], &["--var", "upstream_url"]] {
        let output = run(&[&args[..], &flags, var].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains("upstream_url"), "{message}");
    }
}

#[tokio::test]
async fn an_address_that_is_listed_is_reached() {
    let address = upstream().await;
    let listed = manifest(&scratch("outbound-listed"), &format!("\"http://{address}\""));
    let host = start_app(&listed, &[], &[]).await;
    assert_eq!(host.get(&format!("/fetch?{address}")).await.text(), "status 204");
}

#[tokio::test]
async fn a_component_of_the_generation_before_is_held_to_the_same() {
    let address = upstream().await;
    let host =
        start_guest("proxy", &["--allowed-outbound-host", &format!("http://{address},http://*")]).await;
    assert_eq!(host.get(&format!("/fetch/{address}")).await.text(), "status 204");
    for (authority, error) in [
        ("example.com:81", "HttpRequestDenied"),
        ("10.0.0.1", "DestinationIpProhibited"),
        ("2852039166", "DestinationIpProhibited"),
        ("me@example.com", "HttpRequestUriInvalid"),
    ] {
        let answer = host.get(&format!("/fetch/{authority}")).await;
        assert!(answer.text().contains(error), "{authority}: {}", answer.text());
    }
}
