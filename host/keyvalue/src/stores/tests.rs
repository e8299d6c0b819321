use super::*;
use wasi_http_host_egress::SystemResolver;

fn config(stores: &[&str]) -> KeyValueConfig {
    let stores = stores.iter().map(|text| text.parse().unwrap()).collect();
    KeyValueConfig { stores, ..KeyValueConfig::default() }
}

fn open(stores: &[&str]) -> String {
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::default());
    format!("{:?}", config(stores).open(&[], 1, &resolver).unwrap())
}

#[test]
fn a_store_has_a_name_and_its_scheme_says_which_kind_it_is() {
    assert_eq!(open(&[]), r#"{"default"}"#);
    let settings = ["shared=redis://cache", " other=RediSs://[::1]:7/2", "own=memory:"];
    assert_eq!(open(&settings), r#"{"default", "other", "own", "shared"}"#);
    assert_eq!(config(&settings).granted().unwrap(), ["shared", "other", "own"]);
    assert_eq!(open(&["default=memory:"]), r#"{"default"}"#);
    assert!(config(&["default=memory:"]).granted().unwrap().is_empty(), "the manifest grants it");
}

#[test]
fn each_kind_has_a_scheme_of_its_own_and_a_form_that_shows_it() {
    for (at, kind) in KINDS.iter().enumerate() {
        assert!(kind.form.starts_with(&format!("{}:", kind.scheme)), "{}", kind.form);
        assert!(KINDS[..at].iter().all(|other| other.scheme != kind.scheme));
    }
}

#[test]
fn what_is_wrong_is_named_without_the_url() {
    for (stores, part) in [
        (&["redis://cache"][..], "NAME="),
        (&["=redis://cache"], "letters"),
        (&["default=redis://cache"], "this process's own store"),
        (&["a=redis://x", "a=redis://y"], "twice"),
        (&["a=memory:hush"], "nothing may follow"),
        (&["shared=redis://:hush@cache"], "must not contain a password"),
        (&["shared=http://hush"], "scheme"),
        (&["shared=hush"], "scheme"),
        (&["shared=rediss://:hush@cache"], "must not contain a password"),
    ] {
        let config = config(stores);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("--keyvalue-store") && error.contains(part), "{error}");
        assert!(!error.contains("hush") && !format!("{config:?}").contains("hush"), "{error}");
    }
}
