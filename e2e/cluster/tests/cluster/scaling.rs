//! The autoscaler and the metrics that it uses.

use std::time::{Duration, Instant};

use cluster_e2e::{
    Access, Cluster, Deployment, Fake, Gateway, Kustomization, LONG, Load, Namespace, Node, Pod, await_route,
    eventually_within, figure, kubectl,
};
use serde_json::{Value, json};
use testkit::http::Request;

const NAME: &str = "github-gists-api";

/// An expensive request: a hundred gists, without the cache.
fn costly(fake: &Fake) -> Request {
    Request::get(&format!("/{}?per_page=100&use_cache=false", fake.user(100)))
}

/// The overlay with a small CPU request, so that a light load is a high utilisation.
fn sensitive(host: &str, fake: &Fake) -> Kustomization {
    let resources = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
        "spec": { "template": { "spec": { "containers": [{
            "name": NAME, "resources": { "requests": { "cpu": "30m" } }
        }] } } }
    });
    Cluster::get().dev().at_host(host).upstream(&fake.url()).eager().patch("Deployment", NAME, &resources)
}

#[test]
fn the_autoscaler_follows_the_load_up_and_down() {
    let _access = Access::exclusive();
    let fake = Fake::get();
    let namespace = Namespace::new("scaling");
    // Scaling down starts at once in place of after five minutes. Scaling up is as in the manifest.
    let behaviour = json!([{
        "op": "replace", "path": "/spec/behavior/scaleDown",
        "value": { "stabilizationWindowSeconds": 5, "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 5 }] }
    }]);
    let host = "scaling.gists.test";
    sensitive(host, fake).patch("HorizontalPodAutoscaler", NAME, &behaviour).apply(&namespace);
    let client = Gateway::get().http(host);
    let request = costly(fake);
    eventually_within(LONG, "the autoscaler begins with its minimum", || {
        replicas(&namespace, |count| count == 3)
    });
    let _ = Deployment::api(&namespace).ready();
    await_route(&client, &request);

    let (load, started) = (Load::start(&client, 8, 80.0, &[request]), Instant::now());
    let up = eventually_within(LONG, "the autoscaler adds pods", || replicas(&namespace, |count| count > 3));
    figure("scaling", "up_after_s", started.elapsed().as_secs());
    eventually_within(LONG, "the added pods serve", || {
        let ready = Deployment::api(&namespace).ready_pods().len();
        if ready > 3 { Ok(()) } else { Err(format!("{ready} ready")) }
    });
    let tally = load.stop();
    println!("scaled to {up} replicas: {}", tally.summary());
    assert_eq!(tally.failed(), 0, "{}", tally.reasons.join("\n"));

    let stopped = Instant::now();
    eventually_within(LONG, "the autoscaler removes them", || replicas(&namespace, |count| count == 3));
    figure("scaling", "down_after_s", stopped.elapsed().as_secs());
    figure("scaling", "replicas_under_load", up);
}

/// The desired replicas of the autoscaler, if they are as expected; otherwise its conditions.
fn replicas(namespace: &Namespace, wanted: impl Fn(i64) -> bool) -> Result<i64, String> {
    let found = namespace.kubectl(["get", "hpa", NAME]).json()?;
    let desired = found.pointer("/status/desiredReplicas").and_then(Value::as_i64).unwrap_or_default();
    let deployed = Deployment::api(namespace).object()?;
    let deployed = deployed.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    if wanted(desired) && deployed == desired { Ok(desired) } else { Err(found["status"].to_string()) }
}

/// The usage of a container by metrics-server.
#[derive(Debug, Clone, PartialEq)]
struct Reported {
    /// The end of the window.
    time: String,
    /// The window, in seconds.
    window: f64,
    /// Processor time, in nanoseconds a second.
    cpu: f64,
    /// The working set, in bytes.
    memory: f64,
}

impl Reported {
    fn of(pod: &Pod, container: &str) -> Result<Self, String> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods/{}", pod.namespace, pod.name);
        let text = kubectl(["get", "--raw", &path]).run()?;
        let told: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let usage = told["containers"].as_array().into_iter().flatten().find(|one| one["name"] == container);
        let usage = usage.map(|container| &container["usage"]).ok_or_else(|| told.to_string())?;
        let read = |value: &Value| quantity(value.as_str().unwrap_or_default());
        let (cpu, memory) = (read(&usage["cpu"]), read(&usage["memory"]));
        let window = read(&told["window"]);
        let time = told["timestamp"].as_str().unwrap_or_default().to_owned();
        match (window, cpu, memory) {
            (Some(window), Some(cpu), Some(memory)) => Ok(Self { time, window, cpu: cpu * 1e9, memory }),
            _ => Err(told.to_string()),
        }
    }
}

/// Parses a quantity or a duration of the metrics API.
fn quantity(text: &str) -> Option<f64> {
    if let Some((minutes, rest)) = text.split_once('m').filter(|(_, rest)| rest.ends_with('s')) {
        return Some(minutes.parse::<f64>().ok()? * 60.0 + quantity(rest)?);
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[test]
fn what_kubectl_top_says_is_what_the_cgroup_knows() {
    let _access = Access::exclusive();
    let (fake, node) = (Fake::get(), Node::get());
    let namespace = Namespace::new("top");
    let host = "top.gists.test";
    sensitive(host, fake).replicas(1).apply(&namespace);
    let client = Gateway::get().http(host);
    let pod = Deployment::api(&namespace).ready().remove(0);
    let request = costly(fake);
    await_route(&client, &request);

    let load = Load::start(&client, 4, 30.0, &[request]);
    // Long enough for several windows of metrics-server, at a resolution of up to 15 s.
    let recorder = {
        let pod = pod.clone();
        std::thread::spawn(move || node.record(&pod, NAME, 55))
    };
    let mut reported: Vec<Reported> = Vec::new();
    while !recorder.is_finished() {
        if let Ok(next) = Reported::of(&pod, NAME)
            && reported.last().is_none_or(|last| last.time != next.time)
        {
            reported.push(next);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let recorded = recorder.join().unwrap().unwrap();
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{}", tally.reasons.join("\n"));

    // The end of the first window is the start of the measured time.
    let recorded_at = |time: &str| recorded.iter().find(|usage| usage.time.as_str() >= time);
    reported.retain(|report| recorded[0].time <= report.time && recorded_at(&report.time).is_some());
    assert!(reported.len() >= 3, "too few reports to compare: {reported:?}");
    let (first, rest) = (&reported[0], &reported[1..]);
    let (begin, end) = (recorded_at(&first.time).unwrap(), recorded_at(&rest[rest.len() - 1].time).unwrap());
    let known = (end.cpu_ns - begin.cpu_ns) as f64 / (end.seconds - begin.seconds) as f64;
    let windows: f64 = rest.iter().map(|report| report.window).sum();
    let told = rest.iter().map(|report| report.cpu * report.window).sum::<f64>() / windows;
    println!(
        "CPU over {windows:.0} s: {:.1} m told, {:.1} m known; {}",
        told / 1e6,
        known / 1e6,
        tally.summary()
    );
    figure("top", "cpu_told_millicores", (told / 1e5).round() / 10.0);
    figure("top", "cpu_of_cgroup_millicores", (known / 1e5).round() / 10.0);
    assert!(known > 10e6, "too little load to compare: {known} ns/s");
    assert!((told / known - 1.0).abs() < 0.10, "CPU: metrics-server says {told} ns/s, the cgroup {known}");

    // Memory varies, and the report is a sample of its window.
    let report = &rest[rest.len() - 1];
    let nearest = recorded.iter().filter(|usage| usage.time.as_str() > rest[rest.len() - 2].time.as_str());
    let nearest = nearest
        .map(|usage| usage.working_set as f64)
        .min_by(|a, b| (a - report.memory).abs().total_cmp(&(b - report.memory).abs()));
    let nearest = nearest.unwrap();
    figure("top", "memory_told_mib", (report.memory / 1048576.0 * 10.0).round() / 10.0);
    figure("top", "memory_of_cgroup_mib", (nearest / 1048576.0 * 10.0).round() / 10.0);
    assert!((report.memory / nearest - 1.0).abs() < 0.10, "memory: {} told, {nearest} known", report.memory);
}
