//! Decisions about pulls from a registry.

use std::fs;

use tempfile::TempDir;
use wasi_http_image_verifier::{
    digest::Digest, error::Result, policy::Policy, reference::Reference, request::Request, verdict,
};

use crate::{
    registry::{Answer, FakeRegistry, Login},
    signing::Signer,
};

const REPOSITORY: &str = "team/api";

/// A registry, a key of the policy, and the policy's directory.
struct Pulls {
    registry: FakeRegistry,
    signer: Signer,
    policy: TempDir,
}

impl Pulls {
    fn new() -> Self {
        Self::of(FakeRegistry::start())
    }

    fn of(registry: FakeRegistry) -> Self {
        let pulls =
            Self { registry, signer: Signer::new("release.pub"), policy: tempfile::tempdir().unwrap() };
        pulls.write("release.pub", &pulls.signer.pem());
        pulls.write("ca.pem", &pulls.registry.authority);
        pulls.configure("authorities = \"ca.pem\"");
        pulls
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.policy.path().join(name), content).unwrap();
    }

    /// Writes the policy, with these settings of the registry.
    fn configure(&self, registry: &str) {
        let host = &self.registry.host;
        self.write(
            "policy.toml",
            &format!(
                "unlisted = \"refuse\"\n[[image]]\nrepository = \"{host}/team\"\nkeys = [\"release.pub\"]\n\
                 [[registry]]\nhost = \"{host}\"\n{registry}\n"
            ),
        );
    }

    fn decide(&self, image: &Digest) -> Result<String> {
        let name = format!("{}/{REPOSITORY}:1", self.registry.host);
        let request = Request { image: Reference::parse(&name).unwrap(), digest: image.clone() };
        verdict::decide(&Policy::read(self.policy.path()).unwrap(), &request)
    }

    fn refusal(&self, image: &Digest) -> String {
        self.decide(image).unwrap_err().to_string()
    }

    fn attach(&self, image: &Digest, bundles: &[Vec<u8>], api: bool) {
        self.registry.attach(REPOSITORY, image, bundles, api);
    }

    fn bundle(&self, image: &Digest) -> Vec<u8> {
        self.signer.sign(image).to_string().into_bytes()
    }
}

#[test]
fn a_signed_image_is_allowed_by_the_referrers_api_and_by_the_tag() {
    let pulls = Pulls::new();
    for (image, api) in [(Digest::of(b"api"), true), (Digest::of(b"tag"), false)] {
        let stranger = Signer::new("theirs").sign(&image).to_string().into_bytes();
        pulls.attach(&image, &[stranger, b"junk".to_vec(), pulls.bundle(&image)], api);
        assert_eq!(pulls.decide(&image).unwrap(), "signed by release.pub");
    }
}

#[test]
fn a_registry_is_reached_by_its_name() {
    let pulls = Pulls::of(FakeRegistry::named("localhost"));
    let image = Digest::of(b"image");
    pulls.attach(&image, &[pulls.bundle(&image)], true);
    assert_eq!(pulls.decide(&image).unwrap(), "signed by release.pub");
}

#[test]
fn an_unsigned_image_is_refused() {
    let pulls = Pulls::new();
    let image = Digest::of(b"image");
    assert!(pulls.refusal(&image).starts_with("not signed: "), "{}", pulls.refusal(&image));
    pulls.attach(&image, &[], true);
    assert!(pulls.refusal(&image).starts_with("not signed: "), "{}", pulls.refusal(&image));
}

#[test]
fn an_image_with_the_signatures_of_others_is_refused() {
    let pulls = Pulls::new();
    let (image, good) = (Digest::of(b"image"), Digest::of(b"good"));
    let theirs = Signer::new("theirs").sign(&image).to_string().into_bytes();
    // A registry can attach the signature of a good image to a bad one.
    pulls.attach(&image, &[theirs, pulls.bundle(&good)], true);
    let refusal = pulls.refusal(&image);
    for part in
        ["no signature counts", "none of the policy's keys", "signed by release.pub, but for another image"]
    {
        assert!(refusal.contains(part), "{refusal}");
    }
    let many: Vec<_> = (0..100).map(|number: u32| number.to_string().into_bytes()).collect();
    pulls.attach(&image, &many, true);
    let refusal = pulls.refusal(&image);
    assert!(refusal.ends_with("and 28 more") && refusal.len() < 1000, "{refusal}");
}

#[test]
fn what_the_registry_says_instead_refuses_the_image() {
    let pulls = Pulls::new();
    let image = Digest::of(b"image");
    let path = format!("/v2/{REPOSITORY}/referrers/{image}");
    for (answer, reason) in [
        (Answer::refused("500 Internal Server Error", ""), "500 Internal Server Error"),
        (Answer::refused("302 Found", "Location: http://127.0.0.1:1/\r\n"), "/referrers/"),
        (Answer::ok("<html>"), "not the JSON that was expected"),
        (
            Answer::ok(format!(r#"{{"manifests":"{}"}}"#, "x".repeat(100_000))),
            "not the JSON that was expected",
        ),
        (Answer::ok(vec![b' '; (1 << 20) + 1]), "/referrers/"),
        (
            Answer::ok(
                r#"{"manifests":[{"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":"../x"}]}"#,
            ),
            "digest \"../x\"",
        ),
    ] {
        pulls.registry.answer(&path, answer);
        let refusal = pulls.refusal(&image);
        assert!(refusal.contains(reason), "{reason}: {refusal}");
        assert!(refusal.len() < 1000, "{reason}: {} bytes", refusal.len());
    }
}

#[test]
fn the_login_of_the_policy_is_used_where_the_registry_asks_for_one() {
    let pulls = Pulls::new();
    let image = Digest::of(b"image");
    pulls.attach(&image, &[pulls.bundle(&image)], true);
    let host = &pulls.registry.host;
    pulls.write(
        "login.json",
        &format!(r#"{{"auths":{{"{host}":{{"username":"node","password":"secret"}}}}}}"#),
    );
    let basic = Login::Header("Basic bm9kZTpzZWNyZXQ=", "Basic realm=\"r\"".to_owned());
    let bearer = Login::Header("Bearer t0", format!("Bearer realm=\"https://{host}/token\",service=\"s\""));
    pulls
        .registry
        .answer("/token?service=s&scope=repository%3Ateam%2Fapi%3Apull", Answer::ok(r#"{"token":"t0"}"#));
    for login in [basic.clone(), bearer] {
        pulls.registry.require(login);
        pulls.configure("authorities = \"ca.pem\"\nlogin = \"login.json\"");
        assert_eq!(pulls.decide(&image).unwrap(), "signed by release.pub");
    }
    pulls.registry.require(basic);
    pulls.configure("authorities = \"ca.pem\"");
    assert!(pulls.refusal(&image).contains("has no login for this registry"), "{}", pulls.refusal(&image));
    pulls.write(
        "login.json",
        &format!(r#"{{"auths":{{"{host}":{{"username":"node","password":"wrong"}}}}}}"#),
    );
    pulls.configure("authorities = \"ca.pem\"\nlogin = \"login.json\"");
    let refusal = pulls.refusal(&image);
    assert!(refusal.contains("401 Unauthorized") && !refusal.contains("wrong"), "{refusal}");
}

#[test]
fn a_registry_of_an_unknown_authority_refuses_the_image() {
    let pulls = Pulls::new();
    let image = Digest::of(b"image");
    pulls.attach(&image, &[pulls.bundle(&image)], true);
    pulls.write("ca.pem", &testkit::tls::Authority::new().pem);
    assert!(pulls.refusal(&image).contains("certificate"), "{}", pulls.refusal(&image));
}

#[test]
fn an_unlisted_image_is_not_asked_for() {
    let pulls = Pulls::new();
    let request = Request { image: Reference::parse("127.0.0.1:1/x").unwrap(), digest: Digest::of(b"x") };
    let policy = Policy::read(pulls.policy.path()).unwrap();
    assert!(verdict::decide(&policy, &request).unwrap_err().to_string().contains("refuses unlisted images"));
}
