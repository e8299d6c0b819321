//! The rate-limit gate: closed by GitHub's rate limit, and by a credential that GitHub refuses.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use gists::ports::FetchResponse;
use gists::upstream::gate::{Gate, Period};

use crate::fake::{Handle, StoreCalls, World, failure, millis, name_in, page, run, seconds};

const LIMITED: &str = r#"{"detail":"GitHub API rate limit exceeded. Please try again later."}"#;

#[test]
fn a_rate_limit_closes_the_gate_for_everybody() {
    run(async |world| {
        let (one, two) = (world.instance(), world.instance());
        world.github(|_| failure(429, &[("retry-after", "30")]));
        let answer = one.get("/octocat").await;
        assert_eq!((answer.status, answer.body.as_str(), answer.header("retry-after")), (429, LIMITED, "30"));
        seconds(10).await;
        for target in ["/octocat", "/other", "/other?use_cache=false"] {
            let answer = two.get(target).await;
            assert_eq!((answer.status, answer.header("retry-after")), (429, "20"), "{target}");
            assert!(answer.cache_status().ends_with("detail=rate-limited"));
        }
        assert_eq!(world.asked(), 1);
        world.github(|_| page("x"));
        seconds(20).await;
        assert_eq!(two.get("/octocat").await.status, 200);
    });
}

#[test]
fn behind_a_closed_gate_stale_entries_are_answered() {
    run(async |world| {
        let instance = world.instance();
        instance.get("/octocat").await;
        seconds(400).await;
        world
            .github(|_| failure(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800001000")]));
        assert_eq!(instance.get("/other").await.status, 429);
        let asked = world.asked();
        let answer = instance.get("/octocat").await;
        assert!(answer.is_hit());
        assert!(answer.cache_status().ends_with("; detail=rate-limited"), "{}", answer.cache_status());
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 429);
        assert_eq!(world.asked(), asked);
    });
}

#[test]
fn without_a_time_the_gate_closes_for_longer_and_longer() {
    run(async |world| {
        let instance = world.instance();
        let body = br#"{"message":"You have exceeded a secondary rate limit. Please wait."}"#.to_vec();
        // The reset of the primary limit, which is not reached, is an hour away and then has passed.
        let left = [("x-ratelimit-remaining", "4211"), ("x-ratelimit-reset", "1800003500")];
        world.github(move |_| FetchResponse { body: body.clone(), ..failure(403, &left) });
        for closed_for in ["60", "120", "240", "480", "900", "900"] {
            let answer = instance.get("/octocat").await;
            assert_eq!((answer.status, answer.header("retry-after")), (429, closed_for));
            seconds(closed_for.parse::<u64>().unwrap() + 1).await;
        }
        // A good answer resets the doubling.
        world.github(|_| page("x"));
        assert_eq!(instance.get("/octocat").await.status, 200);
        world.github(|_| failure(429, &[]));
        assert_eq!(instance.get("/other").await.header("retry-after"), "60");
    });
}

/// GitHub's answer with another quota, whose reset is 900 s after the start of the test.
fn with_quota(response: FetchResponse, remaining: u64) -> FetchResponse {
    let mut response = response;
    response.headers.retain(|(name, _)| name != "x-ratelimit-remaining");
    let quota =
        [("x-ratelimit-remaining", remaining.to_string()), ("x-ratelimit-reset", "1800000900".to_owned())];
    response.headers.extend(quota.map(|(name, value)| (name.to_owned(), value.into_bytes())));
    response
}

#[test]
fn the_last_request_of_the_quota_closes_the_gate_until_the_reset() {
    let responses: [fn() -> FetchResponse; 4] =
        [|| page("x"), || failure(404, &[]), || failure(500, &[]), || failure(422, &[])];
    for response in responses {
        run(async move |world| {
            let (one, two) = (world.instance(), world.instance());
            world.github(move |_| with_quota(response(), 0));
            let status = one.get("/octocat").await.status;
            assert_ne!(status, 429, "the answer itself is answered");
            for target in ["/other", "/octocat?use_cache=false"] {
                let answer = two.get(target).await;
                assert_eq!((answer.status, answer.header("retry-after")), (429, "901"), "{status} {target}");
            }
            assert_eq!(world.asked(), 1, "{status}");
            world.github(|_| page("x"));
            seconds(900).await;
            assert_eq!(two.get("/third").await.status, 429, "{status}: one second after the reset");
            seconds(1).await;
            assert_eq!(two.get("/third").await.status, 200, "{status}");
        });
    }
}

#[test]
fn an_older_answer_does_not_open_a_gate_that_another_one_has_closed() {
    run(async |world| {
        let instance = world.instance();
        // The gate has a record, as after every rate limit until a page is answered.
        world.github(|_| failure(429, &[("retry-after", "1")]));
        instance.get("/octocat").await;
        seconds(2).await;
        world.github_after(Duration::from_secs(5), |_| Ok(page("slow")));
        let slow = instance.start("/slow");
        seconds(1).await;
        world.github(|_| failure(429, &[("retry-after", "600")]));
        assert_eq!(instance.get("/limited").await.status, 429);
        assert_eq!(slow.await.unwrap().status, 200);
        assert_eq!(world.instance().get("/other").await.status, 429);
        assert_eq!(world.asked(), 3);
    });
}

/// GitHub with a quota of 60 requests an hour, of which `used` are used. It knows only the user `octocat`, and confirms
/// that user's page to who has it. With a token, such an answer costs nothing.
fn quota_of_60(world: &World, used: &Rc<Cell<u64>>) {
    let used = Rc::clone(used);
    world.github(move |asked| {
        let is_confirmed = asked.headers.contains_key("if-none-match");
        if !is_confirmed || !asked.headers.contains_key("authorization") {
            used.set(used.get() + 1);
        }
        let left =
            60_u64.checked_sub(used.get()).expect("GitHub refuses no request, because none is too many");
        let response = match is_confirmed {
            true => failure(304, &[]),
            false if name_in(&asked.path) == "octocat" => page("x"),
            false => failure(404, &[]),
        };
        let mut response = with_quota(response, left);
        response.headers.push(("x-ratelimit-limit".to_owned(), b"60".to_vec()));
        response
    });
}

#[test]
fn names_that_do_not_exist_leave_a_reserve_for_what_is_stored() {
    for (reserve, left) in [(None, 6), (Some("50"), 30), (Some("0"), 0)] {
        run(async move |world| {
            if let Some(reserve) = reserve {
                world.set("github_rate_limit_reserve", reserve);
            }
            let used = Rc::default();
            quota_of_60(&world, &used);
            let instance = world.instance();
            instance.get("/octocat").await;
            for name in 0..60 {
                let answer = instance.get(&format!("/name{name}")).await;
                let expected = if name < 59 - left { 404 } else { 429 };
                assert_eq!(answer.status, expected, "name{name}");
            }
            assert_eq!(used.get(), 60 - left);
            seconds(400).await;
            let refused = world.instance().get("/another?use_cache=false").await;
            assert!(refused.cache_status().ends_with("detail=rate-limited"));
            let wait: u64 = refused.header("retry-after").parse().unwrap();
            assert!((480..=501).contains(&wait), "{wait}: until the reset");
            // What is stored is revalidated, also for a request that bypasses the cache.
            let answer = world.instance().get("/octocat").await;
            assert_eq!(answer.is_hit(), left == 0, "the stale page is answered if nothing is left");
            let answer = world.instance().get("/octocat?use_cache=false").await;
            assert_eq!(answer.status, if left > 0 { 200 } else { 429 });
            seconds(1).await;
            let refused = world.counter("metric:reserved");
            assert_eq!(refused > 0, left > 0, "{refused}");
            // The quota is renewed.
            seconds(600).await;
            used.set(0);
            assert_eq!(world.instance().get("/another").await.status, 404);
        });
    }
}

#[test]
fn the_reserve_holds_for_requests_at_once() {
    run(async |world| {
        world.store.latency.set(20);
        let used = Rc::default();
        quota_of_60(&world, &used);
        let instances: Vec<_> = (0..4).map(|_| world.instance()).collect();
        instances[0].get("/octocat").await;
        let tasks: Vec<_> = (0..100).map(|name| instances[name % 4].start(&format!("/name{name}"))).collect();
        for task in tasks {
            assert!(matches!(task.await.unwrap().status, 404 | 429));
        }
        assert!((40..=54).contains(&used.get()), "{}", used.get());
    });
}

#[test]
fn of_ten_requests_at_once_one_uses_what_is_spare() {
    for latency in [0, 1, 20, 150] {
        run(async move |world| {
            let used = Rc::default();
            quota_of_60(&world, &used);
            let instances: Vec<_> = (0..4).map(|_| world.instance()).collect();
            instances[0].get("/octocat").await;
            used.set(52);
            assert_eq!(instances[0].get("/known").await.status, 404);
            let gate = Gate::read(&Handle(Rc::clone(&world.store)), 0).await.unwrap();
            assert_eq!((gate.reserve.spare, used.get()), (1, 53));
            world.store.latency.set(latency);
            let tasks: Vec<_> =
                (0..10).map(|name| instances[name % 4].start(&format!("/name{name}"))).collect();
            for task in tasks {
                assert!(matches!(task.await.unwrap().status, 404 | 429));
            }
            assert!(used.get() <= 54, "{latency} ms: {}", used.get());
        });
    }
}

#[test]
fn what_the_reserve_refuses_writes_nothing() {
    run(async |world| {
        let used = Rc::default();
        quota_of_60(&world, &used);
        let instance = world.instance();
        instance.get("/octocat").await;
        used.set(53);
        let first = instance.get("/gone").await;
        assert_eq!(first.status, 404);
        seconds(1).await;
        world.store.take_calls();
        for name in 0..1024 {
            assert_eq!(instance.get(&format!("/name{name}")).await.status, 429, "name{name}");
        }
        let StoreCalls { sets, deletes, increments, replaces, .. } = world.store.take_calls();
        let mut writes = [sets, deletes, increments, replaces].concat();
        writes.retain(|key| !key.contains(":stats:"));
        assert_eq!(writes, [""; 0]);
        assert_eq!(instance.get("/gone").await.status, 404, "it is remembered");
        assert_eq!(used.get(), 54);
        // What is stored is revalidated.
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 200);
        assert_eq!(used.get(), 55);
    });
}

#[test]
fn a_secondary_limit_leaves_the_reserve() {
    run(async |world| {
        let used = Rc::new(Cell::new(0));
        quota_of_60(&world, &used);
        let instance = world.instance();
        instance.get("/octocat").await;
        used.set(53);
        assert_eq!(instance.get("/gone").await.status, 404);
        world.github(|_| failure(429, &[("retry-after", "10")]));
        let refused = instance.get("/octocat?use_cache=false").await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, "10"));
        seconds(11).await;
        world.github(|_| failure(304, &[]));
        let asked = world.asked();
        let refused = instance.get("/unknown").await;
        assert_eq!((refused.status, world.asked()), (429, asked));
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((880..=890).contains(&wait), "{wait}: until the reset");
        assert_eq!(instance.get("/octocat?use_cache=false").await.status, 200);
    });
}

#[test]
fn a_failure_does_not_end_the_doubling() {
    for remaining in [0, 3, 40] {
        run(async move |world| {
            let instance = world.instance();
            world.github(|_| failure(429, &[]));
            for closed_for in [60, 120] {
                let answer = instance.get("/octocat").await;
                assert_eq!(answer.header("retry-after"), closed_for.to_string());
                seconds(closed_for + 1).await;
            }
            for status in [500, 422] {
                world.github(move |_| {
                    let mut response = with_quota(failure(status, &[]), remaining);
                    response.headers.push(("x-ratelimit-limit".to_owned(), b"60".to_vec()));
                    response
                });
                assert_ne!(instance.get("/octocat").await.status, 200);
                seconds(901).await;
            }
            world.github(|_| failure(429, &[]));
            assert_eq!(instance.get("/octocat").await.header("retry-after"), "240", "{remaining} left");
        });
    }
}

#[test]
fn two_answers_at_once_both_change_the_gate() {
    for delay in (0..=100).step_by(5) {
        run(async move |world| {
            let (one, two) = (world.instance(), world.instance());
            // The gate has a record, which both requests read.
            world.github(|_| failure(429, &[("retry-after", "1")]));
            assert_eq!(one.get("/octocat").await.status, 429);
            seconds(2).await;
            world.store.latency.set(20);
            world.github_after(Duration::from_millis(1000 + delay), |_| {
                Ok(failure(429, &[("retry-after", "600")]))
            });
            let limited = one.start("/limited");
            millis(500).await;
            world.github_after(Duration::from_millis(550), |_| {
                let mut response = with_quota(page("x"), 25);
                response.headers.push(("x-ratelimit-limit".to_owned(), b"60".to_vec()));
                Ok(response)
            });
            assert_eq!(two.get("/page").await.status, 200);
            assert_eq!(limited.await.unwrap().status, 429);
            seconds(1).await;
            let gate = Gate::read(&Handle(Rc::clone(&world.store)), 0).await.unwrap();
            let Period { since, until } = gate.closing.period;
            assert_eq!(until - since, 600_000, "{delay} ms");
            assert_eq!(gate.reserve.spare, 19, "{delay} ms");
            assert_ne!(gate.reserve.period.until, 0, "{delay} ms");
        });
    }
}

#[test]
fn an_open_gate_with_plenty_of_quota_costs_no_write() {
    run(async |world| {
        let instance = world.instance();
        for name in 0..3 {
            instance.get(&format!("/name{name}")).await;
        }
        seconds(1).await;
        let StoreCalls { gets, sets, replaces, .. } = world.store.take_calls();
        let keys = [gets, sets, replaces].concat();
        // Before the lease, and before the request.
        assert_eq!(keys.iter().filter(|key| key.starts_with("gate:")).count(), 6);
        assert!(world.store.keys_with("gate:").is_empty());
    });
}

#[test]
fn a_pod_whose_clock_is_behind_sees_an_hour_as_well() {
    run(async |world| {
        world.github(|_| failure(429, &[("retry-after", "3600")]));
        assert_eq!(world.instance().get("/octocat").await.status, 429);
        world.set_back.set(Duration::from_secs(30));
        assert_eq!(world.instance().get("/other").await.status, 429);
        assert_eq!(world.asked(), 1);
    });
}

#[test]
fn with_a_token_revalidation_costs_nothing_and_opens_no_reserve() {
    run(async |world| {
        world.set("github_token", "t0ken");
        let used = Rc::default();
        quota_of_60(&world, &used);
        let instance = world.instance();
        instance.get("/octocat").await;
        used.set(53);
        assert_eq!(instance.get("/last").await.status, 404);
        // A 304 need not state the quota.
        world.github(|asked| match asked.headers.contains_key("if-none-match") {
            true => failure(304, &[]),
            false => panic!("{asked:?} costs a request of the reserve"),
        });
        for _ in 0..20 {
            assert_eq!(instance.get("/octocat?use_cache=false").await.status, 200);
            assert_eq!(instance.get("/other").await.status, 429);
            seconds(2).await;
        }
    });
}

#[test]
fn a_refused_token_is_not_used_for_a_minute() {
    run(async |world| {
        world.set("github_token", "b4d");
        let instance = world.instance();
        world.github(|_| failure(401, &[]));
        for target in ["/octocat", "/other", "/third?use_cache=false"] {
            let answer = instance.get(target).await;
            assert_eq!((answer.status, answer.body.as_str()), (502, r#"{"detail":"GitHub error: 401"}"#));
        }
        assert_eq!(world.asked(), 1);
        let errors = world.logs.borrow().iter().filter(|line| line.contains("\"ERROR\"")).count();
        assert_eq!(errors, 1);
        // Each credential has its own gate. The failure itself is shared for a second.
        seconds(1).await;
        world.set("github_token", "g00d");
        world.github(|_| page("x"));
        assert_eq!(world.instance().get("/octocat").await.status, 200);
        seconds(61).await;
        assert_eq!(instance.get("/other").await.status, 200);
    });
}

#[test]
fn a_401_without_a_token_closes_nothing() {
    run(async |world| {
        let instance = world.instance();
        world.github(|_| failure(401, &[]));
        instance.get("/octocat").await;
        instance.get("/other").await;
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn many_requests_at_a_closing_gate_ask_little() {
    run(async |world| {
        world.set("upstream_concurrency", "2");
        world.github(|_| failure(429, &[("retry-after", "600")]));
        let instances: Vec<_> = (0..4).map(|_| world.instance()).collect();
        let tasks: Vec<_> = (0..40).map(|user| instances[user % 4].start(&format!("/user{user}"))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().status, 429);
        }
        assert_eq!(world.asked(), 2, "the requests in flight when the gate closed");
    });
}

#[test]
fn a_clock_that_is_set_back_opens_the_gate() {
    run(async |world| {
        let instance = world.instance();
        world.github(|_| failure(429, &[("retry-after", "60")]));
        assert_eq!(instance.get("/octocat").await.status, 429);
        world.github(|_| page("x"));
        seconds(2).await;
        world.set_back.set(Duration::from_secs(1800));
        assert_eq!(instance.get("/octocat").await.status, 200);
    });
}

#[test]
fn a_success_under_way_does_not_open_a_gate_that_another_has_closed() {
    run(async |world| {
        let (one, two) = (world.instance(), world.instance());
        // A record of an earlier limit is there.
        world.github(|_| failure(429, &[("retry-after", "1")]));
        assert_eq!(one.get("/octocat").await.status, 429);
        seconds(2).await;
        world.github_after(Duration::from_secs(2), |_| Ok(page("x")));
        let under_way = one.start("/slow");
        millis(500).await;
        world.github(|_| failure(429, &[("retry-after", "600")]));
        assert_eq!(two.get("/limited").await.status, 429);
        assert_eq!(under_way.await.unwrap().status, 200);
        let asked = world.asked();
        assert_eq!(two.get("/other").await.status, 429);
        assert_eq!(world.asked(), asked, "the gate is closed");
    });
}

#[test]
fn a_shorter_limit_does_not_shorten_a_longer_one() {
    run(async |world| {
        let (one, two) = (world.instance(), world.instance());
        world.github_after(Duration::from_secs(1), |_| Ok(failure(429, &[("retry-after", "5")])));
        let under_way = one.start("/slow");
        millis(100).await;
        world.github(|_| failure(429, &[("retry-after", "600")]));
        assert_eq!(two.get("/limited").await.status, 429);
        assert_eq!(under_way.await.unwrap().status, 429);
        seconds(10).await;
        let asked = world.asked();
        assert_eq!(two.get("/other").await.status, 429);
        assert_eq!(world.asked(), asked, "the gate is closed");
    });
}

#[test]
fn a_failure_of_one_token_is_not_told_to_hosts_with_another() {
    run(async |world| {
        world.set("github_token", "b4d");
        let bad = world.instance();
        world.github_after(Duration::from_secs(1), |asked| {
            Ok(match asked.headers["authorization"].as_str() {
                "Bearer b4d" => failure(401, &[]),
                _ => page(&name_in(&asked.path)),
            })
        });
        let refused = bad.start("/octocat");
        millis(100).await;
        world.set("github_token", "g00d");
        let good: Vec<_> = (0..3).map(|_| world.instance()).collect();
        // Those who wait for the other's outcome, and those who come just after it.
        let waiting: Vec<_> = good.iter().map(|instance| instance.start("/octocat")).collect();
        assert_eq!(refused.await.unwrap().status, 502);
        for asked in waiting {
            assert_eq!(asked.await.unwrap().status, 200);
        }
        assert_eq!(world.asked(), 2, "one request for each token");
        assert_eq!(bad.get("/octocat").await.status, 200, "a page is everybody's");
        let refused = bad.get("/other").await;
        assert_eq!((refused.status, world.asked()), (502, 2), "the gate of that token is closed");
    });
}

#[test]
fn a_failure_just_now_of_one_token_is_not_told_to_hosts_with_another() {
    run(async |world| {
        world.set("github_token", "b4d");
        let bad = world.instance();
        world.github(|_| failure(403, &[]));
        assert_eq!(bad.get("/octocat").await.status, 502);
        world.set("github_token", "g00d");
        world.github(|_| page("x"));
        assert_eq!(world.instance().get("/octocat").await.status, 200);
    });
}
