//! Tests of which identity a connection has, and of files that change.

use super::*;
use rcgen::{CertificateParams, CertifiedKey as Made, DnType, IsCa, KeyPair};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn made(name: &str) -> Made<KeyPair> {
    let signing_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    Made { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

fn write(directory: &Path, name: &str, pair: &Made<KeyPair>) {
    fs::write(directory.join(format!("{name}.crt")), pair.cert.pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), pair.signing_key.serialize_pem()).unwrap();
}

struct Bench {
    directory: TempDir,
    /// The certificates, by the names of their files.
    made: Vec<(&'static str, Made<KeyPair>)>,
}

impl Bench {
    fn new(names: &[&'static str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made: Vec<_> = names.iter().map(|name| (*name, made(name))).collect();
        made.iter().for_each(|(name, pair)| write(directory.path(), name, pair));
        Self { directory, made }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn certificate(&self, pattern: &str, name: &str) -> ClientCertificateSetting {
        let (cert, key) = (self.file(&format!("{name}.crt")), self.file(&format!("{name}.key")));
        format!("{pattern}={cert},{key}").parse().unwrap()
    }

    fn authority(&self, pattern: &str, name: &str) -> AuthoritySetting {
        format!("{pattern}={}", self.file(&format!("{name}.crt"))).parse().unwrap()
    }

    /// The name of the certificate that a connection shows.
    fn shown(&self, identities: &Identities, uri: &str) -> &'static str {
        let Some(identity) = identity(identities, uri) else { return "none" };
        let Some(certificate) = identity.certificate() else { return "none" };
        let is_shown = |(_, pair): &&(_, Made<KeyPair>)| *pair.cert.der() == certificate.cert[0];
        self.made.iter().find(is_shown).map_or("unknown", |(name, _)| *name)
    }
}

fn identity(identities: &Identities, uri: &str) -> Option<Arc<Identity>> {
    identities.of(&Target::of(&uri.parse().unwrap()).unwrap())
}

fn metrics(identities: &Identities) -> String {
    let mut exposition = Exposition::default();
    identities.expose(&mut exposition);
    exposition.into_text()
}

#[test]
fn the_closest_pattern_counts_in_any_order() {
    let bench = Bench::new(&["any", "domain", "longer", "name", "port", "range", "net", "address"]);
    let mut settings = vec![
        bench.certificate("https://*:*", "any"),
        bench.certificate("https://*.example:*", "domain"),
        bench.certificate("https://*.a.example:*", "longer"),
        bench.certificate("https://x.a.example:*", "name"),
        bench.certificate("*://x.a.example:8443", "port"),
        bench.certificate("https://x.a.example:8000..9000", "range"),
        bench.certificate("https://10.0.0.0/8", "net"),
        bench.certificate("https://10.1.0.1", "address"),
    ];
    for _ in 0..2 {
        let identities = Identities::default().with_certificates(&settings).unwrap();
        for (uri, shown) in [
            ("https://elsewhere.test/", "any"),
            ("https://b.example/", "domain"),
            ("https://a.example/", "domain"),
            ("https://b.a.example/", "longer"),
            ("https://x.a.example/", "name"),
            ("https://X.A.example.:8443/", "port"),
            ("https://x.a.example:8001/", "range"),
            ("https://10.2.0.1/", "net"),
            ("https://10.1.0.1/", "address"),
            ("https://10.1.0.1:99/", "any"),
            ("http://x.a.example:8443/", "none"),
        ] {
            assert_eq!(bench.shown(&identities, uri), shown, "{uri}");
        }
        settings.reverse();
    }
}

#[test]
fn servers_of_the_same_patterns_share_an_identity_and_others_do_not() {
    let bench = Bench::new(&["a", "b"]);
    let identities = Identities::default()
        .with_certificates(&[
            bench.certificate("https://*.a.test", "a"),
            bench.certificate("https://b.test", "b"),
        ])
        .unwrap()
        .with_authorities(&[bench.authority("https://y.a.test", "a")])
        .unwrap();
    let of = |uri| identity(&identities, uri).unwrap();
    assert!(Arc::ptr_eq(&of("https://x.a.test/"), &of("https://z.a.test/")));
    assert!(!of("https://x.a.test/").has_same_patterns(&of("https://b.test/")));
    let pinned = of("https://y.a.test/");
    assert!(!pinned.has_same_patterns(&of("https://x.a.test/")));
    assert_eq!(pinned.authorities().unwrap().roots.len(), 1, "no other authority is trusted there");
    assert!(identity(&identities, "https://other.test/").is_none());
    assert!(Identities::default().is_empty() && !identities.is_empty());
}

#[test]
fn a_changed_file_makes_another_identity_and_a_broken_one_none() {
    let bench = Bench::new(&["a", "b", "c"]);
    let identities = Identities::default()
        .with_certificates(&[
            bench.certificate("https://a.test", "a"),
            bench.certificate("https://b.test", "b"),
        ])
        .unwrap()
        .with_authorities(&[bench.authority("https://c.test", "c")])
        .unwrap();
    let of = |uri| identity(&identities, uri).unwrap();
    let all = || ["https://a.test/", "https://b.test/", "https://c.test/"].map(of);
    let same = |before: &[Arc<Identity>; 3]| {
        let pairs = before.iter().zip(all());
        pairs.map(|(before, now)| Arc::ptr_eq(before, &now)).collect::<Vec<_>>()
    };
    let reloads = |outcome: &str| {
        let name = format!("wasi_http_host_outbound_certificate_reloads_total{{outcome=\"{outcome}\"}} ");
        metrics(&identities).lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
    };
    let before = all();
    identities.check_files();
    assert_eq!(same(&before), [true; 3]);
    // The certificate is replaced, and its key is not yet.
    let new = made("new");
    fs::write(bench.file("a.crt"), new.cert.pem()).unwrap();
    identities.check_files();
    identities.check_files();
    assert_eq!((same(&before), reloads("ok"), reloads("failed")), (vec![true; 3], "0".into(), "1".into()));
    write(bench.directory.path(), "a", &new);
    identities.check_files();
    assert_eq!((same(&before), reloads("ok")), (vec![false, true, true], "1".to_owned()));
    assert_eq!(of("https://a.test/").certificate().unwrap().cert[0], *new.cert.der());
    assert!(before[0].has_same_patterns(&of("https://a.test/")));
    let before = all();
    for spoilt in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(bench.file("c.crt"), spoilt).unwrap();
        identities.check_files();
    }
    fs::remove_file(bench.file("c.crt")).unwrap();
    identities.check_files();
    assert_eq!((same(&before), reloads("failed")), (vec![true; 3], "4".to_owned()));
    write(bench.directory.path(), "c", &new);
    identities.check_files();
    assert_eq!((same(&before), reloads("ok")), (vec![true, true, false], "2".to_owned()));
}

#[test]
fn the_metric_tells_when_a_certificate_expires() {
    let bench = Bench::new(&["a"]);
    let certificates = [bench.certificate("https://a.test", "a")];
    let identities = Identities::default().with_certificates(&certificates).unwrap();
    let end = identities.certificates.0[0].1.current().not_after;
    let sample = format!(
        "wasi_http_host_outbound_client_certificate_not_after_seconds{{pattern=\"https://a.test\"}} {end}\n"
    );
    assert!(metrics(&identities).contains(&sample), "{}", metrics(&identities));
}

#[test]
fn what_cannot_be_used_is_named() {
    let bench = Bench::new(&["a", "b"]);
    let certificates = |settings: &[ClientCertificateSetting]| {
        Identities::default().with_certificates(settings).unwrap_err().to_string()
    };
    let twice = [bench.certificate("https://a.test", "a"), bench.certificate("*://a.test:443", "b")];
    assert_eq!(certificates(&twice), "*://a.test:443: https://a.test has a value already");
    let missing = certificates(&[bench.certificate("https://a.test", "none")]);
    assert!(
        missing.starts_with("https://a.test: ") && missing.contains("none.key: No such file"),
        "{missing}"
    );
    assert!(missing.contains("want the key of") && missing.contains("none.crt"), "{missing}");
    let foreign = format!("https://a.test={},{}", bench.file("a.crt"), bench.file("b.key"));
    let foreign = certificates(&[foreign.parse().unwrap()]);
    assert!(foreign.contains("b.key: it does not belong to the certificate in"), "{foreign}");
    let empty = bench.authority("https://a.test", "a");
    fs::write(bench.file("a.crt"), "").unwrap();
    let empty = Identities::default().with_authorities(&[empty]).unwrap_err().to_string();
    assert!(empty.contains("a.crt: it contains no certificate"), "{empty}");
    for (text, reason) in [
        ("a.pem,a.key", "want PATTERN=CERT,KEY"),
        ("https://a.test=a.pem", "two files"),
        ("https://a.test=a.pem,", "two files"),
        ("https://a.test=a.pem,a.key,https://b.test=b.pem,b.key", "two files"),
        ("http://a.test=a.pem,a.key", "only https"),
        ("redis://a.test=a.pem,a.key", "only https"),
        ("a.test=a.pem,a.key", "scheme://host"),
        ("https://a.*=a.pem,a.key", "`*`"),
    ] {
        let error = text.parse::<ClientCertificateSetting>().unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
    assert!("https://a.test=".parse::<AuthoritySetting>().unwrap_err().contains("a file after"));
}
