//! A real Prometheus with the repository's scrape configuration and rules, on pods with and without a sidecar: it finds each pod with both
//! of its sources, each rule and panel can be evaluated, and an alert fires and resolves.

mod discovery;
mod server;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster_e2e::{
    Access, Deployment, Fake, LONG, Namespace, ScriptedResponse, eventually, eventually_within, fail, figure,
    image,
};
use serde_json::Value;

use crate::support::Site;
use server::{Prometheus, Vector};

const FIGURES: &str = "monitoring";

/// The series that rules and panels read, from `scripts/monitoring`.
struct Reads(Value);

impl Reads {
    fn new() -> Self {
        let text =
            std::fs::read_to_string(testkit::paths::workspace().join("k8s/monitoring/series.json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn list(&self, of: &str) -> Vec<String> {
        let list = self.0[of].as_array().unwrap();
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The dashboard and the expression of each panel.
    fn panels(&self) -> Vec<(String, String)> {
        let dashboards = self.0["panels"].as_object().unwrap();
        let of = |(dashboard, all): (&String, &Value)| {
            let all = all.as_array().unwrap().iter();
            all.map(|one| (dashboard.clone(), one.as_str().unwrap().to_owned())).collect::<Vec<_>>()
        };
        dashboards.iter().flat_map(of).collect()
    }
}

#[test]
fn prometheus_finds_every_pod_and_series_and_an_alert_goes_off() {
    let _access = Access::shared();
    let prometheus = Prometheus::begin("monitoring");
    // With the shared store and traces, whose series panels read. Traces have series without a collector, too.
    let direct = Site::new("watched", 3, &["redis", "tracing"], |all| all.image("redis", &image("redis")));
    let meshed = Site::new("watched-mesh", 1, &["istio-mesh-sidecar"], |all| all);
    let namespaces = [direct.namespace.name(), meshed.namespace.name()];

    let fake = Fake::get();
    let (user, failing) = (fake.user(3), fake.user(3));
    fake.always(&failing, &ScriptedResponse::status(503));
    for site in [&direct, &meshed] {
        some_of_everything(site, &user, &failing);
    }

    prometheus.ready();
    prometheus.discover(&namespaces);
    let reads = Reads::new();
    let stage = |name: &str, check: &dyn Fn()| {
        let started = Instant::now();
        check();
        figure(FIGURES, &format!("{name}_seconds"), started.elapsed().as_secs());
    };
    stage("pods", &|| every_pod_is_scraped(&prometheus, &[&direct, &meshed]));
    nothing_can_be_scraped_past_the_sidecar(&meshed);
    // Counters need events, and rates need two scrapes.
    some_of_everything(&meshed, &user, &failing);
    some_of_everything(&direct, &user, &failing);
    stage("series", &|| every_series_is_there(&prometheus, &reads));
    stage("rules", &|| every_rule_is_evaluated(&prometheus, &reads));
    stage("panels", &|| every_panel_is_answered(&prometheus, &reads));
    stage("custom_metric", &|| the_autoscaler_has_its_figure(&prometheus, &direct));
    stage("alert", &|| an_alert_goes_off_and_ends(&prometheus, &direct, &meshed, &failing));
}

/// Sends hits, misses, and requests with errors of GitHub and of the client.
fn some_of_everything(site: &Site, user: &str, failing: &str) {
    // More than one of each kind, because the gateway spreads requests over pods.
    for round in 0..6 {
        for target in [
            format!("/{user}"),
            format!("/{user}?page={}", round + 1),
            format!("/{failing}?per_page={}", round + 1),
            format!("/nobody-{round}"),
            "/health".to_owned(),
            "/cache/stats".to_owned(),
        ] {
            let _ = site.get(&target);
        }
    }
}

/// The names of the service's pods, as Prometheus should have them.
fn pods(sites: &[&Site]) -> BTreeSet<(String, String)> {
    let all = sites.iter().flat_map(|site| Deployment::api(&site.namespace).ready_pods());
    all.map(|pod| (pod.namespace, pod.name)).collect()
}

fn every_pod_is_scraped(prometheus: &Prometheus, sites: &[&Site]) {
    let expected = pods(sites);
    assert_eq!(expected.len(), 4, "{expected:?}");
    for (source, series) in [
        ("a target each, which answers", r#"up{job="github-gists-api"} == 1"#),
        ("the host's series", r#"wasi_http_host_build_info{job="github-gists-api",track="stable"}"#),
        ("the service's series", r#"http_requests_active{job="github-gists-api",track="stable"}"#),
    ] {
        eventually_within(LONG, source, || {
            let found = prometheus.query(series)?;
            let names =
                found.iter().map(|one| (one.label("namespace"), one.label("pod"))).collect::<BTreeSet<_>>();
            if names == expected && found.len() == expected.len() {
                return Ok(());
            }
            Err(format!("{series}: {found:?}, not {expected:?}: {}", prometheus.targets()))
        });
    }
    // With the sidecar, one response has three sources.
    let envoy =
        format!(r#"envoy_server_live{{job="github-gists-api",namespace="{}"}}"#, sites[1].namespace.name());
    eventually("Envoy's statistics beside them", || prometheus.some(&envoy));
    eventually_within(LONG, "the gateway's Envoy", || {
        prometheus.some(r#"envoy_server_live{job="envoy-stats",namespace="istio-system"}"#)
    });
    eventually_within(LONG, "istiod", || prometheus.some(r#"up{job="istiod"} == 1"#));
}

/// Shows why the scrape uses port 15020.
fn nothing_can_be_scraped_past_the_sidecar(meshed: &Site) {
    let pod = Deployment::api(&meshed.namespace).ready_pods().remove(0);
    let refused = cluster_e2e::scrape(&pod, 9090);
    assert!(refused.is_err(), "the admin port answered without mutual TLS");
}

fn every_series_is_there(prometheus: &Prometheus, reads: &Reads) {
    let declared: Vec<_> = reads.list("service").into_iter().chain(reads.list("foreign")).collect();
    let all: Vec<_> = declared.into_iter().chain(reads.list("recorded")).collect();
    assert!(all.len() > 50, "{all:?}");
    eventually_within(LONG, "every series that rules and panels read exists", || {
        let known = prometheus.names()?;
        let missing: Vec<_> = all.iter().filter(|name| !known.contains(*name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are missing")) }
    });
    // Before the first trap, there is no sample; the pods export the metric family.
    for family in reads.list("announced") {
        eventually(&format!("{family} is announced"), || prometheus.announced(&family));
    }
    figure(FIGURES, "series_found", all.len());
}

fn every_rule_is_evaluated(prometheus: &Prometheus, reads: &Reads) {
    let rules = eventually_within(LONG, "every rule has been evaluated", || {
        let rules = prometheus.rules()?;
        let bad: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        if bad.is_empty() { Ok(rules) } else { Err(format!("{bad:?}")) }
    });
    for recorded in reads.list("recorded") {
        assert!(rules.iter().any(|rule| rule["name"] == recorded.as_str()), "no rule records {recorded}");
    }
    let alerts = rules.iter().filter(|rule| rule["type"] == "alerting").count();
    figure(FIGURES, "rules_evaluated", rules.len());
    assert!(alerts > 30, "{alerts} alerts");
}

fn every_panel_is_answered(prometheus: &Prometheus, reads: &Reads) {
    let panels = reads.panels();
    assert!(panels.len() > 50, "{} panels", panels.len());
    let mut shown = 0;
    for (dashboard, expression) in &panels {
        let found = prometheus
            .query(expression)
            .unwrap_or_else(|error| fail(format!("{dashboard}: {expression}: {error}")));
        shown += usize::from(!found.is_empty());
    }
    figure(FIGURES, "panel_queries", panels.len());
    figure(FIGURES, "panel_queries_with_data", shown);
}

/// The query of prometheus-adapter for `http_requests_per_second`, from the values of its chart: a value for each pod.
fn the_autoscaler_has_its_figure(prometheus: &Prometheus, site: &Site) {
    let values =
        std::fs::read_to_string(testkit::paths::workspace().join("k8s/monitoring/adapter/values.yaml"))
            .unwrap();
    let value = |key: &str| {
        let line = values.lines().find_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key));
        line.unwrap_or_else(|| fail(format!("adapter/values.yaml has no {key}"))).trim().to_owned()
    };
    let discovered = value("seriesQuery:");
    let series = discovered.split('{').next().unwrap();
    let query = value("metricsQuery:")
        .replace("<<.Series>>", series)
        .replace("<<.LabelMatchers>>", &format!(r#"namespace="{}""#, site.namespace.name()))
        .replace("<<.GroupBy>>", "pod");
    let expected = pods(&[site]).into_iter().map(|(_, pod)| pod).collect::<BTreeSet<_>>();
    eventually("requests per second of each pod", || {
        prometheus.some(&discovered)?;
        let found = prometheus.query(&query)?.iter().map(|one| one.label("pod")).collect::<BTreeSet<_>>();
        if found == expected { Ok(()) } else { Err(format!("{query}: {found:?}, not {expected:?}")) }
    });
}

/// The alert rule with shorter windows: each request to one site fails, and none to the other.
fn an_alert_goes_off_and_ends(prometheus: &Prometheus, direct: &Site, meshed: &Site, failing: &str) {
    let alert = |site: &Site, state: &str| {
        let namespace = site.namespace.name();
        format!(
            r#"ALERTS{{alertname="QuickGistsErrorRateHigh",alertstate="{state}",namespace="{namespace}"}}"#
        )
    };
    let mut round = 0;
    let mut ask = |site: &Site, target: &str| {
        round += 1;
        // Each request has another page, because errors are cached for a second.
        site.get(&format!("{target}?page={}&per_page={}", round % 100 + 1, round / 100 + 1)).status
    };
    eventually_within(LONG, "half of the requests fail, and the alert fires", || {
        assert_eq!(ask(direct, &format!("/{failing}")), 502);
        for site in [direct, meshed] {
            // A 404 is no failure.
            let _ = ask(site, "/nobody-at-all");
            let _ = site.get("/health");
        }
        prometheus.some(&alert(direct, "firing"))
    });
    // The failures leave the window, and 404s do not keep the alert active.
    eventually("the other site's does not", || {
        let _ = ask(meshed, "/nobody-at-all");
        let firing = prometheus.query(&alert(meshed, "firing"))?;
        if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
    });
    let _ = ask(direct, &format!("/{failing}"));
    let labels: Vec<Vector> = prometheus.query(&alert(direct, "firing")).unwrap();
    assert_eq!(labels[0].label("severity"), "critical");
    assert_eq!(labels[0].label("service"), "github-gists-api");

    eventually_within(LONG, "no request fails, and the alert ends", || {
        assert_eq!(direct.get("/health").status, 200);
        std::thread::sleep(Duration::from_millis(200));
        let firing = prometheus.query(&alert(direct, "firing"))?;
        if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
    });
}
