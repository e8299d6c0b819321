//! Input: a template, a name or an assignment of settings. The value of a template with a secret is a secret, and its debug output hides it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasi_http_host_manifest::settings::{Assignments, Name, Template, Value, Variables};

fuzz_target!(|text: &str| {
    let _ = text.parse::<Assignments>();
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
        assert!(
            name.environment()
                .iter()
                .all(|key| key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'))
        );
    }
    let Ok(template) = text.parse::<Template>() else { return };
    let secret = "s3cret".to_owned();
    let variables: Variables =
        template.variables().map(|name| (name.clone(), Value::new(secret.clone(), true))).collect();
    let uses_any = template.variables().next().is_some();
    let value = template.render(&variables).expect("each variable has a value");
    assert_eq!(value.is_secret(), uses_any);
    if uses_any {
        assert_eq!(format!("{value:?}"), "<secret>");
        assert!(value.expose().contains("s3cret"));
        assert!(template.render(&Variables::default()).is_err());
    } else {
        assert_eq!(&**value.expose(), text);
    }
});
