//! A fake GitHub as a program: `fake-github --demo --listen 127.0.0.1:8099`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use e2e::fake::{Case, FakeGitHub, Unreachable, User, Users};

/// A GitHub with generated users, for demonstrations and tests. `GET /_fake` tells how to script its responses.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on; port 0 takes a free port
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// Serve a few thousand generated gists, and print commands to try
    #[arg(long)]
    demo: bool,
    /// The URL of the service, for the printed commands
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    service: String,
    /// Requests allowed before the fake responds as GitHub does at its rate limit
    #[arg(long, default_value_t = 5_000)]
    rate_limit: u64,
    /// A second, IPv4 address whose connections get no answer, as those to a lost node
    #[arg(long)]
    unreachable: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut users = Users::demo();
    if !arguments.demo {
        users = Users::default();
        users.add(User::generate("octocat", 8, 0));
    }
    let all = users.all();
    let (count, gists) = (all.len(), all.iter().map(|user| user.gists.len()).sum::<usize>());
    let fake = match FakeGitHub::bind(arguments.listen, users).await {
        Ok(fake) => fake,
        Err(error) => {
            eprintln!("fake-github: cannot listen on {}: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    fake.set_rate_limit(arguments.rate_limit);
    let _unreachable = match arguments.unreachable {
        None => None,
        Some(address) => match Unreachable::bind(address).await {
            Ok(unreachable) => Some(unreachable),
            Err(error) => {
                eprintln!("fake-github: --unreachable {address}: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    println!(
        "fake GitHub on {} with {count} users and {gists} gists; GET /_fake tells how to script responses",
        fake.url()
    );
    if arguments.demo {
        print!("{}", commands_to_try(&arguments.service, &fake.url()));
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

fn commands_to_try(service: &str, fake: &str) -> String {
    let width = Case::ALL.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let cases: String =
        Case::ALL.iter().map(|case| format!("  {:width$}  {}\n", case.name, case.text)).collect();
    format!(
        r#"
Try, in another terminal:
  curl -i '{service}/octocat'                            a miss, then a hit
  curl -i '{service}/donald-k?page=2&per_page=5'         pages, with a Link header
  curl -i '{service}/users/health/gists'                 a user with the name of a route
  curl -i '{service}/nobody'                             404, cached for a minute
  curl -i '{service}/octocat?page=0&per_page=x'          422, with all errors at once
  curl -i -H 'Accept: application/problem+json' '{service}/nobody'
  curl '{service}/cache/stats'; curl -X DELETE '{service}/cache'; curl '{service}/metrics'
  open {service}/docs

Let GitHub fail:
  curl -X PUT '{fake}/_fake/always/hubot' -d '{{"status":503}}';   curl -i '{service}/hubot'
  curl -X PUT '{fake}/_fake/always/ken-t' -d '{{"delivery":"endless"}}'; curl -i '{service}/ken-t'
  curl -X DELETE '{fake}/_fake/always/hubot'
  curl '{fake}/_fake/calls'                              requests of the service

Let GitHub play a case by its name, here to the requests for hubot:
  curl -X PUT '{fake}/_fake/cases/secondary-limit/hubot';   curl -i '{service}/hubot?use_cache=false'
  curl -X DELETE '{fake}/_fake/always/hubot'             the end of the case
{cases}
Be a GitHub App, whose tokens live a minute: start the service again with the settings in the answer
  curl -X PUT '{fake}/_fake/app?life=60'
  curl -X PUT '{fake}/_fake/cases/app-suspended/*app';   curl -i '{service}/hubot?use_cache=false'
"#
    )
}
