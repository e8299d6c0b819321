//! Faults of GitHub.

use std::time::Duration;

use e2e::fake::{Delivery, EVERYONE, FakeGitHub, ScriptedResponse};
use testkit::HostOptions;

use crate::fault::{Failure, Observed, Outcome, ensure};
use crate::load::Load;
use crate::plan::Allows;
use crate::testbed::{Testbed, with_response_cache};
use crate::traffic::{Mix, people};

/// The number of requests to GitHub that see each kind of the fault.
const MET: u64 = 4;

pub(super) async fn slow() -> Outcome {
    let testbed = Testbed::alone(|options| options.setting("upstream_timeout", "1")).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::errors(&[504])).await?;
    let late = ScriptedResponse::genuine().after(Duration::from_secs(20));
    let dripping = ScriptedResponse::genuine().deliver(Delivery::Drip { bytes: 1, every_ms: 100 });
    for answer in [late, dripping, ScriptedResponse::genuine().deliver(Delivery::Silence)] {
        respond_with(&load, &testbed.github, answer).await?;
    }
    testbed.github.restore(EVERYONE);
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "a cached user was not served from the cache: {tally:?}");
    Ok(Observed { done: "GitHub 20 s late; a byte every 100 ms; silent".to_owned(), tally, recovered_after })
}

pub(super) async fn lying() -> Outcome {
    let testbed = Testbed::alone(|options| options.setting("upstream_timeout", "5")).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::errors(&[502, 504])).await?;
    let genuine = ScriptedResponse::genuine;
    let responses = [
        genuine().deliver(Delivery::Claim(10)),
        genuine().deliver(Delivery::Claim(1 << 20)),
        genuine().deliver(Delivery::Cut(20)),
        genuine().deliver(Delivery::Reset(20)),
        genuine().deliver(Delivery::Close),
        genuine().deliver(Delivery::Raw("\0\u{1}garbage\r\n\r\n".to_owned())),
        genuine().deliver(Delivery::Filler(64 << 20)),
        genuine().deliver(Delivery::Endless),
        ScriptedResponse::json("{\"not\": \"a list\"}"),
        ScriptedResponse::json("[".repeat(100_000)),
        ScriptedResponse::status(500),
        ScriptedResponse::redirect(302, "http://169.254.169.254/latest/meta-data"),
    ];
    let kinds = responses.len();
    for response in responses {
        respond_with(&load, &testbed.github, response).await?;
    }
    testbed.github.restore(EVERYONE);
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "a cached user was not served from the cache: {tally:?}");
    Ok(Observed {
        done: format!("{kinds} kinds: wrong lengths, resets, garbage, endless bodies, redirects"),
        tally,
        recovered_after,
    })
}

pub(super) async fn gone() -> Outcome {
    Ok(gone_behind(|options| options).await?.1)
}

/// The same with a response cache: it answers as before, and each request is counted by the cache or by the component.
pub(super) async fn gone_behind_cache() -> Outcome {
    let (testbed, observed) = gone_behind(with_response_cache).await?;
    let cached = testbed.answered_by_caches().await?;
    Ok(Observed { done: format!("{}; {cached} cached answers", observed.done), ..observed })
}

async fn gone_behind(change: fn(HostOptions) -> HostOptions) -> Result<(Testbed, Observed), Failure> {
    let mut testbed = Testbed::alone(change).await?;
    let (load, counted) = testbed.load(Mix::ALL, Allows::errors(&[502])).await?;
    let address = testbed.github.address();
    // Another fake takes its place, so that the listener of the first one closes.
    let elsewhere = crate::testbed::github().await?;
    drop(std::mem::replace(&mut testbed.github, elsewhere));
    load.more_errors(MET * 4).await?;
    let returned = FakeGitHub::bind(address, people()).await;
    testbed.github = returned.map_err(|error| format!("the fake GitHub does not come back: {error}"))?;
    let (tally, recovered_after) = testbed.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "a cached user was not served from the cache: {tally:?}");
    let done = "GitHub's port closed, and open again".to_owned();
    Ok((testbed, Observed { done, tally, recovered_after }))
}

/// Lets some requests get this response.
async fn respond_with(load: &Load, github: &FakeGitHub, response: ScriptedResponse) -> Result<(), String> {
    github.always(EVERYONE, response);
    load.more_errors(MET).await
}
