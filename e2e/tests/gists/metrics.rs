//! `/metrics`: exact counts, and a bounded set of labels.

use e2e::fake::ScriptedResponse;
use e2e::{Instances, Service};
use testkit::{Samples, until};

use super::expect::Expect as _;

suite!(
    counts_are_exact_within_a_second,
    labels_are_closed_sets,
    the_text_is_well_formed,
    durations_fall_into_buckets,
    the_rate_limit_is_shown,
    stale_answers_are_counted,
    running_requests_are_shown
);

/// Scrapes until `check` returns `Ok`.
async fn settled(service: &Service, check: impl Fn(&Samples) -> Result<(), String>) -> Samples {
    let mut last = String::new();
    until("the counts are right", async || {
        let samples = service.component_metrics().await;
        match check(&samples) {
            Ok(()) => Some(samples),
            Err(wrong) => {
                if wrong != last {
                    eprintln!("not yet: {wrong}");
                    last = wrong;
                }
                None
            }
        }
    })
    .await
}

/// A metric, labels, and the expected sum of the matching series.
type Expected = (&'static str, &'static [(&'static str, &'static str)], u32);

fn all(samples: &Samples, expected: &[Expected]) -> Result<(), String> {
    for (name, labels, count) in expected {
        let found = samples.sum(name, labels);
        if (found - f64::from(*count)).abs() > f64::EPSILON {
            return Err(format!("{name}{labels:?} is {found}, not {count}"));
        }
    }
    Ok(())
}

/// The counts after the requests of [`counts_are_exact_within_a_second`].
const EXPECTED: &[Expected] = &[
    ("http_requests_total", &[("endpoint", "/{username}"), ("method", "GET"), ("status", "200")], 4),
    (
        "http_requests_total",
        &[("endpoint", "/users/{username}/gists"), ("method", "GET"), ("status", "200")],
        1,
    ),
    ("http_requests_total", &[("endpoint", "/{username}"), ("status", "404")], 2),
    ("http_requests_total", &[("endpoint", "/{username}"), ("status", "422")], 1),
    ("http_requests_total", &[("endpoint", "/{username}"), ("status", "502")], 2),
    ("http_requests_total", &[("endpoint", "/{username}"), ("status", "504")], 1),
    ("http_requests_total", &[("endpoint", "/{username}"), ("method", "HEAD"), ("status", "200")], 1),
    ("http_requests_total", &[("endpoint", "/{username}"), ("method", "POST"), ("status", "405")], 1),
    ("http_requests_total", &[("method", "OTHER"), ("status", "405")], 1),
    ("http_requests_total", &[("endpoint", "unmatched"), ("status", "404")], 2),
    ("http_requests_total", &[("endpoint", "/health")], 1),
    ("http_requests_total", &[("endpoint", "/")], 1),
    ("http_requests_total", &[("endpoint", "/docs")], 1),
    ("http_request_duration_seconds_count", &[("endpoint", "/{username}"), ("method", "GET")], 10),
    (
        "http_request_duration_seconds_bucket",
        &[("endpoint", "/{username}"), ("method", "GET"), ("le", "+Inf")],
        10,
    ),
    ("cache_hits_total", &[], 5),
    ("cache_misses_total", &[], 6),
    ("github_api_requests_total", &[("status", "200")], 1),
    // The request with `use_cache=false` revalidates.
    ("github_api_requests_total", &[("status", "304")], 1),
    ("github_api_requests_total", &[("status", "404")], 1),
    ("github_api_requests_total", &[("status", "503")], 1),
    ("github_api_requests_total", &[("status", "timeout")], 1),
    ("github_api_requests_total", &[("status", "error")], 1),
];

async fn counts_are_exact_within_a_second(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("upstream_timeout", "1")).await;
    service.github.always("down", ScriptedResponse::status(503));
    service.github.always("silent", ScriptedResponse::genuine().deliver(e2e::fake::Delivery::Silence));
    service.github.always("closed", ScriptedResponse::genuine().deliver(e2e::fake::Delivery::Close));
    for path in [
        "/octocat",
        "/octocat",
        "/octocat",
        "/users/octocat/gists",
        "/octocat?use_cache=false",
        "/nobody",
        "/nobody",
        "/down",
        "/silent",
        "/closed",
        "/octocat?page=0",
        "/a/b",
        "/a/b",
        "/health",
        "/",
        "/docs",
    ] {
        service.host.get(path).await;
    }
    service.host.request("HEAD", "/octocat").send().await.is(200);
    service.host.request("POST", "/octocat").send().await.is(405);
    service.host.request("BREW", "/octocat").send().await.is(405);
    settled(&service, |samples| all(samples, EXPECTED)).await;
}

async fn labels_are_closed_sets(instances: Instances) {
    let service = Service::start(instances).await;
    for index in 0..60 {
        service.host.get(&format!("/user-{index}")).await;
        service.host.get(&format!("/deep/path/{index}")).await;
        service.host.get(&format!("/octocat?page={index}&q{index}=1")).await;
        service.host.request(&format!("METHOD{index}"), &format!("/x{index}")).send().await;
    }
    let samples = settled(&service, |samples| {
        let others = samples.sum("http_requests_total", &[("method", "OTHER")]);
        if others >= 60.0 { Ok(()) } else { Err(format!("{others} of OTHER")) }
    })
    .await;
    let endpoints = [
        "/",
        "/cache",
        "/cache/stats",
        "/docs",
        "/health",
        "/metrics",
        "/openapi.json",
        "/ready",
        "/users/{username}/gists",
        "/{username}",
        "unmatched",
    ];
    for endpoint in samples.values_of("endpoint") {
        assert!(endpoints.contains(&endpoint), "{endpoint}");
    }
    let methods = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "OTHER", "PATCH", "POST", "PUT", "TRACE"];
    for method in samples.values_of("method") {
        assert!(methods.contains(&method), "{method}");
    }
    assert!(samples.0.len() < 2_000, "{} series", samples.0.len());
}

async fn the_text_is_well_formed(instances: Instances) {
    let service = Service::start(instances).await;
    service.host.get("/octocat").await.is(200);
    service.host.get("/octocat").await.is(200);
    settled(&service, |samples| all(samples, &[("cache_hits_total", &[], 1)])).await;
    let reply = service.host.get("/metrics").await.is(200);
    assert_eq!(
        reply.header("content-type").map(|kind| kind.starts_with("text/plain; version=0.0.4")),
        Some(true)
    );
    let text = reply.text();
    assert!(text.ends_with('\n'));
    let mut declared = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(!declared.contains(&name), "{name} is declared twice");
            declared.push(name);
        } else if !line.starts_with("# HELP ") {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|base| declared.contains(base)))
                .unwrap_or(name);
            assert_eq!(declared.last(), Some(&family), "{line} is not below its own TYPE");
        }
    }
    for name in [
        "http_requests_total",
        "http_request_duration_seconds",
        "http_requests_active",
        "github_api_requests_total",
        "cache_hits_total",
        "cache_misses_total",
        "github_rate_limit_remaining",
        "github_rate_limit_reserved_total",
        "cache_stale_served_total",
    ] {
        assert!(declared.contains(&name), "{name} is missing: {declared:?}");
    }
    let mut series: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    let count = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), count, "a series occurs twice");
}

async fn durations_fall_into_buckets(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.always("slow", ScriptedResponse::genuine().after(std::time::Duration::from_millis(300)));
    service.github.add_user("slow", 1, 0);
    service.host.get("/slow").await.is(200);
    for _ in 0..9 {
        service.host.get("/slow").await.is(200);
    }
    let labels: &[(&str, &str)] = &[("endpoint", "/{username}"), ("method", "GET")];
    let samples = settled(&service, |samples| {
        all(samples, &[("http_request_duration_seconds_count", &[("endpoint", "/{username}")], 10)])
    })
    .await;
    let bounds = [
        "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "7.5",
        "10", "+Inf",
    ];
    let number = |bound: &str| if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
    let mut last = 0.0;
    let mut seen = 0;
    for sample in samples.0.iter().filter(|sample| {
        sample.name == "http_request_duration_seconds_bucket" && sample.labels["endpoint"] == "/{username}"
    }) {
        let bound = number(&sample.labels["le"]);
        assert!((bound - number(bounds[seen])).abs() < 1e-9 || bound.is_infinite(), "{sample:?}");
        assert!(sample.value >= last, "not cumulative: {sample:?}");
        if bound < 0.3 {
            assert!(sample.value < 10.0, "the slow one is not below its time: {sample:?}");
        }
        last = sample.value;
        seen += 1;
    }
    assert_eq!(seen, bounds.len());
    let sum = samples.sum("http_request_duration_seconds_sum", labels);
    assert!((0.3..30.0).contains(&sum), "seconds: {sum}");
}

async fn the_rate_limit_is_shown(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.set_rate_limit(5_000);
    service.host.get("/octocat").await.is(200);
    service.host.get("/quiet").await.is(200);
    settled(&service, |samples| all(samples, &[("github_rate_limit_remaining", &[], 4_998)])).await;
    service.github.always("spent", ScriptedResponse::rate_limited(2_000_000_000));
    service.host.get("/spent").await.is(429);
    settled(&service, |samples| {
        all(
            samples,
            &[
                ("github_rate_limit_remaining", &[], 0),
                ("github_api_requests_total", &[("status", "403")], 1),
            ],
        )
    })
    .await;
}

async fn stale_answers_are_counted(instances: Instances) {
    let service = Service::with(instances, |options| options.setting("cache_ttl", "1")).await;
    service.host.get("/octocat").await.is(200);
    service.github.always("octocat", ScriptedResponse::status(503));
    let mut stale = 0;
    until("some stale answers", async || {
        let reply = service.host.get("/octocat").await.is(200);
        stale += u32::from(reply.cache_status().contains("ttl=-"));
        (stale >= 3).then_some(())
    })
    .await;
    settled(&service, |samples| {
        let counted = samples.sum("cache_stale_served_total", &[]);
        if (counted - f64::from(stale)).abs() < 0.5 { Ok(()) } else { Err(format!("{counted} of {stale}")) }
    })
    .await;
    let samples = service.component_metrics().await;
    assert!(samples.values_of("reason").iter().all(|reason| ["revalidate", "error"].contains(reason)));
}

async fn running_requests_are_shown(instances: Instances) {
    let service = Service::start(instances).await;
    let hold = service.github.hold("octocat");
    let asking = futures::future::join_all((0..5).map(|_| async {
        service.host.get("/octocat").await.is(200);
    }));
    let looking = async {
        // The scrape itself may be counted.
        active(&service, 5.0, 6.0).await;
        hold.release();
    };
    tokio::join!(asking, looking);
    active(&service, 0.0, 1.0).await;
}

/// Waits until the number of active requests is in this range. A scrape is a request, too, and its instance publishes its end half a
/// second later, so this scrapes seldom.
async fn active(service: &Service, least: f64, most: f64) {
    until("the number of active requests is in range", async || {
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        let active = service.component_metrics().await.sum("http_requests_active", &[]);
        (least..=most).contains(&active).then_some(())
    })
    .await;
}
