//! Input: a certificate (DER), or a file of authorities (PEM). The names of a certificate are bounded and are in the certificate, and a subject
//! cannot break a line. A file has no more authorities than it has certificates.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use wasi_http_host_certificates::{AuthorityFile, Names, Source as _};

fuzz_target!(|bytes: &[u8]| {
    let contains = |text: &[u8]| text.is_empty() || bytes.windows(text.len()).any(|part| part == text);
    let names = Names::of(bytes);
    assert!(names.subject.len() <= 256 && !names.subject.contains(char::is_control), "{names:?}");
    assert!(names.alternative.len() <= 8, "{names:?}");
    for name in &names.alternative {
        let (kind, name) = name.split_once(':').expect("a name has its kind");
        match kind {
            "IP" => assert!(name.parse::<IpAddr>().is_ok(), "{name}"),
            "DNS" | "URI" | "email" => assert!(name.len() <= 256 && contains(name.as_bytes()), "{name}"),
            other => panic!("{other}"),
        }
    }
    match AuthorityFile("authorities.pem".into()).parse(&bytes.to_vec()) {
        Ok(roots) => {
            let begins = String::from_utf8_lossy(bytes).matches("BEGIN CERTIFICATE").count();
            assert!((1..=begins).contains(&roots.len()), "{}", roots.len());
        }
        Err(error) => assert!(error.to_string().starts_with("authorities.pem: "), "{error}"),
    }
});
