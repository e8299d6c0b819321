//! The end of the API version: announced by headers, then told by a 410.

use gists::ports::FetchResponse;

use crate::fake::{World, failure, page, run, seconds};

const SUNSET: (&str, &str) = ("sunset", "Fri, 10 Mar 2028 00:00:00 GMT");

fn with_header(response: FetchResponse, (name, value): (&str, &str)) -> FetchResponse {
    let mut response = response;
    response.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    response
}

/// The log lines about the version.
fn lines(world: &World) -> Vec<String> {
    world.logs.borrow().iter().filter(|line| line.contains("API version")).cloned().collect()
}

#[test]
fn a_410_keeps_the_entries_and_answers_them() {
    run(async |world| {
        let instance = world.instance();
        let first = instance.get("/octocat").await;
        world.github(|_| with_header(failure(410, &[]), SUNSET));
        // Twice: the first refresh must not drop the entry.
        for _ in 0..2 {
            seconds(400).await;
            let answer = instance.get("/octocat").await;
            assert!(answer.is_hit());
            assert_eq!(answer.json()["data"], first.json()["data"]);
            assert!(answer.cache_status().ends_with("; detail=upstream-error"), "{}", answer.cache_status());
        }
        let answer = instance.get("/other").await;
        assert_eq!((answer.status, answer.body.as_str()), (502, r#"{"detail":"GitHub error: 410"}"#));
        assert_eq!(lines(&world).len(), 1, "{:?}", lines(&world));
        let line = &lines(&world)[0];
        for part in
            ["\"ERROR\"", "no longer supports", "\"version\":\"2022-11-28\"", "\"sunset\":\"2028-03-10\""]
        {
            assert!(line.contains(part), "{line}");
        }
        // With a newer version, the page is fetched anew.
        world.github(|_| page("new"));
        seconds(2).await;
        assert_eq!(instance.get("/octocat").await.json()["data"][0]["description"], "new");
    });
}

#[test]
fn the_announced_end_is_exported_and_logged_once_a_day() {
    run(async |world| {
        world.github(|_| with_header(page("x"), SUNSET));
        for day in 1..=3 {
            for _ in 0..3 {
                // Another instance each time, as on a host that starts one for each request.
                let instance = world.instance();
                for user in ["a", "b"] {
                    instance.get(&format!("/{user}?use_cache=false")).await;
                }
                seconds(60).await;
            }
            assert_eq!(lines(&world).len(), day, "{:?}", lines(&world));
            seconds(86_400 - 180).await;
        }
        assert!(lines(&world)[0].contains("\"WARN\""));
        assert_eq!(world.store.keys_with("logged:").len(), 1, "the day before is forgotten");
        let metrics = async || world.instance().get("/metrics").await.body;
        let gauge = "github_api_version_sunset_timestamp_seconds 1836259200\n";
        assert!(metrics().await.contains(gauge));
        // A 410 need not say how many requests are left.
        world.github(|_| with_header(failure(410, &[]), SUNSET));
        world.instance().get("/b").await;
        world.instance().get("/d").await;
        seconds(1).await;
        let text = metrics().await;
        assert!(text.contains(gauge) && text.contains("github_rate_limit_remaining 57\n"), "{text}");
        // A version that GitHub does not end has no date.
        world.github(|_| page("x"));
        world.instance().get("/c").await;
        seconds(1).await;
        assert!(!metrics().await.contains("\ngithub_api_version_sunset_timestamp_seconds "));
    });
}
