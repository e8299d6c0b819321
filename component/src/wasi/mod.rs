//! The binding to WASI: the only place that knows it, and only compiled for it.
//!
//! Raw bindings rather than `spin_sdk`'s `http_service`: that copies all headers in and out, for some 5 µs a request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::time::Duration;

use spin_sdk::wasip3;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response};
use spin_sdk::wit_bindgen;

use crate::ports::{Bells, Clock, Configuration, Log, Random, Spawn};
use crate::response::{Body, Head};
use crate::service::{self, App, Behind};
use bindings::wasi::config::store as config;

mod fetch;
mod request;
mod store;

mod bindings {
    spin_sdk::wit_bindgen::generate!({
        world: "imports",
        path: "../wit",
        runtime_path: "spin_sdk::wit_bindgen::rt",
        generate_all,
    });
}

/// What this instance keeps between requests: nothing that matters, everything that saves time.
struct Instance {
    app: Rc<App<Wasi>>,
    heads: Heads,
}

thread_local! {
    static INSTANCE: Rc<Instance> =
        Rc::new(Instance { app: Rc::new(App::new(Wasi::default())), heads: Heads::default() });
}

struct Component;

wasip3::http::service::export!(Component);

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let instance = INSTANCE.with(Rc::clone);
        let (answer, behind) = service::handle(&instance.app, &request::Incoming::new(request)).await;
        let fields = instance.heads.fields(&answer.head)?;
        respond(answer.head.status(), fields, answer.body, behind)
    }
}

/// A response whose body is written after it has been handed over, and then what is `behind` it done.
fn respond(status: u16, fields: Fields, body: Body, behind: Behind<Wasi>) -> Result<Response, ErrorCode> {
    let (trailers, trailers_reader) = wasip3::wit_future::new(|| Ok(None));
    let (writer, reader) = match body {
        body if body.is_empty() => (None, None),
        body => {
            let (writer, reader) = wasip3::wit_stream::new();
            (Some((writer, body)), Some(reader))
        }
    };
    let (response, _transmission) = Response::new(fields, reader, trailers_reader);
    if status != 200 {
        response
            .set_status_code(status)
            .map_err(|()| ErrorCode::InternalError(Some(format!("{status} is no status"))))?;
    }
    match writer {
        None => {
            drop(trailers);
            if !behind.is_nothing() {
                wit_bindgen::spawn(behind.run());
            }
        }
        Some((mut writer, body)) => wit_bindgen::spawn(async move {
            // What is left over belongs to a client that has gone.
            let _ = writer.write_all(body.into_bytes()).await;
            drop(writer);
            let _ = trailers.write(Ok(None)).await;
            behind.run().await;
        }),
    }
    Ok(response)
}

/// Headers that the host already holds: cloning them there is cheaper than lowering a dozen strings again.
#[derive(Default)]
struct Heads {
    known: RefCell<HashMap<Head, Fields, BuildHasherDefault<DefaultHasher>>>,
}

impl Heads {
    /// How many are kept; then all are forgotten. `Age` makes new ones every second.
    const MAX: usize = 256;

    fn fields(&self, head: &Head) -> Result<Fields, ErrorCode> {
        let mut known = self.known.borrow_mut();
        if let Some(fields) = known.get(head) {
            return Ok(fields.clone());
        }
        let mut list = Vec::with_capacity(16);
        head.headers(|name, value| list.push((name.to_owned(), value.as_bytes().to_vec())));
        let fields = Fields::from_list(&list)
            .map_err(|error| ErrorCode::InternalError(Some(format!("response headers: {error:?}"))))?;
        if head.is_repeatable() {
            if known.len() >= Self::MAX {
                known.clear();
            }
            known.insert(head.clone(), fields.clone());
        }
        Ok(fields)
    }
}

/// The platform.
#[derive(Default)]
struct Wasi {
    /// What the system clock was ahead of the monotonic one, and when that was looked up.
    offset: Cell<Option<(Duration, Duration)>>,
}

/// How long the difference of the clocks is believed: one host call a request instead of two.
const OFFSET_TTL: Duration = Duration::from_secs(1);

impl Clock for Wasi {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(wasip3::clocks::monotonic_clock::now())
    }

    fn system_at(&self, moment: Duration) -> Duration {
        match self.offset.get() {
            Some((offset, since)) if moment.saturating_sub(since) < OFFSET_TTL => offset + moment,
            _ => {
                let instant = wasip3::clocks::system_clock::now();
                let seconds = u64::try_from(instant.seconds).unwrap_or_default();
                let now = Duration::new(seconds, instant.nanoseconds);
                self.offset.set(Some((now.saturating_sub(moment), moment)));
                now
            }
        }
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        wasip3::clocks::monotonic_clock::wait_for(nanos)
    }
}

impl Random for Wasi {
    fn random(&self) -> u64 {
        wasip3::random::random::get_random_u64()
    }
}

impl Configuration for Wasi {
    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        config::get(name).map_err(|error| match error {
            config::Error::Upstream(reason) | config::Error::Io(reason) => reason,
        })
    }
}

impl Spawn for Wasi {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        wit_bindgen::spawn(task);
    }
}

impl Bells for Wasi {
    type Bell = wit_bindgen::StreamWriter<u8>;
    type Ring = std::pin::Pin<Box<dyn Future<Output = ()>>>;

    /// A stream that never carries a byte: its end is the signal, and that does cross from task to task.
    fn bell(&self) -> (Self::Bell, Self::Ring) {
        let (writer, mut reader) = wasip3::wit_stream::new::<u8>();
        (writer, Box::pin(async move { drop(reader.read(Vec::with_capacity(1)).await) }))
    }
}

impl Log for Wasi {
    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
}
