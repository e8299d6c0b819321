//! What GitHub may do.

use std::time::Duration;

use e2e::fake::{Answer, Delivery, EVERYONE, FakeGitHub};

use crate::fault::{Outcome, Shown, ensure};
use crate::load::{Allows, Load};
use crate::site::Site;
use crate::traffic::{Mix, people};

/// Questions to GitHub that meet each kind of the fault.
const MET: u64 = 4;

pub(super) async fn slow() -> Outcome {
    let site = Site::alone(|options| options.setting("upstream_timeout", "1")).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::errors(&[504])).await?;
    let late = Answer::truth().after(Duration::from_secs(20));
    let dripping = Answer::truth().deliver(Delivery::Drip { bytes: 1, every_ms: 100 });
    for answer in [late, dripping, Answer::truth().deliver(Delivery::Silence)] {
        met(&load, &site.github, answer).await?;
    }
    site.github.truth(EVERYONE);
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "what is cached was asked for: {tally:?}");
    Ok(Shown { done: "GitHub 20 s late; a byte every 100 ms; silent".to_owned(), tally, normal_after })
}

pub(super) async fn lying() -> Outcome {
    let site = Site::alone(|options| options.setting("upstream_timeout", "5")).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::errors(&[502, 504])).await?;
    let truth = Answer::truth;
    let lies = [
        truth().deliver(Delivery::Claim(10)),
        truth().deliver(Delivery::Claim(1 << 20)),
        truth().deliver(Delivery::Cut(20)),
        truth().deliver(Delivery::Reset(20)),
        truth().deliver(Delivery::Close),
        truth().deliver(Delivery::Raw("\0\u{1}garbage\r\n\r\n".to_owned())),
        truth().deliver(Delivery::Filler(64 << 20)),
        truth().deliver(Delivery::Endless),
        Answer::json("{\"not\": \"a list\"}"),
        Answer::json("[".repeat(100_000)),
        Answer::status(500),
        Answer::redirect(302, "http://169.254.169.254/latest/meta-data"),
    ];
    let kinds = lies.len();
    for lie in lies {
        met(&load, &site.github, lie).await?;
    }
    site.github.truth(EVERYONE);
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "what is cached was asked for: {tally:?}");
    Ok(Shown {
        done: format!("{kinds} kinds of lies: lengths, resets, garbage, no end, redirects"),
        tally,
        normal_after,
    })
}

pub(super) async fn gone() -> Outcome {
    let mut site = Site::alone(|options| options).await?;
    let (load, counted) = site.load(Mix::ALL, Allows::errors(&[502])).await?;
    let address = site.github.address();
    // Another in its place, so that this one's listener closes.
    let elsewhere = crate::site::github().await?;
    drop(std::mem::replace(&mut site.github, elsewhere));
    refused(&load, MET * 4).await?;
    let returned = FakeGitHub::bind(address, people()).await;
    site.github = returned.map_err(|error| format!("the fake GitHub does not come back: {error}"))?;
    let (tally, normal_after) = site.end(load, &counted, 0).await?;
    ensure!(tally.uncached == 0, "what is cached was asked for: {tally:?}");
    Ok(Shown { done: "GitHub's port closed, and open again".to_owned(), tally, normal_after })
}

/// Lets some questions meet this answer.
async fn met(load: &Load, github: &FakeGitHub, answer: Answer) -> Result<(), String> {
    github.always(EVERYONE, answer);
    refused(load, MET).await
}

/// Waits for so many more documented errors.
pub(super) async fn refused(load: &Load, more: u64) -> Result<(), String> {
    let so_far = |tally: &crate::tally::Tally| tally.refused.values().sum::<u64>() + tally.lost;
    let enough = so_far(&load.tally()) + more;
    load.until("the fault is met", |tally| so_far(tally) >= enough).await
}
