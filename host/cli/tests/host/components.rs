//! Several components in one process: each has its routes, and a failure of one does not harm the others.

use std::sync::Arc;

use nix::sys::signal::Signal;
use testkit::{
    paths::{guest, scratch},
    until,
};

use crate::harness::{run, start_app};

/// A manifest of the services `front` and `back` and the proxy `old`; `front` has all paths without a route of their own.
fn manifest(test: &str, front: &str, back: &str) -> std::path::PathBuf {
    let path = scratch(test).join("spin.toml");
    let (service, proxy) = (guest("service"), guest("proxy"));
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"front\"\n\
         [[trigger.http]]\nroute = \"/hello/back\"\ncomponent = \"back\"\n\
         [[trigger.http]]\nroute = \"/spin/...\"\ncomponent = \"back\"\n\
         [[trigger.http]]\nroute = \"/sleep/...\"\ncomponent = \"back\"\n\
         [[trigger.http]]\nroute = \"/chunks/...\"\ncomponent = \"old\"\n\
         [component.front]\nsource = {service:?}\n{front}\n\
         [component.back]\nsource = {service:?}\n{back}\n\
         [component.old]\nsource = {proxy:?}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

const FULL: &str = "wasi_http_host_requests_rejected_total{component=\"back\",reason=\"queue_full\"}";

fn requests(component: &str, status: &str) -> String {
    format!("wasi_http_host_requests_total{{component=\"{component}\",status=\"{status}\"}}")
}

#[tokio::test]
async fn each_is_served_by_its_routes_and_counted_for_itself() {
    let host = start_app(&manifest("components-routes", "", ""), &[], &[]).await;
    assert_eq!(host.get("/hello/front").await.text(), "hello front");
    assert_eq!(host.get("/hello/back").await.text(), "hello back");
    assert_eq!(host.get("/chunks/2").await.text(), "chunk\nchunk\n");
    for (component, path) in [("front", "/hello/front"), ("back", "/hello/back"), ("old", "/chunks/2")] {
        assert_eq!(host.metric(&requests(component, "2xx")).await, 1.0, "{component}");
        host.wait_for_line(|line| line["component"] == component && line["path"] == path).await;
    }
}

#[tokio::test]
async fn one_that_traps_spins_or_is_full_leaves_the_others_alone() {
    let limits = "[component.back.tool.wasi-http-host]\nmax-instances = 1\ninstance-max-concurrency = 1\n\
                  max-concurrent-requests = 1\nmax-queued-requests = 0\nrequest-timeout = \"5s\"\n";
    let host = start_app(&manifest("components-harm", "", limits), &["--threads", "1"], &[]).await;
    assert_eq!(host.get("/served").await.text(), "1");
    // While one component spins, the same thread serves the other.
    let (spun, answers) = tokio::join!(host.get("/spin/"), async {
        host.wait_for_metric("wasi_http_host_requests_active{component=\"back\"}", |n| n == 1.0).await;
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(host.get("/hello/x").await.status);
        }
        answers
    });
    assert_eq!(spun.status, 504);
    assert_eq!(answers, [200; 5]);
    // The request keeps its place until its instance has ended.
    let recovers = async || {
        until("the component has recovered", async || {
            (host.get("/hello/back").await.status == 200).then_some(())
        })
        .await;
    };
    recovers().await;
    let rejected = host.metric(FULL).await;
    // While one component is at its limit of active requests, the other accepts requests.
    let (slept, ()) = tokio::join!(host.get("/sleep/60000"), async {
        host.wait_for_metric("wasi_http_host_requests_active{component=\"back\"}", |n| n == 1.0).await;
        assert_eq!(host.get("/hello/back").await.status, 503);
        assert_eq!(host.get("/hello/x").await.status, 200);
        assert_eq!(host.metric(FULL).await, rejected + 1.0);
    });
    assert_eq!(slept.status, 504);
    recovers().await;
    // A trap of one component ends no instance of the other.
    assert_eq!(host.get("/trap").await.status, 500);
    let made = "wasi_http_host_instances_ended_total{component=\"back\",reason=\"trap\"}";
    assert_eq!(host.metric(made).await, 0.0);
    let line = host.wait_for_line(|line| line["message"] == "an instance trapped and was discarded").await;
    assert_eq!(line["component"], "front");
}

#[tokio::test]
async fn a_manifest_bounds_its_component_but_not_beyond_the_flags() {
    let limits = "[component.front.tool.wasi-http-host]\nmax-memory = \"8MiB\"\nmax-instances = 1000000\n";
    let host = start_app(&manifest("components-limits", limits, ""), &["--max-memory", "32MiB"], &[]).await;
    let warning = host.wait_for_line(|line| line["level"] == "WARN" && line["component"] == "front").await;
    assert!(warning["message"].as_str().unwrap().contains("max-instances = 1000000"), "{warning}");
    assert_eq!(host.get("/grow").await.status, 500);
    let refused = host.metric("wasi_http_host_guest_memory_refused_total{component=\"front\"}").await;
    assert!(refused > 0.0, "{refused}");
}

#[test]
fn compile_and_inspect_see_each() {
    let path = manifest("components-tools", "", "");
    let compiled = run(&["compile", path.to_str().unwrap()]);
    let text = String::from_utf8(compiled.stdout).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    for component in ["front", "back", "old"] {
        assert!(text.contains(&format!("({component}: ")), "{text}");
    }
    let inspected = run(&["inspect", "--json", path.to_str().unwrap()]);
    let found: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!([&found["front"]["kind"], &found["old"]["kind"]], ["service", "proxy"]);
}

#[test]
fn two_components_for_one_route_are_an_error_that_names_both() {
    let path = manifest("components-double", "", "");
    let text = std::fs::read_to_string(&path).unwrap().replace("/hello/back", "/...");
    std::fs::write(&path, text).unwrap();
    let error = String::from_utf8(run(&["inspect", path.to_str().unwrap()]).stderr).unwrap();
    assert!(error.contains("trigger.http[1].route") && error.contains("trigger.http[0].route"), "{error}");
    assert!(error.contains("for component front"), "{error}");
}

#[tokio::test]
async fn a_change_is_served_while_all_instances_of_all_components_are_taken() {
    let path = scratch("components-full").join("spin.toml");
    let names = ["one", "two", "three"];
    let write = |greeting: &str| {
        let mut text = "spin_manifest_version = 2\n[application]\nname = \"app\"\n".to_owned();
        let routes = ["/...", "/sleep/50002", "/sleep/50003"];
        for (name, route) in names.iter().zip(routes) {
            text += &format!(
                "[[trigger.http]]\nroute = {route:?}\ncomponent = {name:?}\n\
                 [component.{name}]\nsource = {:?}\n[component.{name}.variables]\ngreeting = {greeting:?}\n",
                guest("service")
            );
        }
        std::fs::write(&path, text).unwrap();
    };
    write("old");
    let flags = ["--threads", "1", "--max-instances", "2", "--instance-max-concurrency", "1"];
    let host = Arc::new(start_app(&path, &[&flags[..], &["--request-timeout", "60s"]].concat(), &[]).await);
    let sleeping: Vec<_> = [50_001, 50_002, 50_003, 50_001, 50_002, 50_003]
        .into_iter()
        .map(|ms| {
            let host = host.clone();
            tokio::spawn(async move { host.get(&format!("/sleep/{ms}")).await.status })
        })
        .collect();
    for name in names {
        for metric in ["requests_active", "instances_live"] {
            let metric = format!("wasi_http_host_{metric}{{component={name:?}}}");
            host.wait_for_metric(&metric, |n| n == 2.0).await;
        }
    }
    write("new");
    host.signal(Signal::SIGHUP);
    host.wait_for_line(|line| {
        line["message"].as_str().is_some_and(|text| text.contains("the application changed"))
    })
    .await;
    assert_eq!(
        host.metric("wasi_http_host_reloads_total{outcome=\"done\"}").await,
        1.0,
        "{:?}",
        host.lines()
    );
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("new"))"#);
    sleeping.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn more_instances_than_an_address_space_holds_are_a_setting_that_cannot_be() {
    let path = scratch("components-many").join("spin.toml");
    let mut text = "spin_manifest_version = 2\n[application]\nname = \"app\"\n".to_owned();
    for n in 0..64 {
        text += &format!(
            "[[trigger.http]]\nroute = \"/{n}\"\ncomponent = \"c{n}\"\n[component.c{n}]\nsource = {:?}\n",
            guest("proxy")
        );
    }
    std::fs::write(&path, text).unwrap();
    let addresses = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let output = run(&[&["serve", path.to_str().unwrap()][..], &addresses].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{message}");
    assert!(message.contains("--max-instances") && message.contains("64 component(s)"), "{message}");
}

/// `front` writes and `back` reads; both are granted the default store.
#[tokio::test]
async fn each_component_has_its_own_keys_if_a_flag_says_so() {
    let front = "key_value_stores = [\"default\"]";
    let back = format!("{front}\n[[trigger.http]]\nroute = \"/keyvalue/get/...\"\ncomponent = \"back\"");
    let app = manifest("components-keys", front, &back);
    for (flags, seen) in
        [(&[][..], r#"Ok(Some("v"))"#), (&["--keyvalue-default-scope", "component"], "Ok(None)")]
    {
        let host = start_app(&app, flags, &[]).await;
        assert_eq!(host.get("/keyvalue/set/default/k?v").await.text(), "Ok(())");
        assert_eq!(host.get("/keyvalue/exists/default/k").await.text(), "Ok(true)");
        assert_eq!(host.get("/keyvalue/get/default/k").await.text(), seen, "{flags:?}");
    }
}

/// A component with `count` instances of an inner component that has one core instance of an empty module.
pub(crate) fn composed(count: u8) -> Vec<u8> {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    // Instance after instance of what has the index 0, without arguments.
    let instances = |count: u8| [vec![count], [0, 0, 0].repeat(count.into())].concat();
    let section = |id: u8, content: &[u8]| {
        let length = content.len();
        let length = [u8::try_from(length & 0x7f | 0x80).unwrap(), u8::try_from(length >> 7).unwrap()];
        [&[id][..], &length, content].concat()
    };
    let inner = [COMPONENT, &section(1, MODULE), &section(2, &instances(1))].concat();
    [COMPONENT, &section(4, &inner), &section(5, &instances(count))].concat()
}

#[tokio::test]
async fn one_that_would_take_the_places_of_others_is_refused_and_the_others_are_served() {
    let path = manifest("components-places", "", "");
    std::fs::write(path.with_file_name("hostile.wasm"), composed(60)).unwrap();
    let host = start_app(&path, &[], &[]).await;
    let with_hostile = std::fs::read_to_string(&path).unwrap()
        + "[[trigger.http]]\nroute = \"/hostile/...\"\ncomponent = \"hostile\"\n\
           [component.hostile]\nsource = \"hostile.wasm\"\n";
    std::fs::write(&path, with_hostile).unwrap();
    host.signal(Signal::SIGHUP);
    let line = host.wait_for_line(|line| line.message_contains("still serves the previous state")).await;
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("component \"hostile\": each instance needs"), "{error}");
    assert!(error.contains("61 stacks, over the limit of 64 tables, 16 memories and 24 stacks"), "{error}");
    assert_eq!(host.get("/hello/front").await.text(), "hello front");
    assert_eq!(host.get("/hello/back").await.text(), "hello back");
}

#[test]
fn one_that_needs_too_many_stacks_is_refused_from_the_cache_too() {
    let dir = scratch("components-stacks");
    let (component, cache) = (dir.join("hostile.wasm"), dir.join("cache"));
    std::fs::write(&component, composed(60)).unwrap();
    let flags = ["compile", component.to_str().unwrap(), "--cache-dir", cache.to_str().unwrap()];
    for _ in 0..2 {
        let output = run(&flags);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains("61 stacks, over the limit"), "{message}");
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn the_sum_of_all_limits_follows_a_reload() {
    const SUM: &str = "wasi_http_host_memory_bound_bytes";
    let limits =
        |instances: u32| format!("[component.back.tool.wasi-http-host]\nmax-instances = {instances}\n");
    let path = manifest("components-sum", "", &limits(8));
    let host = start_app(&path, &["--threads", "1"], &[]).await;
    let before = host.metric(SUM).await;
    let few = manifest("components-sum-few", "", &limits(1));
    std::fs::copy(few, &path).unwrap();
    host.signal(Signal::SIGHUP);
    host.wait_for_metric(SUM, |after| after < before).await;
    let all = host.lines();
    let sums = all.iter().filter(|line| line.message_contains("the process takes at most")).count();
    assert_eq!(sums, 2);
}
