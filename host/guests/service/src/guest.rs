//! The service: finds the behaviour that a path names.

use std::{cell::Cell, time::Duration};

use spin_sdk::{
    wasip3::{
        self,
        http::types::{ErrorCode, Request, Response},
    },
    wit_bindgen,
};

mod answers;
mod bindings;
mod clock;
mod files;
mod hoard;
mod hostile;
mod outbound;
mod responses;
mod stores;
mod wasi_p2;

use bindings::config;
use clock::wait;
use responses::text;

wasip3::http::service::export!(Service);

struct Service;

thread_local! {
    /// How many requests this instance has received.
    static SERVED: Cell<u32> = const { Cell::new(0) };
}

impl wasip3::exports::http::handler::Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        SERVED.set(SERVED.get() + 1);
        let target = request.get_path_with_query().unwrap_or_default();
        let call = Call::parse(&target);
        if let Some(response) = about_request(&call, &request) {
            return Ok(response);
        }
        if let Some(response) = malformed(&call).or_else(|| quick(&call)) {
            return Ok(response);
        }
        if let Some(response) = in_background(&call).await {
            return Ok(response);
        }
        if let Some(body) = call_others(&call).await {
            return Ok(text(body));
        }
        match call.behaviour {
            "answer" => Ok(answers::answer(&request, SERVED.get()).await),
            "echo" => Ok(responses::echo(request)),
            "count-body" => {
                let length = responses::read_all(request).await;
                Ok(text(length.map_or_else(|error| format!("error {error:?}"), |length| length.to_string())))
            }
            "trailers" => Ok(responses::trailers(request).await),
            "written-first" => Ok(responses::written_first(call.number).await),
            "unread" => Ok(text(responses::unread(call.number).await.to_string())),
            "error" => Err(match call.argument {
                "internal" => ErrorCode::InternalError(Some("the guest's own secret".to_owned())),
                "long" => ErrorCode::InternalError(Some("é".repeat(3 << 19))),
                _ => ErrorCode::ConnectionRefused,
            }),
            "hostile" => Ok(text(hostile::act(call.argument, call.query).await)),
            "files" => Ok(text(files::act(call.argument, call.query).await.unwrap_or_default())),
            behaviour => {
                let response = text(format!("no behaviour {behaviour:?}"));
                let _ = response.set_status_code(404);
                Ok(response)
            }
        }
    }
}

/// A request target: `/{behaviour}/{argument}?{query}`.
struct Call<'a> {
    target: &'a str,
    behaviour: &'a str,
    argument: &'a str,
    query: &'a str,
    /// The argument as a number; 0 where it is none.
    number: usize,
}

impl<'a> Call<'a> {
    fn parse(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_start_matches('/');
        let (behaviour, argument) = path.split_once('/').unwrap_or((path, ""));
        Self { target, behaviour, argument, query, number: argument.parse().unwrap_or(0) }
    }

    /// The argument as milliseconds.
    fn ms(&self) -> u64 {
        self.number as u64
    }
}

/// Behaviours that tell something about the request or the instance.
fn about_request(call: &Call<'_>, request: &Request) -> Option<Response> {
    Some(match call.behaviour {
        "served" => text(SERVED.get().to_string()),
        "method" => text(format!("{:?}", request.get_method())),
        "target" => {
            let authority = request.get_authority().unwrap_or_default();
            text(format!("{:?} {authority} {}", request.get_scheme(), call.target))
        }
        "headers" => {
            let fields = request.get_headers().copy_all().into_iter();
            let lines = fields.map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(&value)));
            text(lines.collect::<String>())
        }
        _ => return None,
    })
}

/// Behaviours with a response that is incomplete or invalid.
fn malformed(call: &Call<'_>) -> Option<Response> {
    Some(match call.behaviour {
        "stall" => responses::stalled(),
        "endless" => responses::endless(),
        "short" => responses::lying(&[("content-length", "100")], b"only this"),
        "long" => responses::lying(&[("content-length", "4")], b"more than was announced"),
        "forge" => responses::forge(call.argument),
        "cut" => responses::cut(),
        "interim" => {
            let response = text("");
            let _ = response.set_status_code(103);
            response
        }
        _ => return None,
    })
}

/// Behaviours that wait for nothing, and those that never end.
fn quick(call: &Call<'_>) -> Option<Response> {
    Some(match call.behaviour {
        "hello" => text(format!("hello {}", call.argument)),
        "status" => {
            let response = text(call.argument);
            let _ = response.set_status_code(call.argument.parse().unwrap_or(500));
            response
        }
        "bytes" => responses::sized(&vec![b'x'; call.number]),
        "metrics" => text(match call.argument {
            "own" => "# TYPE own_total counter\nown_total{kind=\"a\"} 1\n".to_owned(),
            "forged" => "own_total 1\nwasi_http_host_requests_total{component=\"forged\"} 1\n".to_owned(),
            "double" => "process_open_fds 1\n".to_owned(),
            "many" => (0..20_000).map(|at| format!("own_total{{at=\"{at}\"}} 1\n")).collect(),
            "long" => format!("# HELP own_total {}\n", "x".repeat(3 << 20)),
            _ => "<html>no metrics</html>".to_owned(),
        }),
        "chunks" => responses::chunked(call.number, Duration::ZERO),
        "drip" => responses::chunked(call.number, Duration::from_millis(20)),
        "spin" => spin(),
        "grow" => grow(),
        "trap" => core::arch::wasm32::unreachable(),
        "print" => {
            println!("printed {}", call.argument);
            eprintln!("complained {}", call.argument);
            text("printed")
        }
        "flood" => {
            for _ in 0..call.number {
                println!("{}", "flood ".repeat(200));
            }
            text("flooded")
        }
        "get" => text(stores::get(call.argument)),
        "keyvalue" => text(stores::call(call.argument, call.query)),
        "config" => text(format!("{:?}", config::get(call.argument))),
        _ => return None,
    })
}

/// Behaviours that wait, or that continue after the response.
async fn in_background(call: &Call<'_>) -> Option<Response> {
    let ms = call.ms();
    let started = match call.behaviour {
        "sleep" => {
            wait(ms).await;
            "slept"
        }
        "hang" => loop {
            wait(3_600_000).await;
        },
        "background" => {
            stores::set_later(ms);
            "started"
        }
        "slow-background" => {
            stores::set_later(ms);
            println!("begun");
            wait(60_000).await;
            "slept"
        }
        "spin-later" => {
            wit_bindgen::spawn(async move {
                wait(ms).await;
                spin()
            });
            "started"
        }
        "fetch-later" => {
            let target = call.query.to_owned();
            wit_bindgen::spawn(async move {
                wait(ms).await;
                outbound::fetch(&target, None).await;
            });
            "started"
        }
        _ => return None,
    };
    Some(text(started))
}

/// Behaviours that send a request to `{query}`, or to this service by the name `{argument}`.
async fn call_others(call: &Call<'_>) -> Option<String> {
    let &Call { argument, query, .. } = call;
    Some(match call.behaviour {
        "ask" => outbound::ask(query).await,
        "ask-securely" => outbound::ask_securely(query).await,
        "forget" => outbound::forget(query).await,
        "loop" => outbound::ask(&format!("{argument}/loop/{argument}")).await,
        "ask-earlier" => wasi_p2::ask(query).await,
        "loop-earlier" => wasi_p2::ask(&format!("{argument}/loop-earlier/{argument}")).await,
        "fetch" => {
            wait(call.ms()).await;
            outbound::fetch(query, None).await
        }
        "fetch-as" => outbound::fetch(query, Some(argument)).await,
        _ => return None,
    })
}

/// Never ends and never waits.
fn spin() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

/// Allocates memory until the host refuses.
fn grow() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}
