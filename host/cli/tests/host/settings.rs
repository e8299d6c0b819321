//! Settings of the component: variables, mounted files, the manifest.

use std::{os::unix::fs::symlink, path::Path};

use testkit::{
    LogLine,
    paths::{guest, scratch},
};

use crate::harness::start_app;

/// Writes files as the kubelet does: into a new directory, to which the link `..data` is then switched.
fn mount(dir: &Path, version: &str, files: &[(&str, &str)]) {
    let data = dir.join(format!("..{version}"));
    std::fs::create_dir(&data).unwrap();
    for (name, value) in files {
        std::fs::write(data.join(name), value).unwrap();
        let link = dir.join(name);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    symlink(format!("..{version}"), dir.join("..data_tmp")).unwrap();
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[tokio::test]
async fn a_setting_that_is_mounted_anew_is_taken_up_without_a_restart_and_is_not_logged() {
    let dir = scratch("settings-mounted");
    mount(&dir, "1", &[("token", "first-secret")]);
    let flags = ["--var", "token", "--settings-dir", dir.to_str().unwrap(), "--settings-poll", "100ms"];
    let host = start_app(&guest("service"), &flags, &[]).await;
    assert_eq!(host.get("/config/token").await.text(), r#"Ok(Some("first-secret"))"#);
    let (slept, ()) = tokio::join!(host.get("/sleep/2000"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        mount(&dir, "2", &[("token", "second-secret")]);
        host.wait_for_metric("wasi_http_host_reloads_total{outcome=\"done\"}", |done| done == 1.0).await;
        assert_eq!(host.get("/config/token").await.text(), r#"Ok(Some("second-secret"))"#);
    });
    assert_eq!(slept.text(), "slept", "a running request was finished");
    let log = format!("{:?}", host.lines());
    assert!(!log.contains("first-secret") && !log.contains("second-secret"), "{log}");
}

#[tokio::test]
async fn settings_that_cannot_be_are_reported_once_and_the_old_ones_stay() {
    let dir = scratch("settings-unfit");
    mount(&dir, "1", &[("upstream", "http://127.0.0.1:1")]);
    let flags = ["--var", "upstream", "--allowed-outbound-host", "{{ upstream }}", "--settings-poll", "50ms"];
    let flags = [&flags[..], &["--settings-dir", dir.to_str().unwrap()]].concat();
    let host = start_app(&guest("service"), &flags, &[]).await;
    assert!(host.get("/fetch?127.0.0.1:1").await.text().contains("ConnectionRefused"));
    mount(&dir, "2", &[("upstream", "no host at all")]);
    let refused = |line: &LogLine| line.message_contains("the host still serves the previous state");
    let line = host.wait_for_line(refused).await;
    assert!(line["error"].as_str().unwrap().contains("allowed_outbound_hosts"), "{line}");
    assert!(host.get("/fetch?127.0.0.1:1").await.text().contains("ConnectionRefused"), "as before");
    mount(&dir, "3", &[("upstream", "http://127.0.0.1:2")]);
    host.wait_for_metric("wasi_http_host_reloads_total{outcome=\"done\"}", |done| done == 1.0).await;
    assert!(host.get("/fetch?127.0.0.1:1").await.text().contains("HttpRequestDenied"), "the policy follows");
    assert!(host.get("/fetch?127.0.0.1:2").await.text().contains("ConnectionRefused"));
    assert_eq!(host.lines().iter().filter(|line| refused(line)).count(), 1);
}

#[tokio::test]
async fn a_bare_component_has_the_settings_that_flags_declare() {
    let flags = ["--var", "greeting=hello", "--var", "colour"];
    let host = start_app(&guest("service"), &flags, &[("COLOUR", "blue"), ("OTHER", "hidden")]).await;
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("hello"))"#);
    assert_eq!(host.get("/config/colour").await.text(), r#"Ok(Some("blue"))"#);
    assert_eq!(host.get("/config/other").await.text(), "Ok(None)");
}

#[tokio::test]
async fn routes_directories_and_variables_are_the_manifests() {
    let dir = scratch("settings-manifest");
    let path = dir.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [variables]\nname = {{ default = \"world\" }}\n\
         [[trigger.http]]\nroute = \"/config/...\"\ncomponent = \"c\"\n\
         [component.c]\nsource = {:?}\n[component.c.variables]\ngreeting = \"hello {{{{ name }}}}\"\n",
        guest("service")
    );
    std::fs::write(&path, text).unwrap();
    let host = start_app(&path, &[], &[("NAME", "moon")]).await;
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("hello moon"))"#);
    let unrouted = host.get("/hello/x").await;
    assert_eq!((unrouted.status, unrouted.text()), (404, r#"{"detail":"Not Found"}"#));
}
