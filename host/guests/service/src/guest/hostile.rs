//! Behaviours of a component that tries to exceed its limits or its permissions.

use std::net::ToSocketAddrs as _;

use spin_sdk::{
    wasip3::{
        self,
        clocks::monotonic_clock,
        http::{
            client,
            types::{Fields, Method, Request, Scheme},
        },
        random::random,
    },
    wit_bindgen,
};

use super::{
    bindings::{config, keyvalue},
    hoard::hoard,
};

/// Carries out a behaviour. Returns the result, if the host lets it end.
pub(super) async fn act(what: &str, argument: &str) -> String {
    match what {
        "handles" | "heavy-handles" | "streams" => exhaust_handles(what),
        "hoard" => hoard(argument).await,
        "sleepers" => loop {
            wit_bindgen::spawn(monotonic_clock::wait_for(u64::MAX));
            // Each of them begins to wait.
            monotonic_clock::wait_for(1).await;
        },
        "fields" | "field" => add_fields(what, argument),
        "recursion" => recurse(1).to_string(),
        "panic" => panic!("on purpose"),
        "exit" => std::process::exit(argument.parse().unwrap_or(0)),
        "random" => random::get_random_bytes(argument.parse().unwrap_or(u64::MAX)).len().to_string(),
        "question" => format!("{:?}", config::get(&"x".repeat(argument.parse().unwrap_or(0)))),
        "keys" | "large-key" | "large-value" => fill_store(what, argument),
        "post" => post(argument, b"hello").await,
        "smuggle" => post(argument, b"helloGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n").await,
        "denied" => {
            let (count, authority) = argument.split_once('/').unwrap_or(("0", argument));
            let mut denied = 0;
            for _ in 0..count.parse().unwrap_or(0) {
                denied += usize::from(send(authority, Fields::new(), b"").await.is_err());
            }
            denied.to_string()
        }
        _ => use_system(what, argument).unwrap_or_else(|| format!("nothing hostile about {what:?}")),
    }
}

/// Creates handles in the host until the host refuses.
fn exhaust_handles(what: &str) -> ! {
    let (mut fields, mut streams) = (Vec::new(), Vec::new());
    let line = vec![b'x'; 8 << 10];
    loop {
        match what {
            "handles" => fields.push(std::hint::black_box(Fields::new())),
            "heavy-handles" => {
                let heavy = Fields::new();
                (0..7).for_each(|at| drop(heavy.append(&format!("x-{at}"), &line)));
                fields.push(heavy);
            }
            _ => streams.push(std::hint::black_box(wasip3::wit_stream::new::<u8>())),
        }
    }
}

/// Adds fields without end, or a field that is not valid.
fn add_fields(what: &str, argument: &str) -> String {
    let fields = Fields::new();
    if what == "fields" {
        let line = vec![b'x'; 1 << 10];
        let added = (0..100_000).take_while(|at| fields.append(&format!("x-{at}"), &line).is_ok());
        return added.count().to_string();
    }
    let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
    let name = name.replace("SP", " ");
    let value = value.replace("CR", "\r").replace("LF", "\n").replace("NUL", "\0");
    format!("{:?}", fields.append(&name, value.as_bytes()))
}

/// Writes many keys, a key or a value that is too long.
fn fill_store(what: &str, argument: &str) -> String {
    let bucket = keyvalue::store::open("default").expect("the store is granted");
    match what {
        "keys" => {
            let value = vec![b'v'; 1 << 10];
            let set = |at: usize| bucket.set(&format!("flood:{at}"), &value).is_ok();
            (0..argument.parse().unwrap_or(0)).filter(|at| set(*at)).count().to_string()
        }
        "large-key" => format!("{:?}", bucket.set(&"k".repeat(1 << 20), b"value").is_ok()),
        _ => format!("{:?}", bucket.set("key", &vec![b'v'; 17 << 20]).is_ok()),
    }
}

/// Tries to reach the network, the file system or the environment.
fn use_system(what: &str, argument: &str) -> Option<String> {
    Some(match what {
        "connect" => failed(std::net::TcpStream::connect(argument)),
        "listen" => failed(std::net::TcpListener::bind("0.0.0.0:0")),
        "datagram" => failed(std::net::UdpSocket::bind("0.0.0.0:0")),
        "resolve" => failed((argument, 80).to_socket_addrs().map(|found| found.count())),
        "read" => failed(std::fs::read_to_string(argument)),
        "write" => failed(std::fs::write(argument, "written")),
        "list" => failed(std::fs::read_dir(argument).map(|entries| entries.flatten().count())),
        "environment" => {
            format!("{:?} {:?}", std::env::vars().collect::<Vec<_>>(), std::env::args().collect::<Vec<_>>())
        }
        _ => return None,
    })
}

/// Tells whether an operation of the system succeeded.
fn failed<T: std::fmt::Debug>(result: std::io::Result<T>) -> String {
    match result {
        Ok(got) => format!("got {got:?}"),
        Err(error) => format!("refused {:?}", error.kind()),
    }
}

/// Uses up the call stack, and next to nothing of the guest's own stack in linear memory, which would end first otherwise.
#[expect(unconditional_recursion, reason = "the host has to stop it")]
fn recurse(depth: u64) -> u64 {
    1 + std::hint::black_box(recurse(std::hint::black_box(depth) + 1))
}

/// Sends a body with a `Content-Length` of 5, which may be wrong.
async fn post(authority: &str, body: &'static [u8]) -> String {
    let fields = Fields::new();
    fields.append("content-length", b"5").expect("a length is allowed");
    match send(authority, fields, body).await {
        Ok(status) => format!("status {status}"),
        Err(error) => format!("error {error}"),
    }
}

async fn send(authority: &str, fields: Fields, body: &'static [u8]) -> Result<u16, String> {
    let (mut writer, reader) = wasip3::wit_stream::new();
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let contents = (!body.is_empty()).then_some(reader);
    let (request, _sent) = Request::new(fields, contents, trailers_reader, None);
    let _ = request.set_method(&Method::Post);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some("/"));
    wit_bindgen::spawn(async move {
        if !body.is_empty() {
            writer.write_all(body.to_vec()).await;
        }
        drop(writer);
        let _ = trailers.write(Ok(None)).await;
    });
    let response = client::send(request).await.map_err(|error| format!("{error:?}"))?;
    Ok(response.get_status_code())
}
