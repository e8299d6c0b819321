//! Reading settings: defaults, bounds, and errors that name the setting.

use super::*;
use std::collections::HashMap;

use crate::crypto::test_keys;

struct Given(HashMap<&'static str, String>);

impl Configuration for Given {
    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(name).cloned())
    }
}

fn read(given: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
    Settings::read(&Given(given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()))
}

fn refused(name: &'static str, value: &str) {
    let error = read(&[(name, value)]).expect_err(value);
    assert_eq!(error.setting, name, "{value:?}");
    let shown = error.to_string().contains(value);
    let is_secret = table::ALL.iter().any(|setting| setting.name == name && setting.secret);
    assert!(!shown || !is_secret, "{error} shows a secret");
}

#[test]
fn nothing_set_is_the_default_and_so_is_empty() {
    for given in [&[][..], &[("cache_ttl", ""), ("github_api_url", ""), ("github_token", "")]] {
        let settings = read(given).unwrap();
        assert_eq!(settings.github, Origin { https: true, authority: "api.github.com".into() });
        assert_eq!(settings.cache_ttl, Duration::from_secs(300));
        assert_eq!(settings.github_rate_limit_reserve, 10);
        assert_eq!(settings.cache_refetch_after, Duration::from_secs(6 * 3600));
        assert_eq!(settings.upstream_timeout, Duration::from_secs(10));
        assert_eq!(settings.upstream_concurrency, 20);
        assert_eq!(settings.github_token, None);
        assert_eq!(settings.cors_allow_origin.as_deref(), Some("*"));
        assert_eq!((settings.cache_store.as_str(), settings.credential()), ("default", 0));
    }
}

#[test]
fn an_empty_origin_switches_cors_off() {
    assert_eq!(read(&[("cors_allow_origin", "")]).unwrap().cors_allow_origin, None);
}

#[test]
fn origins_are_scheme_host_and_port() {
    for (value, https, authority) in [
        ("http://127.0.0.1:8099", false, "127.0.0.1:8099"),
        ("HTTPS://GitHub.Example/", true, "github.example"),
        ("http://[::1]:80", false, "[::1]:80"),
    ] {
        let origin = read(&[("github_api_url", value)]).unwrap().github;
        assert_eq!(origin, Origin { https, authority: authority.into() });
    }
}

#[test]
fn a_time_limit_may_have_decimals() {
    for (value, millis) in [
        ("0.1", 100),
        (".5", 500),
        ("1.", 1_000),
        ("2.25", 2_250),
        ("010", 10_000),
        ("9.9999999999", 9_999),
        ("300.000", 300_000),
    ] {
        let settings = read(&[("upstream_timeout", value)]).unwrap();
        assert_eq!(settings.upstream_timeout.as_millis(), millis, "{value}");
    }
}

#[test]
fn what_does_not_parse_is_refused_by_name() {
    for value in [
        "github.com",
        "ftp://x.example",
        "http://",
        "http://a b",
        "http://u@h.example",
        "http://h.example/p",
        "http://h.example?q",
        "http://h.example:0",
        "http://h.example:65536",
        "http://h.example:8x",
        "http://[::1",
        "http://h.example:",
        "http://h.example\r\nx: y",
    ] {
        refused("github_api_url", value);
    }
    for value in ["0", "-1", "5m", "1.5", "+5", "99999999999999999999999"] {
        refused("cache_ttl", value);
    }
    for value in ["91", "-1", "10%"] {
        refused("github_rate_limit_reserve", value);
    }
    for value in ["0", "6h", "31536001"] {
        refused("cache_refetch_after", value);
    }
    for value in ["api", "//x", "/a/../b", "/a b"] {
        refused("github_api_path", value);
    }
    for value in ["0", "1001", "many"] {
        refused("upstream_concurrency", value);
    }
    for value in [
        "0.01",
        "0.0999999999",
        "301",
        "300.1",
        "1e2",
        "inf",
        "ten",
        ".",
        "1.2.3",
        "-1",
        "99999999999999999999",
    ] {
        refused("upstream_timeout", value);
    }
    for name in ["github_token", "admin_token"] {
        refused(name, "line\nbreak");
        refused(name, "two words");
    }
    refused("cors_allow_origin", "a\r\nb");
    refused("pod_name", &"x".repeat(MAX_VALUE + 1));
}

#[test]
fn a_secret_is_compared_whole_and_never_shown() {
    let token = read(&[("admin_token", "s3cret")]).unwrap().admin_token.unwrap();
    assert!(token.matches(b"s3cret"));
    for other in ["", "s3cre", "s3crets", "S3cret"] {
        assert!(!token.matches(other.as_bytes()), "{other}");
    }
    assert!(!format!("{token:?}").contains("s3cret"));
}

#[test]
fn each_token_has_its_own_credential() {
    let of = |token| read(&[("github_token", token)]).unwrap().credential();
    assert_ne!(of("a"), of("b"));
    assert_ne!(of("a"), 0);
    assert_eq!(of("a"), of("a"));
}

#[test]
fn an_app_is_set_with_all_of_its_settings_or_not_at_all() {
    let [pem, _] = test_keys::make(2048);
    let [_, other] = test_keys::make(2048);
    let all = [
        ("github_app_id", "Iv23li.x"),
        ("github_app_installation_id", "51234567"),
        ("github_app_private_key", pem.as_str()),
    ];
    let settings = read(&all).unwrap();
    let app = settings.github_app.as_ref().unwrap();
    assert_eq!((app.id.as_str(), app.installation.as_str()), ("Iv23li.x", "51234567"));
    let other = read(&[all[0], all[1], ("github_app_private_key", &other)]).unwrap();
    assert_eq!(settings.credential(), other.credential(), "a new key does not make another principal");
    for changed in
        [[("github_app_id", "7"), all[1], all[2]], [all[0], ("github_app_installation_id", "7"), all[2]]]
    {
        assert_ne!(settings.credential(), read(&changed).unwrap().credential());
    }
    for (missing, (name, _)) in all.iter().enumerate() {
        let given: Vec<_> =
            all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, set)| *set).collect();
        let error = read(&given).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("setting '{name}' must be set, because another setting of the GitHub App is")
        );
    }
    let error = read(&[all[0], all[1], all[2], ("github_token", "ghp_x")]).unwrap_err().to_string();
    assert_eq!(error, "setting 'github_token' must be empty if github_app_id is set");
    let key = pem.lines().nth(1).unwrap();
    for value in ["s3cret", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", key, &pem[..1600]] {
        refused("github_app_private_key", value);
    }
    for (name, value) in
        [("github_app_id", "a b"), ("github_app_id", "\"}"), ("github_app_installation_id", "x")]
    {
        refused(name, value);
    }
}

#[test]
fn exactly_the_settings_of_the_table_are_read() {
    struct Recorded(std::cell::RefCell<Vec<String>>);

    impl Configuration for Recorded {
        fn setting(&self, name: &str) -> Result<Option<String>, String> {
            self.0.borrow_mut().push(name.to_owned());
            Ok(None)
        }
    }

    let recorded = Recorded(std::cell::RefCell::default());
    Settings::read(&recorded).unwrap();
    let table: Vec<_> = table::ALL.iter().map(|setting| setting.name).collect();
    assert_eq!(recorded.0.into_inner(), table);
}

#[test]
fn what_the_table_calls_secret_is_never_shown() {
    for setting in table::ALL.iter().filter(|setting| setting.secret) {
        let settings = read(&[(setting.name, "s3cret")]);
        assert!(!format!("{settings:?}").contains("s3cret"), "{}", setting.name);
    }
}
