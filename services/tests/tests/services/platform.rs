//! The system `platform`: the backend, its page, and the demo API.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use e2e::{Instances, system};
use serde_json::{Value, json};
use testkit::{Host, HostOptions};

suite!(
    the_page_shows_the_backends_data,
    the_protected_routes_need_a_token,
    the_demo_api_answers_below_its_path
);

const ISSUER: &str = "https://issuer.example";

async fn start(instances: Instances, change: impl FnOnce(HostOptions) -> HostOptions) -> Host {
    change(system("platform", instances).await).start().await
}

async fn the_page_shows_the_backends_data(instances: Instances) {
    let host = start(instances, |options| {
        options.setting("message", "<b>&").setting("app_version", "2.0.0").setting("cluster_name", "east")
    })
    .await;
    let data = host.get("/api/data").await.is(200).json();
    assert_eq!(
        (&data["message"], &data["version"], &data["cluster"]),
        (&json!("<b>&"), &json!("2.0.0"), &json!("east"))
    );
    let page = host.get("/").await.is(200);
    for shown in ["&lt;b&gt;&amp;</dd>", "2.0.0</dd>", "east</dd>", "The backend has answered."] {
        assert!(page.text().contains(shown), "{shown}\n{}", page.text());
    }
    assert!(!page.header("content-security-policy").unwrap().contains("unsafe"));
    let asset = page.text().split('"').find(|part| part.starts_with("./assets/style.")).unwrap();
    let style = host.get(&asset[1..]).await.is(200);
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let away = start(instances, |options| options.setting("backend_url", "http://127.0.0.1:1")).await;
    assert!(away.get("/").await.is(200).text().contains("The backend does not answer"));
}

async fn the_protected_routes_need_a_token(instances: Instances) {
    let closed = start(instances, |options| options).await;
    closed.get("/api/public/a").await.is(200);
    closed.get("/api/protected/a").await.is(503);
    let (known, stranger) = (Signer::new(), Signer::new());
    let host = start(instances, |options| {
        options
            .setting("jwt_jwks", &known.jwks())
            .setting("jwt_issuer", ISSUER)
            .setting("jwt_audience", "platform")
    })
    .await;
    let ask = async |token: &str| {
        let request =
            host.request("GET", "/api/protected/a/b").header("authorization", &format!("Bearer {token}"));
        request.send().await
    };
    host.get("/api/protected/a").await.is(401);
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "platform", "exp": 32_503_680_000_u64});
    let reply = ask(&known.token(&claims)).await.is(200).json();
    assert_eq!(reply, json!({"access": "protected", "path": "a/b", "sub": "alice", "iss": ISSUER}));
    ask(&stranger.token(&claims)).await.is(401);
    let mut expired = claims.clone();
    expired["exp"] = json!(1);
    let reply = ask(&known.token(&expired)).await.is(401);
    assert_eq!(reply.json()["detail"], "the token is not valid: it has expired");
    assert!(reply.header("www-authenticate").unwrap().contains("invalid_token"));
}

async fn the_demo_api_answers_below_its_path(instances: Instances) {
    let host =
        start(instances, |options| options.setting("app_version", "3").setting("pod_name", "demo-1")).await;
    let identity = host.get("/demo").await.is(200).json();
    assert_eq!(identity, json!({"service": "demo-api", "version": "3", "cluster": "local", "pod": "demo-1"}));
    host.get("/demo/status/418").await.is(418);
    let echo = |body: Vec<u8>| {
        host.request("POST", "/demo/echo").header("content-type", "application/json").body(body).send()
    };
    let body = json!({"list": vec![7; 5_000]}).to_string();
    assert_eq!(echo(body.clone().into_bytes()).await.is(200).text(), body);
    echo(vec![b' '; 65_537]).await.is(413);
    echo(b"{".to_vec()).await.is(400);
}

/// Who signs tokens, with a key of 2048 bits that OpenSSL makes and uses.
struct Signer(Vec<u8>);

impl Signer {
    fn new() -> Self {
        Self(openssl(&["genrsa", "2048"], &[]))
    }

    /// The key set with this key alone.
    fn jwks(&self) -> String {
        let text = openssl(&["rsa", "-noout", "-modulus"], &self.0);
        let text = String::from_utf8(text).unwrap();
        let digits = text.trim().strip_prefix("Modulus=").unwrap();
        let modulus: Vec<_> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        json!({"keys": [{"kty": "RSA", "alg": "RS256", "n": encode(&modulus), "e": "AQAB"}]}).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let signed =
            format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let directory = testkit::paths::scratch(&format!("platform-key-{}", self.digest()));
        let key = directory.join("key.pem");
        std::fs::write(&key, &self.0).unwrap();
        let signature = openssl(&["dgst", "-sha256", "-sign", &key.to_string_lossy()], signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    /// A name for files of this key, which no other test has.
    fn digest(&self) -> String {
        let digest = openssl(&["dgst", "-sha256", "-binary"], &self.0);
        encode(&digest)
    }
}

fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// The output of `openssl` with these arguments, which reads `input`.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the tests need openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}
