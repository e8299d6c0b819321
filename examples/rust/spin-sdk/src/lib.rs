//! A component of `wasi:http@0.2` on the spin-sdk of that generation, with nothing but what WASI's own interfaces offer.

use std::{env, hint::black_box};

use futures::{SinkExt as _, StreamExt as _};
use spin_sdk::{
    http::{Headers, IncomingRequest, OutgoingResponse, Request, Response, ResponseOutparam, send},
    http_component,
    wit::wasi::keyvalue::{atomics, store as keyvalue},
};

#[http_component]
async fn handle(request: IncomingRequest, out: ResponseOutparam) {
    let uri = request.path_with_query().unwrap_or_default();
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    let path = path.trim_start_matches('/');
    let (behaviour, argument) = path.split_once('/').unwrap_or((path, ""));
    let number: u64 = argument.parse().unwrap_or_default();
    match behaviour {
        "" => text(out, 200, "Hello from Rust on spin-sdk").await,
        "echo" => echo(request, out).await,
        "lines" => lines(out, number).await,
        "relay" => relay(out, query.strip_prefix("url=").unwrap_or_default()).await,
        "environment" => text(out, 200, &env::var("GREETING").unwrap_or_default()).await,
        "setting" => text(out, 200, &setting()).await,
        "count" => {
            let bucket = keyvalue::open("default").expect("the manifest grants it");
            let visits = atomics::increment(&bucket, "visits", 1).expect("it is a counter");
            text(out, 200, &visits.to_string()).await;
        }
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_millis(number));
            text(out, 200, "slept").await;
        }
        "log" => {
            println!("said on stdout");
            eprintln!("said on stderr");
            text(out, 200, "logged").await;
        }
        "fail" => panic!("on purpose"),
        "spin" => loop {
            black_box(0);
        },
        "allocate" => {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        _ => text(out, 404, "no such behaviour").await,
    }
}

fn begin(status: u16, content_type: &[u8]) -> OutgoingResponse {
    let headers = Headers::from_list(&[("content-type".to_owned(), content_type.to_vec())]);
    let response = OutgoingResponse::new(headers.expect("the header is valid"));
    response.set_status_code(status).expect("the status is valid");
    response
}

async fn text(out: ResponseOutparam, status: u16, body: &str) {
    let sent = out.set_with_body(begin(status, b"text/plain"), body.as_bytes().to_vec()).await;
    if let Err(error) = sent {
        eprintln!("the client left: {error}");
    }
}

async fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let kind = request.headers().get("content-type").into_iter().next().unwrap_or_default();
    let response = begin(200, &kind);
    let (mut body, mut stream) = (response.take_body(), request.into_body_stream());
    out.set(response);
    while let Some(Ok(chunk)) = stream.next().await {
        if body.send(chunk).await.is_err() {
            break;
        }
    }
}

async fn lines(out: ResponseOutparam, count: u64) {
    let response = begin(200, b"text/plain");
    let mut body = response.take_body();
    out.set(response);
    for line in 0..count {
        if body.send(format!("line {line}\n").into_bytes()).await.is_err() {
            break;
        }
    }
}

async fn relay(out: ResponseOutparam, url: &str) {
    match send::<_, Response>(Request::get(url).build()).await {
        Ok(answer) => {
            let body = format!("{} {}", answer.status(), String::from_utf8_lossy(answer.body()));
            text(out, 200, &body).await;
        }
        Err(error) => text(out, 502, &format!("not fetched: {error}")).await,
    }
}

#[cfg(not(feature = "spin-only"))]
fn setting() -> String {
    spin_sdk::wit::wasi::config::store::get("greeting").ok().flatten().unwrap_or_default()
}

#[cfg(feature = "spin-only")]
fn setting() -> String {
    spin_sdk::variables::get("greeting").unwrap_or_default()
}
