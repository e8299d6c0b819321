//! Responds as GitHub does to an app that asks for the token of its installation.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::common::{json_response, now};
use super::request::FakeRequest;
use super::response::ScriptedResponse;
use super::users::timestamp;

/// The longest time that a JSON web token may be valid from now on, in seconds.
const LONGEST_CLAIM: u64 = 600;

/// A private key of an app, in both forms.
#[derive(Clone)]
pub struct AppKey {
    /// In PEM form, as PKCS#1: what GitHub gives.
    pub pkcs1: String,
    /// In PEM form, as PKCS#8.
    pub pkcs8: String,
    /// The public key in DER form, as PKCS#1.
    public: Vec<u8>,
}

impl AppKey {
    /// A new key of 2048 bits.
    ///
    /// # Errors
    /// If `openssl` cannot be run.
    pub fn make() -> io::Result<Self> {
        let pkcs8 = openssl(&["genrsa", "2048"], &[])?;
        let pkcs1 = openssl(&["rsa", "-traditional"], &pkcs8)?;
        let public = openssl(&["rsa", "-RSAPublicKey_out", "-outform", "DER"], &pkcs8)?;
        let text = |pem| String::from_utf8(pem).map_err(io::Error::other);
        Ok(Self { pkcs1: text(pkcs1)?, pkcs8: text(pkcs8)?, public })
    }
}

/// The output of `openssl` with these arguments, which reads `input`.
fn openssl(arguments: &[&str], input: &[u8]) -> io::Result<Vec<u8>> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() { Ok(output.stdout) } else { Err(io::Error::other("openssl failed")) }
}

/// An app that the fake knows, and the tokens of its installation.
pub(super) struct App {
    key: AppKey,
    life: Duration,
    /// How many tokens were given.
    given: u64,
    /// Each token that was given and is not revoked, and when it expires.
    tokens: Vec<(String, Duration)>,
}

impl App {
    pub(super) const ID: &str = "4711";
    pub(super) const INSTALLATION: &str = "51234567";

    pub(super) fn new(key: AppKey, life: Duration) -> Self {
        Self { key, life, given: 0, tokens: Vec::new() }
    }

    /// Makes all tokens invalid.
    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// Whether `authorization` is absent, the token of a user, or a valid token of the installation.
    pub(super) fn admits(&self, authorization: Option<&str>) -> bool {
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        token
            .filter(|token| token.starts_with("ghs_"))
            .is_none_or(|token| self.tokens.iter().any(|(known, expires)| known == token && now() < *expires))
    }

    /// The response to a request for a token of an installation.
    pub(super) fn respond(&mut self, request: &FakeRequest, installation: &str) -> ScriptedResponse {
        let claims = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
            .and_then(|token| self.verify(token));
        let refuse = |status: u16, message: &str| json_response(status, &json!({ "message": message }));
        let Some(claims) = claims else { return refuse(401, "A JSON web token could not be decoded") };
        let time = |name: &str| claims.get(name).and_then(Value::as_u64);
        let (Some(issued), Some(expires)) = (time("iat"), time("exp")) else {
            return refuse(401, "Missing 'issued at' claim ('iat') in assertion");
        };
        let present = now().as_secs();
        if issued > present {
            return refuse(
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            );
        }
        if expires <= present || expires > present + LONGEST_CLAIM {
            return refuse(401, "'Expiration time' claim ('exp') is too far in the future");
        }
        if claims.get("iss").is_none_or(|issuer| *issuer != Self::ID) {
            return refuse(404, "Integration not found");
        }
        if installation != Self::INSTALLATION {
            return refuse(404, "Not Found");
        }
        self.give()
    }

    fn give(&mut self) -> ScriptedResponse {
        self.given += 1;
        let token = format!("ghs_{}", self.given);
        let expires = now() + self.life;
        self.tokens.push((token.clone(), expires));
        // Whole seconds, as GitHub writes them: the token lives up to a second longer than it says.
        let expires_at = timestamp(expires.as_secs());
        let body = json!({ "token": token, "expires_at": expires_at, "permissions": { "metadata": "read" }, "repository_selection": "all" });
        json_response(201, &body)
    }

    /// The claims of a JSON web token that is signed with the app's key.
    fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| Base64UrlUnpadded::decode_vec(part).ok();
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).ok();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key.public);
        key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        (json(header)?.get("alg")? == "RS256").then(|| json(claims))?
    }
}
