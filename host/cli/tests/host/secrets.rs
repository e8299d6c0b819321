//! Secrets: no log line, error, metric or help text contains one, whatever fails.

use std::{fs, net::SocketAddr, process::Output};

use testkit::{
    Host, RedisServer,
    paths::{guest, scratch},
    ports::Refusing,
};

use crate::harness::{command, serving};

/// A part of each secret, and of nothing else.
const CANARY: &str = "c4n4ry";

fn assert_no_secret(place: &str, text: &str) {
    // In clear text, and in base64 at each of the three alignments.
    for form in [CANARY, "YzRuNHJ5", "M0bjRye", "jNG40cn"] {
        assert!(!text.contains(form), "{place} contains a secret: {text}");
    }
}

fn without_secret(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_no_secret("the output", &out);
    assert_no_secret("the error", &err);
    out + &err
}

/// A host that gets secrets from all sources. Its proxy and its collector are `refusing`, and its password for Redis is
/// wrong.
async fn host_in_trouble(redis: &RedisServer, refusing: SocketAddr) -> Host {
    let settings = scratch("secrets").join("settings");
    fs::create_dir(&settings).unwrap();
    fs::write(settings.join("github_token"), format!("{CANARY}-file")).unwrap();
    let (store, proxy) =
        (format!("shared=redis://{}", redis.address()), format!("http://user:{CANARY}-proxy@{refusing}"));
    let collector = format!("http://{refusing}");
    let headers = format!("authorization=Bearer%20{CANARY}-collector");
    let password = format!("{CANARY}-redis");
    let environment = [
        ("FROM_ENVIRONMENT", &*format!("{CANARY}-environment")),
        ("WASI_HTTP_HOST_VAR", "github_token,from_environment"),
        ("WASI_HTTP_HOST_KEYVALUE_STORE", &store),
        ("WASI_HTTP_HOST_REDIS_PASSWORD", &password),
        ("HTTP_PROXY", &proxy),
        ("HTTPS_PROXY", &proxy),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
        ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
    ];
    let from_flag = format!("from_flag={CANARY}-flag");
    let flags = [
        "--settings-dir",
        settings.to_str().unwrap(),
        "--var",
        &from_flag,
        "--var",
        "github_token,from_environment",
        "--allowed-outbound-host",
        "http://*",
        "--log-level",
        "trace",
        "--redis-connect-timeout",
        "300ms",
    ];
    serving(&guest("service")).flags(&flags).envs(&environment).start().await
}

/// Sends requests with secrets, and requests whose handling uses the host's secrets and fails.
async fn assert_no_answer_has_a_secret(host: &Host) {
    for path in [
        "/keyvalue/get/shared/key",
        "/keyvalue/get/unknown/key",
        "/fetch?example.com",
        "/hostile/smuggle?example.com",
        &format!("/fetch?user:{CANARY}@example.com"),
        "/fetch?10.0.0.1",
        "/trap",
        "/hostile/panic",
        "/error/internal",
        &format!("/nothing?token={CANARY}"),
    ] {
        let request = host
            .request("GET", path)
            .header("authorization", &format!("Bearer {CANARY}"))
            .header("cookie", &format!("session={CANARY}"));
        let answer = request.send_partial().await;
        assert_no_secret(path, answer.text());
        assert_no_secret(path, &format!("{:?}", answer.headers));
    }
    for path in ["/metrics", "/ready", "/live"] {
        assert_no_secret(path, host.admin(path).await.text());
    }
}

#[tokio::test]
async fn a_host_in_trouble_tells_no_secret() {
    let redis = RedisServer::with(&["--requirepass", "another"]);
    let refusing = Refusing::bind();
    let mut host = host_in_trouble(&redis, refusing.address()).await;
    for name in ["github_token", "from_environment", "from_flag"] {
        let answer = host.get(&format!("/config/{name}")).await;
        assert!(answer.text().contains(CANARY), "the guest itself may read the secret: {}", answer.text());
    }
    assert_no_answer_has_a_secret(&host).await;
    host.wait_for_line(|line| line["message"] == "an instance trapped and was discarded").await;
    host.wait_for_line(|line| line["store"] == "shared" && line["level"] == "WARN").await;
    host.wait_for_line(|line| line["message"] == "outbound request failed").await;
    let own = fs::read_to_string(format!("/proc/{}/cmdline", host.pid())).unwrap();
    assert!(
        own.contains(CANARY),
        "a flag is visible to other processes, and so the wrong place for a secret"
    );
    host.kill().await;
    host.log().ended().await;
    assert_no_secret("standard output or standard error", &host.log().text());
}

#[test]
fn a_setting_that_is_wrong_is_named_without_its_value() {
    let app = guest("service");
    let app = app.to_str().unwrap();
    let secret = |text: &str| text.replace('?', CANARY);
    for (flag, variable, value) in [
        ("--var", "WASI_HTTP_HOST_VAR", secret("github-token=?")),
        ("--keyvalue-store", "WASI_HTTP_HOST_KEYVALUE_STORE", secret("shared=redis://me:?@cache")),
        ("--keyvalue-store", "WASI_HTTP_HOST_KEYVALUE_STORE", secret("redis://:?@cache")),
        (
            "--allowed-outbound-host",
            "WASI_HTTP_HOST_ALLOWED_OUTBOUND_HOST",
            secret("https://me:?@example.com"),
        ),
    ] {
        let named = |text: &str| {
            text.contains(flag)
                || text.contains(flag.trim_start_matches("--"))
                || text.contains("allowed_outbound_hosts")
        };
        let flags = ["serve", app, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let by_flag = command().args(flags).args([flag, &value]).output().unwrap();
        let by_variable = command().args(flags).env(variable, &value).output().unwrap();
        assert!(without_secret(&by_variable).contains(&format!("{variable} ({flag})")), "{by_variable:?}");
        for output in [by_flag, by_variable] {
            assert!(!output.status.success());
            let said = without_secret(&output);
            assert!(named(&said), "{flag}: {said}");
        }
    }
    let proxy =
        command().args(["serve", app]).env("HTTPS_PROXY", secret("socks5://me:?@proxy")).output().unwrap();
    assert!(without_secret(&proxy).contains("HTTPS_PROXY"));
    assert_eq!(proxy.status.code(), Some(64));
    let both = command()
        .args(["serve", app, "--redis-password-file", "/nowhere"])
        .env("WASI_HTTP_HOST_REDIS_PASSWORD", CANARY)
        .output()
        .unwrap();
    assert!(without_secret(&both).contains("--redis-password"));
}

#[test]
fn help_and_inspect_tell_no_secret() {
    let app = guest("service");
    for args in [&["--help"][..], &["serve", "--help"], &["serve", "-h"], &["inspect", app.to_str().unwrap()]]
    {
        let output = command()
            .args(args)
            .env("WASI_HTTP_HOST_VAR", format!("github_token={CANARY}"))
            .env("WASI_HTTP_HOST_REDIS_PASSWORD", CANARY)
            .env("WASI_HTTP_HOST_KEYVALUE_STORE", format!("shared=redis://cache/{CANARY}"))
            .env("WASI_HTTP_HOST_ALLOWED_OUTBOUND_HOST", format!("https://me:{CANARY}@example.com"))
            .env("HTTPS_PROXY", format!("http://me:{CANARY}@proxy"))
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization={CANARY}"))
            .output()
            .unwrap();
        assert!(!without_secret(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn a_manifest_that_is_wrong_tells_no_setting() {
    let directory = scratch("secrets-manifest");
    let manifest = |rest: &str| {
        let path = directory.join("spin.toml");
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n[variables]\ntoken = {{ required = true, secret = true }}\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"c\"\n[component.c]\nsource = {:?}\n{rest}\n",
            guest("service")
        );
        fs::write(&path, text).unwrap();
        path
    };
    for rest in [
        "allowed_outbound_hosts = [\"https://{{ token }}\"]",
        "variables = { token = \"{{ tokens }}\" }",
        "variables = { token = \"{{ token\" }",
        "key_value_stores = [\"unknown\"]",
    ] {
        let output = command()
            .arg("serve")
            .arg(manifest(rest))
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--no-cache"])
            .env("TOKEN", CANARY)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{rest}");
        assert!(!without_secret(&output).is_empty(), "{rest}");
    }
}
