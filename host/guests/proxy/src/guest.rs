//! The proxy: finds the behaviour that a path names.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasip2::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler,
        types::{
            Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
            Scheme,
        },
    },
    io::poll::poll,
};

mod files;

wasip2::http::proxy::export!(Proxy);

struct Proxy;

/// Bytes of the largest chunk of a filling body.
const CHUNK: usize = 64 << 10;

static SERVED: AtomicUsize = AtomicUsize::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Proxy {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (behaviour, argument) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let (argument, query) = argument.split_once('?').unwrap_or((argument, ""));
        let number: u64 = argument.parse().unwrap_or(0);
        match behaviour {
            "hello" => answer(out, 200, &[format!("hello {argument}").as_bytes()]),
            "chunks" => answer(out, 200, &vec![&b"chunk\n"[..]; usize::try_from(number).unwrap_or_default()]),
            "scheme" => answer(out, 200, &[format!("{:?}", request.scheme()).as_bytes()]),
            // How many requests this instance has received.
            "served" => answer(out, 200, &[(SERVED.fetch_add(1, Relaxed) + 1).to_string().as_bytes()]),
            // An instance answers its first request only. Its later requests get no answer, in the way that is asked for.
            "once" => match (SERVED.fetch_add(1, Relaxed), argument) {
                (0, _) => answer(out, 200, &[b"once"]),
                (_, "hang") => monotonic_clock::subscribe_duration(u64::MAX).block(),
                (_, "trap") => core::arch::wasm32::unreachable(),
                _ => drop(out),
            },
            // Returns with an incomplete body, which is neither finished nor dropped.
            "unfinished" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().expect("the body is taken once");
                ResponseOutparam::set(out, Ok(response));
                let stream = body.write().expect("the stream is taken once");
                stream.blocking_write_and_flush(b"begun").expect("the client reads");
                std::mem::forget((stream, body));
            }
            // Writes until the client has read nothing for this many milliseconds, and finishes the body. Then it says so.
            "fill" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().expect("the body is taken once");
                ResponseOutparam::set(out, Ok(response));
                let stream = body.write().expect("the stream is taken once");
                let writable = stream.subscribe();
                loop {
                    let room = usize::try_from(stream.check_write().expect("the client reads"));
                    if room == Ok(0) {
                        let unread = monotonic_clock::subscribe_duration(number * 1_000_000);
                        if !poll(&[&writable, &unread]).contains(&0) {
                            break;
                        }
                        continue;
                    }
                    let chunk = vec![b'x'; room.map_or(CHUNK, |room| room.min(CHUNK))];
                    stream.write(&chunk).expect("there is room");
                }
                drop((writable, stream));
                OutgoingBody::finish(body, None).expect("the body ends once");
                println!("filled");
            }
            "sleep" => {
                monotonic_clock::subscribe_duration(number * 1_000_000).block();
                answer(out, 200, &[b"slept"]);
            }
            "spin" => loop {
                std::hint::black_box(0);
            },
            "trap" => core::arch::wasm32::unreachable(),
            "short" => lying(out, 100, b"only this"),
            "long" => lying(out, 4, b"more than was announced"),
            "silent" => drop(out),
            "fetch" => answer(out, 200, &[fetch(argument).as_bytes()]),
            "fetch-after" => {
                monotonic_clock::subscribe_duration(number * 1_000_000).block();
                answer(out, 200, &[fetch(query).as_bytes()]);
            }
            "descriptors" | "listings" => {
                answer(out, 200, &[files::act(behaviour, number, query).as_bytes()]);
            }
            "count-entries" => answer(out, 200, &[files::count().as_bytes()]),
            _ => answer(out, 404, &[b"no such behaviour"]),
        }
    }
}

/// Requests `http://{authority}/{path}`. Returns the response's status, or the error.
fn fetch(target: &str) -> String {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    let response = match outgoing_handler::handle(request, None) {
        Ok(response) => response,
        Err(error) => return format!("error {error:?}"),
    };
    response.subscribe().block();
    match response.get() {
        Some(Ok(Ok(response))) => format!("status {}", response.status()),
        other => format!("error {other:?}"),
    }
}

/// Sends a body whose length differs from `Content-Length`.
fn lying(out: ResponseOutparam, announced: usize, bytes: &[u8]) {
    let fields = Fields::from_list(&[("content-length".to_owned(), announced.to_string().into_bytes())]);
    let response = OutgoingResponse::new(fields.expect("the field is valid"));
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    // Writing may fail, because the length is wrong.
    let _ = stream.blocking_write_and_flush(bytes);
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn answer(out: ResponseOutparam, status: u16, chunks: &[&[u8]]) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("the status is valid");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    for chunk in chunks {
        stream.blocking_write_and_flush(chunk).expect("the client reads");
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("the body ends once");
}
