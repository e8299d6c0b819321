//! A guest reaches what its manifest lists, and nothing else.

use std::path::Path;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::harness::{Host, guest, scratch};

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
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    let host = Host::start("service", &[]);
    let answer = host.get(&format!("/fetch?{address}")).await;
    assert!(answer.text().contains("HttpRequestDenied"), "{}", answer.text());
    let listed = manifest(&scratch("outbound-private"), "\"http://*:*\"");
    let host = Host::serve(&listed, &[], &[]);
    // Any name is listed, but a private address is only reached where it is listed itself.
    let answer = host.get(&format!("/fetch?{address}")).await;
    assert!(answer.text().contains("DestinationIpProhibited"), "{}", answer.text());
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), upstream.accept()).await;
    assert!(nobody.is_err(), "somebody connected");
}

#[tokio::test]
async fn an_address_that_is_listed_is_reached() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    });
    let listed = manifest(&scratch("outbound-listed"), &format!("\"http://{address}\""));
    let host = Host::serve(&listed, &[], &[]);
    assert_eq!(host.get(&format!("/fetch?{address}")).await.text(), "status 204");
}
