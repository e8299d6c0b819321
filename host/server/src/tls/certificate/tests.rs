//! Tests of loading and replacing the certificate and key.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rcgen::{CertifiedKey as Made, KeyPair};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::*;
use wasi_http_host_core::Exposition;

fn made() -> Made<KeyPair> {
    rcgen::generate_simple_self_signed(["name.test".to_owned()]).unwrap()
}

fn write(directory: &Path, pair: &Made<KeyPair>) {
    fs::write(directory.join("tls.crt"), pair.cert.pem()).unwrap();
    fs::write(directory.join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
}

fn files(directory: &Path) -> PairFiles {
    PairFiles { cert: directory.join("tls.crt"), key: directory.join("tls.key") }
}

/// Writes a pair as the kubelet updates a mounted Secret: into a new directory, and then by replacing a link to it.
fn publish(directory: &Path, name: &str, pair: &Made<KeyPair>) {
    fs::create_dir(directory.join(name)).unwrap();
    write(&directory.join(name), pair);
    symlink(name, directory.join("..data_tmp")).unwrap();
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
}

struct Bench {
    directory: TempDir,
    certificate: Certificate,
}

impl Bench {
    fn new(first: &Made<KeyPair>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), first);
        let certificate = Certificate::load(files(directory.path()), Arc::default()).unwrap();
        Self { directory, certificate }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn serves(&self, pair: &Made<KeyPair>) -> bool {
        let current = self.certificate.pair.current();
        current.certified.cert == [CertificateDer::from(pair.cert.der().to_vec())]
    }

    /// Returns the numbers of successful and of failed reloads.
    fn reloads(&self) -> (u64, u64) {
        let mut exposition = Exposition::default();
        self.certificate.stats.expose(&mut exposition);
        let text = exposition.into_text();
        let count = |outcome: &str| {
            let name = format!("wasi_http_host_tls_certificate_reloads_total{{outcome=\"{outcome}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
        };
        (count("ok"), count("failed"))
    }
}

#[test]
fn a_pair_that_is_replaced_one_after_the_other_is_taken_over_once_it_matches() {
    let (old, new) = (made(), made());
    let bench = Bench::new(&old);
    bench.certificate.check_files();
    assert_eq!(bench.reloads(), (0, 0));
    fs::write(bench.path("tls.crt"), new.cert.pem()).unwrap();
    // The failure is logged and counted once, however often the files are checked.
    bench.certificate.check_files();
    bench.certificate.check_files();
    assert!(bench.serves(&old));
    assert_eq!(bench.reloads(), (0, 1));
    fs::write(bench.path("tls.key"), new.signing_key.serialize_pem()).unwrap();
    bench.certificate.check_files();
    bench.certificate.check_files();
    assert!(bench.serves(&new));
    assert_eq!(bench.reloads(), (1, 1));
}

#[test]
fn a_mounted_secret_is_taken_over_when_its_link_is_swapped() {
    let (old, new) = (made(), made());
    let directory = tempfile::tempdir().unwrap();
    publish(directory.path(), "..2026_01", &old);
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), directory.path().join(name)).unwrap();
    }
    let certificate = Certificate::load(files(directory.path()), Arc::default()).unwrap();
    let bench = Bench { directory, certificate };
    assert!(bench.serves(&old));
    publish(bench.directory.path(), "..2026_02", &new);
    fs::remove_dir_all(bench.path("..2026_01")).unwrap();
    bench.certificate.check_files();
    assert!(bench.serves(&new));
    assert_eq!(bench.reloads(), (1, 0));
}

#[test]
fn files_that_are_gone_cut_or_wrong_leave_the_pair_in_use() {
    let (old, new) = (made(), made());
    let bench = Bench::new(&old);
    let pem = new.cert.pem();
    for (spoil, failed) in [
        (&pem[..pem.len() / 2], 1),
        ("", 2),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 3),
    ] {
        fs::write(bench.path("tls.crt"), spoil).unwrap();
        bench.certificate.check_files();
        assert!(bench.serves(&old));
        assert_eq!(bench.reloads(), (0, failed), "{spoil:?}");
    }
    fs::remove_file(bench.path("tls.crt")).unwrap();
    bench.certificate.check_files();
    bench.certificate.check_files();
    assert_eq!(bench.reloads(), (0, 4));
    // The old contents are neither a change nor a failure, and the next failure is counted again.
    write(bench.directory.path(), &old);
    bench.certificate.check_files();
    assert_eq!(bench.reloads(), (0, 4));
    fs::remove_file(bench.path("tls.key")).unwrap();
    bench.certificate.check_files();
    assert_eq!(bench.reloads(), (0, 5));
    write(bench.directory.path(), &new);
    bench.certificate.check_files();
    assert!(bench.serves(&new));
    assert_eq!(bench.reloads(), (1, 5));
}

#[test]
fn an_error_names_the_file_and_tells_nothing_of_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let (pair, other) = (made(), made());
    let error = |cert: &str, key: &str| {
        fs::write(directory.path().join("tls.crt"), cert).unwrap();
        fs::write(directory.path().join("tls.key"), key).unwrap();
        let error = Certificate::load(files(directory.path()), Arc::default()).unwrap_err();
        let at_key = matches!(error, PairError::Key(_));
        let file = directory.path().join(if at_key { "tls.key" } else { "tls.crt" });
        assert!(error.to_string().starts_with(&*file.to_string_lossy()), "{error:?}");
        (at_key, error.to_string())
    };
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    assert!(!error("nothing", &key).0);
    assert!(!error(&key, &key).0);
    assert!(error(&cert, &cert).0);
    let (at_key, message) = error(&cert, &other.signing_key.serialize_pem());
    assert!(at_key && message.contains("it does not belong to the certificate in"), "{message}");
    // The parser's own error message would repeat a line that is not base64.
    let (at_key, message) = error(&cert, "-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n");
    assert!(at_key && !message.contains("secret"), "{message}");
    let (at_key, message) = error(&cert, "-----BEGIN PRIVATE KEY secret");
    assert!(at_key && !message.contains("secret"), "{message}");
}
