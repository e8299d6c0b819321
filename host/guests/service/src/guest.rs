use std::{cell::Cell, time::Duration};

use spin_sdk::{
    wasip3::{
        self,
        clocks::monotonic_clock,
        http::client,
        http::types::{ErrorCode, Fields, Method, Request, Response, Scheme},
    },
    wit_bindgen,
};

#[path = "earlier.rs"]
mod earlier;
#[path = "hostile.rs"]
mod hostile;

mod bindings {
    spin_sdk::wit_bindgen::generate!({
        world: "imports",
        path: "../../../wit",
        runtime_path: "spin_sdk::wit_bindgen::rt",
        generate_all,
    });
}

use bindings::wasi::{config::store as config, keyvalue};

wasip3::http::service::export!(Service);

struct Service;

thread_local! {
    /// Requests that this instance has been given.
    static SERVED: Cell<u32> = const { Cell::new(0) };
}

impl wasip3::exports::http::handler::Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        SERVED.set(SERVED.get() + 1);
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (behaviour, argument) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let number = argument.parse().unwrap_or(0);
        match behaviour {
            "hello" => Ok(text(format!("hello {argument}"))),
            "served" => Ok(text(SERVED.get().to_string())),
            "method" => Ok(text(format!("{:?}", request.get_method()))),
            "target" => Ok(text(format!(
                "{:?} {} {target}",
                request.get_scheme(),
                request.get_authority().unwrap_or_default()
            ))),
            "headers" => {
                let lines = request.get_headers().copy_all().into_iter();
                Ok(text(
                    lines
                        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(&value)))
                        .collect::<String>(),
                ))
            }
            "status" => {
                let response = text(argument);
                let _ = response.set_status_code(argument.parse().unwrap_or(500));
                Ok(response)
            }
            "bytes" => Ok(sized(&vec![b'x'; number])),
            "chunks" => Ok(chunked(number, Duration::ZERO)),
            "drip" => Ok(chunked(number, Duration::from_millis(20))),
            "echo" => Ok(echo(request)),
            "count-body" => {
                Ok(text(read_all(request).await.map_or_else(|e| format!("error {e:?}"), |n| n.to_string())))
            }
            "trailers" => Ok(trailers(request).await),
            "sleep" => {
                wait(number as u64).await;
                Ok(text("slept"))
            }
            "spin" => loop {
                std::hint::black_box(0);
            },
            "grow" => grow(),
            "trap" => core::arch::wasm32::unreachable(),
            "error" => Err(match argument {
                "internal" => ErrorCode::InternalError(Some("the guest's own secret".to_owned())),
                _ => ErrorCode::ConnectionRefused,
            }),
            "hang" => loop {
                wait(3_600_000).await;
            },
            "stall" => Ok(stalled()),
            "endless" => Ok(endless()),
            "short" => Ok(lying(&[("content-length", "100")], b"only this")),
            "long" => Ok(lying(&[("content-length", "4")], b"more than was announced")),
            "forge" => Ok(forge(argument)),
            "cut" => Ok(cut()),
            "interim" => {
                let response = text("");
                let _ = response.set_status_code(103);
                Ok(response)
            }
            "print" => {
                println!("printed {argument}");
                eprintln!("complained {argument}");
                Ok(text("printed"))
            }
            "flood" => {
                for _ in 0..number {
                    println!("{}", "flood ".repeat(200));
                }
                Ok(text("flooded"))
            }
            "background" => {
                work_behind(number as u64);
                Ok(text("started"))
            }
            "slow-background" => {
                work_behind(number as u64);
                println!("begun");
                wait(60_000).await;
                Ok(text("slept"))
            }
            "spin-later" => {
                wit_bindgen::spawn(async move {
                    wait(number as u64).await;
                    loop {
                        std::hint::black_box(0);
                    }
                });
                Ok(text("started"))
            }
            "get" => {
                let bucket = keyvalue::store::open("default").expect("the store is granted");
                let value = bucket.get(argument).expect("the store answers").unwrap_or_default();
                Ok(text(String::from_utf8_lossy(&value)))
            }
            "keyvalue" => Ok(text(keyvalue_call(argument, query))),
            "config" => Ok(text(format!("{:?}", config::get(argument)))),
            // What another answers: `/ask?{authority}/{path}`.
            "ask" => Ok(text(ask(query).await)),
            // Takes a response, and never looks at it.
            "forget" => {
                let response = client::send(question(query)).await;
                Ok(text(response.map_or_else(
                    |error| format!("error {error:?}"),
                    |response| {
                        std::mem::forget(response);
                        "forgotten".to_owned()
                    },
                )))
            }
            // Asks itself again and again, by the name `argument`.
            "loop" => Ok(text(ask(&format!("{argument}/loop/{argument}")).await)),
            // The same two by the client of WASI 0.2.
            "ask-earlier" => Ok(text(earlier::ask(query).await)),
            "loop-earlier" => Ok(text(earlier::ask(&format!("{argument}/loop-earlier/{argument}")).await)),
            "fetch" => {
                wait(number as u64).await;
                Ok(text(fetch(query, None).await))
            }
            "fetch-as" => Ok(text(fetch(query, Some(argument)).await)),
            "fetch-later" => {
                let target = query.to_owned();
                wit_bindgen::spawn(async move {
                    wait(number as u64).await;
                    fetch(&target, None).await;
                });
                Ok(text("started"))
            }
            "hostile" => Ok(text(hostile::act(argument, query).await)),
            _ => {
                let response = text(format!("no behaviour {behaviour:?}"));
                let _ = response.set_status_code(404);
                Ok(response)
            }
        }
    }
}

/// `{operation}/{store}/{key}`, keys with commas between them where there may be several; what came of it, as Rust shows it.
fn keyvalue_call(call: &str, value: &str) -> String {
    let mut parts = call.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let (operation, store, key) = (next(), next(), next());
    let keys: Vec<String> = key.split(',').map(str::to_owned).collect();
    let utf8 = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let bucket = match keyvalue::store::open(&store) {
        Ok(bucket) => bucket,
        Err(error) => return format!("{error:?}"),
    };
    match &*operation {
        "get" => format!("{:?}", bucket.get(&key).map(|value| value.map(utf8))),
        "set" => format!("{:?}", bucket.set(&key, value.as_bytes())),
        "delete" => format!("{:?}", bucket.delete(&key)),
        "exists" => format!("{:?}", bucket.exists(&key)),
        "increment" => {
            format!("{:?}", keyvalue::atomics::increment(&bucket, &key, value.parse().unwrap_or(1)))
        }
        // Lost where another writer came between.
        "append" => match keyvalue::atomics::Cas::new(&bucket, &key) {
            Ok(cas) => {
                let mut now = cas.current().ok().flatten().unwrap_or_default();
                now.extend_from_slice(value.as_bytes());
                match keyvalue::atomics::swap(cas, &now) {
                    Ok(()) => "Ok(())".to_owned(),
                    Err(keyvalue::atomics::CasError::CasFailed(_)) => "lost".to_owned(),
                    Err(keyvalue::atomics::CasError::StoreError(error)) => format!("Err({error:?})"),
                }
            }
            Err(error) => format!("Err({error:?})"),
        },
        "get-many" => {
            let values = keyvalue::batch::get_many(&bucket, &keys);
            let values =
                values.map(|all| all.into_iter().map(|pair| (pair.0, pair.1.map(utf8))).collect::<Vec<_>>());
            format!("{values:?}")
        }
        "set-many" => {
            let pairs: Vec<_> = keys.into_iter().map(|key| (key, value.as_bytes().to_vec())).collect();
            format!("{:?}", keyvalue::batch::set_many(&bucket, &pairs))
        }
        "delete-many" => format!("{:?}", keyvalue::batch::delete_many(&bucket, &keys)),
        "list" => match bucket.list_keys(None) {
            Ok(page) => format!("{:?}", page.keys),
            Err(error) => format!("{error:?}"),
        },
        _ => format!("no operation {operation:?}"),
    }
}

async fn wait(ms: u64) {
    monotonic_clock::wait_for(ms * 1_000_000).await;
}

/// Goes on after the response, and leaves a note.
fn work_behind(ms: u64) {
    wit_bindgen::spawn(async move {
        wait(ms).await;
        let bucket = keyvalue::store::open("default").expect("the store is granted");
        bucket.set("background", b"done").expect("the store takes it");
    });
}

fn text(body: impl AsRef<str>) -> Response {
    sized(body.as_ref().as_bytes())
}

fn sized(body: &[u8]) -> Response {
    let length = body.len().to_string();
    lying(&[("content-length", &length)], body)
}

/// A response with these headers and this body, whether they agree or not.
fn lying(headers: &[(&str, &str)], body: &[u8]) -> Response {
    let body = body.to_vec();
    streamed(headers, async move |mut writer| {
        writer.write_all(body).await;
    })
}

/// A response with a field that tries to be more than one, to end the head, or to speak for the connection; or a word
/// that it cannot be made.
fn forge(what: &str) -> Response {
    let (name, value): (&str, &[u8]) = match what {
        "crlf" => ("x-forged", b"a\r\nx-injected: 1"),
        "lf" => ("x-forged", b"a\nx-injected: 1"),
        "cr" => ("x-forged", b"a\rx-injected: 1"),
        "nul" => ("x-forged", b"a\0b"),
        "head" => ("x-forged", b"a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        "name" => ("x-forged: 1\r\nx-injected", b"1"),
        "space" => ("x-injected ", b"1"),
        "length" => ("content-length", b"+6"),
        "lengths" => ("content-length", b"6, 6"),
        "id" => ("x-request-id", b"x-injected"),
        name => (name, b"x-injected"),
    };
    let mut fields = vec![("content-length".to_owned(), b"forged".len().to_string().into_bytes())];
    fields.push((name.to_owned(), value.to_vec()));
    match Fields::from_list(&fields) {
        Ok(fields) => with_fields(fields, async move |mut writer| {
            writer.write_all(b"forged".to_vec()).await;
        }),
        Err(error) => text(format!("refused {error:?}")),
    }
}

fn streamed(
    headers: &[(&str, &str)],
    write: impl AsyncFnOnce(wit_bindgen::StreamWriter<u8>) + 'static,
) -> Response {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    with_fields(Fields::from_list(&headers).expect("the fields are valid"), write)
}

fn with_fields(fields: Fields, write: impl AsyncFnOnce(wit_bindgen::StreamWriter<u8>) + 'static) -> Response {
    let (writer, reader) = wasip3::wit_stream::new();
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields, Some(reader), trailers_reader);
    wit_bindgen::spawn(async move {
        write(writer).await;
        let _ = trailers.write(Ok(None)).await;
    });
    response
}

fn chunked(count: usize, pause: Duration) -> Response {
    streamed(&[], async move |mut writer| {
        for at in 0..count {
            let chunk = format!("chunk {at}\n").into_bytes();
            if !writer.write_all(chunk).await.is_empty() {
                return;
            }
            if !pause.is_zero() {
                wait(u64::try_from(pause.as_millis()).unwrap_or_default()).await;
            }
        }
    })
}

/// Begins a body and never goes on.
fn stalled() -> Response {
    streamed(&[], async move |mut writer| {
        writer.write_all(b"begun".to_vec()).await;
        wait(3_600_000).await;
    })
}

/// Writes for as long as anybody reads.
fn endless() -> Response {
    streamed(&[], async move |mut writer| while writer.write_all(vec![b'e'; 64 << 10]).await.is_empty() {})
}

/// Traps in the middle of a body that announced no length.
fn cut() -> Response {
    streamed(&[], async move |mut writer| {
        writer.write_all(b"the first half".to_vec()).await;
        wait(20).await;
        core::arch::wasm32::unreachable()
    })
}

/// Sends the request's body back as it comes.
fn echo(request: Request) -> Response {
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, _trailers) = Request::consume_body(request, result);
    streamed(&[], async move |mut writer| {
        loop {
            let (status, bytes) = body.read(Vec::with_capacity(16 << 10)).await;
            if !writer.write_all(bytes).await.is_empty()
                || matches!(status, wit_bindgen::StreamResult::Dropped)
            {
                return;
            }
        }
    })
}

/// The length of the request's body.
async fn read_all(request: Request) -> Result<usize, ErrorCode> {
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, trailers) = Request::consume_body(request, result);
    let mut length = 0;
    loop {
        let (status, bytes) = body.read(Vec::with_capacity(64 << 10)).await;
        length += bytes.len();
        if matches!(status, wit_bindgen::StreamResult::Dropped) {
            break;
        }
    }
    trailers.await.map(|_| length)
}

/// Tells the request's trailers, and sends them back as its own.
async fn trailers(request: Request) -> Response {
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, trailers) = Request::consume_body(request, result);
    while !matches!(body.read(Vec::with_capacity(16 << 10)).await.0, wit_bindgen::StreamResult::Dropped) {}
    let received = match trailers.await {
        Ok(received) => received.map(|fields| fields.copy_all()).unwrap_or_default(),
        Err(error) => return text(format!("error {error:?}")),
    };
    let (mut writer, reader) = wasip3::wit_stream::new();
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(reader), trailers_reader);
    wit_bindgen::spawn(async move {
        writer.write_all(format!("{} received", received.len()).into_bytes()).await;
        drop(writer);
        let fields = Fields::from_list(&received).expect("they were fields before");
        let _ = trailers.write(Ok(Some(fields))).await;
    });
    response
}

/// Takes memory until there is none.
fn grow() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

/// A request of `http://{authority}/{path}`.
fn question(target: &str) -> Request {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let (_, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let _ = request.set_method(&Method::Get);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    request
}

/// Asks `http://{target}` and gives the answer's status and text, or what came of it instead.
async fn ask(target: &str) -> String {
    let response = match client::send(question(target)).await {
        Ok(response) => response,
        Err(error) => return format!("error {error:?}"),
    };
    let status = response.get_status_code();
    let (_, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut body, _trailers) = Response::consume_body(response, result);
    let mut all = Vec::new();
    loop {
        let (state, bytes) = body.read(Vec::with_capacity(16 << 10)).await;
        all.extend(bytes);
        if matches!(state, wit_bindgen::StreamResult::Dropped) {
            return format!("{status} {}", String::from_utf8_lossy(&all));
        }
    }
}

/// Asks `http://{authority}/{path}`, as a child of `parent` if there is one, and tells what came of it.
async fn fetch(target: &str, parent: Option<&str>) -> String {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let (_, trailers) = wasip3::wit_future::new(|| Ok(None));
    let headers = Fields::new();
    if let Some(parent) = parent {
        headers.append("traceparent", parent.as_bytes()).expect("the header is valid");
    }
    let (request, _sent) = Request::new(headers, None, trailers, None);
    let _ = request.set_method(&Method::Get);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    match client::send(request).await {
        Ok(response) => format!("status {}", response.get_status_code()),
        Err(error) => format!("error {error:?}"),
    }
}
