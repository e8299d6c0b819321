//! Interim responses to a request that a component forwards.

use testkit::{Host, http::Connection, paths::guest, ports::listen};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::start_app;

const HINTS: &[u8] =
    b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nkeep-alive: a\r\n\r\n";
const FINAL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal";
const REQUEST: &[u8] = b"GET /page HTTP/1.1\r\nhost: a\r\n\r\n";

async fn start(flags: &[&str]) -> (Host, TcpListener) {
    let (origin, address) = listen().await;
    let (setting, allowed) = (format!("origin={address}"), format!("http://{address}"));
    let own = ["--var", &setting, "--allowed-outbound-host", &allowed];
    (start_app(&guest("forwarder"), &[&own, flags].concat(), &[]).await, origin)
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
    }
}

/// Reads until the client has received `end`, and returns everything.
async fn read_until(client: &mut Connection, end: &str) -> String {
    let mut received = Vec::new();
    while !received.ends_with(end.as_bytes()) {
        assert_ne!(client.stream().read_buf(&mut received).await.unwrap(), 0);
    }
    String::from_utf8(received).unwrap()
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    let (host, origin) = start(&["--relay-interim-responses"]).await;
    let mut client = host.connect().await;
    client.write(REQUEST).await.unwrap();
    let (mut stream, _) = origin.accept().await.unwrap();
    for _ in 0..2 {
        read_head(&mut stream).await;
        stream.write_all(HINTS).await.unwrap();
        // The origin waits until the client has them.
        let interim = read_until(&mut client, "</a.css>\r\n\r\n").await;
        assert_eq!(
            interim,
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
        );
        stream.write_all(FINAL).await.unwrap();
        let response = read_until(&mut client, "final").await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && !response.contains("link"), "{response}");
        // The second time, on the same connections.
        client.write(REQUEST).await.unwrap();
    }
    // All at once, and the next request behind it.
    read_head(&mut stream).await;
    client.write(REQUEST).await.unwrap();
    stream.write_all(&[HINTS, FINAL].concat()).await.unwrap();
    let response = read_until(&mut client, "final").await;
    assert!(response.contains("103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK"), "{response}");
    read_head(&mut stream).await;
    stream.write_all(FINAL).await.unwrap();
    assert!(read_until(&mut client, "final").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn without_the_flag_and_for_older_clients_there_are_none() {
    for (flags, version) in [(&[][..], "1.1"), (&["--relay-interim-responses"], "1.0")] {
        let (host, origin) = start(flags).await;
        let mut client = host.connect().await;
        client.write(format!("GET /page HTTP/{version}\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let (mut stream, _) = origin.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(&[HINTS, FINAL].concat()).await.unwrap();
        let response = read_until(&mut client, "final").await;
        assert!(response.starts_with(&format!("HTTP/{version} 200 OK\r\n")), "{response}");
    }
}
