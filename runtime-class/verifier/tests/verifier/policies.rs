//! Policies in directories.

use std::fs;

use tempfile::TempDir;
use wasi_http_image_verifier::{
    policy::{Policy, Rule},
    reference::Reference,
};

use crate::signing::Signer;

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn image(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

#[test]
fn the_nearest_entry_decides_about_an_image() {
    let (team, api) = (Signer::new("team.pub"), Signer::new("api.pub"));
    let policy = r#"
        unlisted = "refuse"
        [[image]]
        repository = "example.com/team"
        keys = ["team.pub"]
        [[image]]
        repository = "example.com/team/api"
        keys = ["api.pub", "team.pub"]
        [[image]]
        repository = "127.0.0.1:5000"
        keys = ["team.pub"]
    "#;
    let directory = directory(&[("policy.toml", policy), ("team.pub", &team.pem()), ("api.pub", &api.pem())]);
    let policy = Policy::read(directory.path()).unwrap();
    assert_eq!(policy.rule(&image("example.com/team/web:1")), Rule::Signed(std::slice::from_ref(&team.key)));
    assert_eq!(
        policy.rule(&image("example.com/team/api:1")),
        Rule::Signed(&[api.key.clone(), team.key.clone()])
    );
    assert_eq!(policy.rule(&image("127.0.0.1:5000/x")), Rule::Signed(std::slice::from_ref(&team.key)));
    assert_eq!(policy.rule(&image("example.com/team-b/api")), Rule::Refused);
    assert_eq!(policy.files(), ["api.pub", "policy.toml", "team.pub"]);
}

#[test]
fn unlisted_images_are_allowed_where_the_policy_says_so() {
    let directory = directory(&[("policy.toml", "unlisted = \"allow\"\n")]);
    assert_eq!(
        Policy::read(directory.path()).unwrap().rule(&image("docker.io/library/redis")),
        Rule::Allowed
    );
}

#[test]
fn a_login_is_read_in_each_form_of_dockers_and_never_shown() {
    let policy = "unlisted = \"allow\"\n[[registry]]\nhost = \"example.com:5000\"\nlogin = \"login.json\"\n";
    for login in [
        r#"{"auths":{"example.com:5000":{"auth":"bm9kZTpzZWNyZXQ6MQ=="}}}"#,
        r#"{"auths":{"example.com:5000":{"username":"node","password":"secret:1"}}}"#,
    ] {
        let directory = directory(&[("policy.toml", policy), ("login.json", login)]);
        let policy = Policy::read(directory.path()).unwrap();
        let access = policy.access_to("example.com:5000").unwrap();
        let login = access.login.as_ref().unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("node", "secret:1"));
        assert!(!format!("{policy:?}").contains("secret"), "{policy:?}");
        assert!(policy.access_to("example.com").is_none());
    }
}

#[test]
fn a_wrong_policy_is_refused_with_the_file_and_the_reason() {
    let key = Signer::new("k.pub").pem();
    let entry = |repository: &str, keys: &str| {
        format!("unlisted = \"allow\"\n[[image]]\nrepository = \"{repository}\"\nkeys = {keys}\n")
    };
    let registry =
        |rest: &str| format!("unlisted = \"allow\"\n[[registry]]\nhost = \"example.com\"\n{rest}\n");
    let long = "#".repeat(300_000);
    let twice = format!(
        "{}[[image]]\nrepository = \"example.com\"\nkeys = [\"k.pub\"]\n",
        entry("example.com", "[\"k.pub\"]")
    );
    for (policy, reason) in [
        ("", "missing field `unlisted`"),
        ("unlisted = \"perhaps\"", "unknown variant"),
        ("unlisted = \"allow\"\nenforce = false", "unknown field `enforce`"),
        ("unlisted = allow", "policy.toml"),
        (&long, "more than 262144 bytes"),
        (&entry("example.com/a", "[]"), "expected 1 to 256 keys"),
        (&entry("example.com/a", "[\"none.pub\"]"), "none.pub: No such file"),
        (&entry("example.com/a", "[\"bad.pub\"]"), "bad.pub: expected one PUBLIC KEY"),
        (&entry("example.com/a", "[\"../k.pub\"]"), "a file beside policy.toml"),
        (&entry("example.com/a", "[\".\"]"), "a file beside policy.toml"),
        (&entry("example.com/a:1", "[\"k.pub\"]"), "without a tag"),
        (&entry("example.com/A", "[\"k.pub\"]"), "without a tag"),
        (&entry("example.com/a/", "[\"k.pub\"]"), "without a tag"),
        (&entry("", "[\"k.pub\"]"), "without a tag"),
        (&twice, "listed twice"),
        (&registry("login = \"k.pub\""), "k.pub: not JSON"),
        (&registry("login = \"other.json\""), "no login of the registry"),
        (&registry("login = \"shape.json\""), "not an object of texts"),
        (&registry("authorities = \"none.pem\""), "none.pem"),
        (&registry("[[registry]]\nhost = \"example.com\""), "listed once"),
        ("unlisted = \"allow\"\n[[registry]]\nhost = \"https://example.com\"", "expected HOST"),
    ] {
        let directory = directory(&[
            ("policy.toml", policy),
            ("k.pub", &key),
            ("bad.pub", "key"),
            ("other.json", r#"{"auths":{"example.org":{"auth":""}}}"#),
            ("shape.json", r#"{"auths":{"example.com":{"auth":1}}}"#),
        ]);
        let error = Policy::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains(reason), "{policy:.100}: {error}");
    }
    let nothing = tempfile::tempdir().unwrap();
    let error = Policy::read(nothing.path()).unwrap_err().to_string();
    assert!(error.contains("policy.toml: No such file"), "{error}");
}
