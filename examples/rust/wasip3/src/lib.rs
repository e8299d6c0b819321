//! A component of `wasi:http@0.3` on the bindings of the standard alone: no framework. One instance answers many requests at once, each
//! a task of its own.

use std::{env, hint::black_box};

use wasip3::{
    clocks::monotonic_clock,
    http::{
        client,
        types::{ErrorCode, Fields, Request, Response, Scheme},
    },
    wit_bindgen::{StreamReader, StreamResult, StreamWriter},
};

wit_bindgen::generate!({
    inline: "
        package examples:wasip3;
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

/// How many bytes of a body are read at once.
const CHUNK: usize = 64 << 10;

wasip3::http::service::export!(Handler);

struct Handler;

impl wasip3::exports::http::handler::Guest for Handler {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let path = path.trim_start_matches('/');
        let (behaviour, argument) = path.split_once('/').unwrap_or((path, ""));
        let number: u64 = argument.parse().unwrap_or_default();
        match behaviour {
            "" => text(200, "Hello from Rust on WASI 0.3"),
            "echo" => echo(request),
            "lines" => lines(number),
            "relay" => relay(query.strip_prefix("url=").unwrap_or_default()).await,
            "environment" => text(200, env::var("GREETING").unwrap_or_default()),
            "setting" => text(200, config::get("greeting").ok().flatten().unwrap_or_default()),
            "count" => match count() {
                Ok(visits) => text(200, visits.to_string()),
                Err(error) => text(500, format!("{error:?}")),
            },
            "sleep" => {
                monotonic_clock::wait_for(number.saturating_mul(1_000_000)).await;
                text(200, "slept")
            }
            "log" => {
                println!("said on stdout");
                eprintln!("said on stderr");
                text(200, "logged")
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
            _ => text(404, "no such behaviour"),
        }
    }
}

/// A response whose body `write` writes, in a task that goes on after the response's head has been sent.
fn respond<F>(
    status: u16,
    content_type: &[u8],
    write: impl FnOnce(StreamWriter<u8>) -> F,
) -> Result<Response, ErrorCode>
where
    F: Future<Output = ()> + 'static,
{
    let headers = Fields::from_list(&[("content-type".to_owned(), content_type.to_vec())])
        .map_err(|error| ErrorCode::InternalError(Some(format!("{error:?}"))))?;
    let (writer, body) = wasip3::wit_stream::new();
    let (_no_trailers, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(body), trailers);
    response
        .set_status_code(status)
        .map_err(|()| ErrorCode::InternalError(Some(format!("no status: {status}"))))?;
    wasip3::spawn(write(writer));
    Ok(response)
}

fn text(status: u16, body: impl Into<Vec<u8>>) -> Result<Response, ErrorCode> {
    let body = body.into();
    respond(status, b"text/plain", |mut writer| async move {
        // What is left over, the client did not want.
        writer.write_all(body).await;
    })
}

fn echo(request: Request) -> Result<Response, ErrorCode> {
    let content_type = request.get_headers().get("content-type").into_iter().next();
    let (_received, received) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, _trailers) = Request::consume_body(request, received);
    respond(200, &content_type.unwrap_or_default(), |mut writer| async move {
        while let Some(chunk) = read(&mut body).await {
            if !writer.write_all(chunk).await.is_empty() {
                return;
            }
        }
    })
}

/// Lines, each made when the one before it has gone.
fn lines(count: u64) -> Result<Response, ErrorCode> {
    respond(200, b"text/plain", move |mut writer| async move {
        for line in 0..count {
            if !writer.write_all(format!("line {line}\n").into_bytes()).await.is_empty() {
                return;
            }
        }
    })
}

async fn relay(url: &str) -> Result<Response, ErrorCode> {
    match fetch(url).await {
        Ok((status, body)) => text(200, [format!("{status} ").into_bytes(), body].concat()),
        Err(error) => text(502, format!("not fetched: {error:?}")),
    }
}

/// The status and the body at a URL.
async fn fetch(url: &str) -> Result<(u16, Vec<u8>), ErrorCode> {
    let (scheme, rest) = url.split_once("://").ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (_no_trailers, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)))
        .map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (_received, received) = wasip3::wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Response::consume_body(response, received);
    let mut body = Vec::new();
    while let Some(chunk) = read(&mut stream).await {
        body.extend(chunk);
    }
    // The trailers tell whether the body is whole.
    trailers.await?;
    Ok((status, body))
}

/// The next bytes of a body; `None` at its end.
async fn read(body: &mut StreamReader<u8>) -> Option<Vec<u8>> {
    match body.read(Vec::with_capacity(CHUNK)).await {
        (StreamResult::Complete(_), chunk) => Some(chunk),
        (StreamResult::Dropped | StreamResult::Cancelled, _) => None,
    }
}

fn count() -> Result<i64, keyvalue::Error> {
    let bucket = keyvalue::open("default")?;
    atomics::increment(&bucket, "visits", 1)
}
