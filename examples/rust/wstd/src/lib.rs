//! A component of `wasi:http@0.2` on wstd, and on bindings of its own for what wstd does not know: settings and stores.

use std::{convert::Infallible, env, hint::black_box};

use futures_lite::stream;
use wstd::{
    http::{Body, Client, Error, Request, Response, StatusCode, body::Bytes},
    time::Duration,
};

wit_bindgen::generate!({
    inline: "
        package examples:wstd;
        world imports {
            import wasi:config/store@0.2.0-draft-2024-09-27;
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
        }
    ",
    path: ["../../../wit/deps/config", "../../../wit/deps/keyvalue"],
    generate_all,
});

use wasi::{
    config::store as config,
    keyvalue::{atomics, store as keyvalue},
};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (behaviour, argument) = path.split_once('/').unwrap_or((&path, ""));
    let number: u64 = argument.parse().unwrap_or_default();
    match behaviour {
        "" => text(StatusCode::OK, "Hello from Rust on wstd"),
        "echo" => {
            let mut response = Response::builder();
            if let Some(kind) = request.headers().get("content-type") {
                response = response.header("content-type", kind);
            }
            Ok(response.body(request.into_body())?)
        }
        "lines" => text(StatusCode::OK, Body::from_try_stream(lines(number))),
        "relay" => relay(request.uri().query().unwrap_or_default()).await,
        "environment" => text(StatusCode::OK, env::var("GREETING")?),
        "setting" => text(StatusCode::OK, config::get("greeting").ok().flatten().unwrap_or_default()),
        "count" => text(StatusCode::OK, count().map_err(|error| Error::msg(format!("{error:?}")))?),
        "sleep" => {
            wstd::task::sleep(Duration::from_millis(number)).await;
            text(StatusCode::OK, "slept")
        }
        "log" => {
            println!("said on stdout");
            eprintln!("said on stderr");
            text(StatusCode::OK, "logged")
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
        _ => text(StatusCode::NOT_FOUND, "no such behaviour"),
    }
}

fn text(status: StatusCode, body: impl Into<Body>) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "text/plain").body(body.into())?)
}

/// Lines, each made when the one before it has gone.
fn lines(count: u64) -> impl stream::Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::iter((0..count).map(|line| Ok(format!("line {line}\n").into())))
}

async fn relay(query: &str) -> Result<Response<Body>, Error> {
    let url = query.strip_prefix("url=").unwrap_or_default();
    match Client::new().send(Request::get(url).body(Body::empty())?).await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let body = answer.into_body().str_contents().await?.to_owned();
            text(StatusCode::OK, format!("{status} {body}"))
        }
        Err(error) => text(StatusCode::BAD_GATEWAY, format!("not fetched: {error}")),
    }
}

fn count() -> Result<String, keyvalue::Error> {
    let bucket = keyvalue::open("default")?;
    Ok(atomics::increment(&bucket, "visits", 1)?.to_string())
}
