//! A fake GitHub on a port of its own: `fake-github --demo --listen 127.0.0.1:8099`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use e2e::fake::{FakeGitHub, People, User};

/// A GitHub that knows only made-up users, for demonstrations and tests. `GET /_fake` tells how to script it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// Know a few thousand believable gists, and print what to try.
    #[arg(long)]
    demo: bool,
    /// Where the service on top listens, for the examples that are printed.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    service: String,
    /// Requests allowed before the fake answers as GitHub does when they are used up.
    #[arg(long, default_value_t = 5_000)]
    rate_limit: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut people = People::demo();
    if !arguments.demo {
        people = People::default();
        people.add(User::believable("octocat", 8, 0));
    }
    let (users, gists) =
        (people.all().len(), people.all().iter().map(|user| user.gists.len()).sum::<usize>());
    let fake = match FakeGitHub::bind(arguments.listen, people).await {
        Ok(fake) => fake,
        Err(error) => {
            eprintln!("fake-github: cannot listen on {}: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    fake.set_rate_limit(arguments.rate_limit);
    println!(
        "fake GitHub on {} with {users} users and {gists} gists; GET /_fake tells how to script it",
        fake.url()
    );
    if arguments.demo {
        print!("{}", what_to_try(&arguments.service, &fake.url()));
    }
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            eprintln!("fake-github: cannot wait for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    ExitCode::SUCCESS
}

fn what_to_try(service: &str, fake: &str) -> String {
    format!(
        r#"
Try, in another terminal:
  curl -i '{service}/octocat'                            a miss, then a hit
  curl -i '{service}/donald-k?page=2&per_page=5'         pages, with a Link header
  curl -i '{service}/users/health/gists'                 a user whose name is a route
  curl -i '{service}/nobody'                             404, remembered for a minute
  curl -i '{service}/octocat?page=0&per_page=x'          422, everything wrong at once
  curl -i -H 'Accept: application/problem+json' '{service}/nobody'
  curl '{service}/cache/stats'; curl -X DELETE '{service}/cache'; curl '{service}/metrics'
  open {service}/docs

Let GitHub fail:
  curl -X PUT '{fake}/_fake/always/hubot' -d '{{"status":503}}';   curl -i '{service}/hubot'
  curl -X PUT '{fake}/_fake/always/ken-t' -d '{{"delivery":"endless"}}'; curl -i '{service}/ken-t'
  curl -X DELETE '{fake}/_fake/always/hubot'
  curl '{fake}/_fake/calls'                              what the service asked it
"#
    )
}
