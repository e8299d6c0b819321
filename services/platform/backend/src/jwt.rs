//! JSON Web Tokens (RFC 7519) that are signed with `RS256`.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use web::{InvalidSetting, Platform, Setting};

use crate::rsa::PublicKey;

/// The most bytes of a token.
const MAX_TOKEN: usize = 8 * 1024;
/// The most keys of a key set.
const MAX_KEYS: usize = 16;
/// By how much the clocks of issuer and service may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// What a token must be to open the protected routes.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: KeySet,
    issuer: String,
    audience: Option<String>,
}

/// The claims that a protected route shows.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    iss: String,
}

/// The keys of a JSON Web Key Set (RFC 7517) that can be used.
#[derive(Debug)]
struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    key: PublicKey,
}

impl Setting for KeySet {
    fn parse(value: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            kid: Option<String>,
            alg: Option<String>,
            #[serde(rename = "use")]
            usage: Option<String>,
            n: Option<String>,
            e: Option<String>,
        }
        let expected = "a JSON Web Key Set with RSA keys of 2048, 3072 or 4096 bits for RS256, 16 at most";
        let set: Set = serde_json::from_str(value).map_err(|error| format!("{expected}: {error}"))?;
        let mut keys = Vec::new();
        for jwk in set.keys {
            // A set may have keys of other kinds, which no token here can name.
            let is_ours = jwk.kty == "RSA"
                && jwk.alg.is_none_or(|alg| alg == "RS256")
                && jwk.usage.is_none_or(|usage| usage == "sig");
            if !is_ours {
                continue;
            }
            let number = |text: Option<String>| Base64UrlUnpadded::decode_vec(&text?).ok();
            let (modulus, exponent) = (number(jwk.n), number(jwk.e));
            let key =
                modulus.zip(exponent).and_then(|(modulus, exponent)| PublicKey::new(&modulus, &exponent));
            keys.push(Key { id: jwk.kid, key: key.ok_or(expected)? });
        }
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(expected.to_owned());
        }
        Ok(Self(keys))
    }
}

impl Verifier {
    /// The settings; `None` if neither keys nor issuer are set.
    pub(crate) fn read(platform: &Platform) -> Result<Option<Self>, InvalidSetting> {
        let (keys, issuer) = (platform.setting("jwt_jwks")?, platform.setting("jwt_issuer")?);
        let missing = |name, other: &str| InvalidSetting { name, reason: format!("not set, but {other} is") };
        match (keys, issuer) {
            (Some(keys), Some(issuer)) => {
                Ok(Some(Self { keys, issuer, audience: platform.setting("jwt_audience")? }))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => Err(missing("jwt_jwks", "jwt_issuer")),
            (Some(_), None) => Err(missing("jwt_issuer", "jwt_jwks")),
        }
    }

    /// The claims of `token`, if it is valid at `now` (since the Unix epoch).
    ///
    /// # Errors
    /// What is wrong with the token.
    pub(crate) fn verify(&self, token: &str, now: Duration) -> Result<Claims, &'static str> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: Option<String>,
            crit: Option<serde_json::Value>,
        }
        #[derive(Deserialize)]
        struct Payload {
            iss: Option<String>,
            sub: Option<String>,
            aud: Option<Audience>,
            exp: Option<f64>,
            nbf: Option<f64>,
        }
        if token.len() > MAX_TOKEN {
            return Err("it is longer than 8 KiB");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it has no three parts")?;
        let (header, payload) = signed.split_once('.').ok_or("it has no three parts")?;
        let header: Header = decoded(header).ok_or("its header cannot be read")?;
        // The key decides on the algorithm, not the token.
        if header.alg != "RS256" {
            return Err("its algorithm is not RS256");
        }
        if header.crit.is_some() {
            return Err("it has critical extensions");
        }
        let signature =
            Base64UrlUnpadded::decode_vec(signature).map_err(|_| "its signature cannot be read")?;
        let mut keys = self.keys.0.iter().filter(|key| header.kid.is_none() || key.id == header.kid);
        if !keys.any(|key| key.key.verifies(signed.as_bytes(), &signature)) {
            return Err("no key of jwt_jwks has signed it");
        }
        let payload: Payload = decoded(payload).ok_or("its claims cannot be read")?;
        let (now, leeway) = (now.as_secs_f64(), LEEWAY.as_secs_f64());
        if payload.exp.ok_or("it has no time of expiry")? + leeway <= now {
            return Err("it has expired");
        }
        if payload.nbf.is_some_and(|nbf| nbf - leeway > now) {
            return Err("its time has not come");
        }
        let issuer = payload.iss.filter(|issuer| *issuer == self.issuer);
        let iss = issuer.ok_or("its issuer is not jwt_issuer")?;
        if let Some(audience) = &self.audience
            && !payload.aud.is_some_and(|aud| aud.has(audience))
        {
            return Err("its audience is not jwt_audience");
        }
        Ok(Claims { sub: payload.sub, iss })
    }
}

/// The claim `aud`: one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// The JSON that `part` encodes.
fn decoded<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).ok()?).ok()
}

/// Keys and tokens for tests. OpenSSL makes the keys, ring the signatures.
#[cfg(test)]
pub(crate) mod test_tokens {
    use std::process::{Command, Stdio};
    use std::sync::LazyLock;
    use std::time::Duration;

    use base64ct::{Base64UrlUnpadded, Encoding as _};
    use ring::rand::SystemRandom;
    use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
    use serde_json::{Value, json};

    use crate::rsa::PublicKey;

    pub(crate) const ISSUER: &str = "https://issuer.example";
    pub(crate) const AUDIENCE: &str = "platform";
    pub(crate) const NOW: Duration = Duration::from_secs(1_700_000_000);

    /// Who signs tokens, with a key of 2048 bits.
    pub(crate) struct Signer(RsaKeyPair);

    impl Signer {
        fn new() -> Self {
            let mut command = Command::new("openssl");
            command.args([
                "genpkey",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-outform",
                "DER",
            ]);
            let key = command.stderr(Stdio::null()).output().expect("the tests need openssl").stdout;
            // OpenSSL 3.0 writes PKCS#1 here, others PKCS#8.
            Self(RsaKeyPair::from_pkcs8(&key).or_else(|_| RsaKeyPair::from_der(&key)).unwrap())
        }

        /// The signer whose key the service knows. All tests share it, because a key takes a while to make.
        pub(crate) fn known() -> &'static Self {
            static KNOWN: LazyLock<Signer> = LazyLock::new(Signer::new);
            &KNOWN
        }

        /// A signer whose key the service does not know.
        pub(crate) fn stranger() -> &'static Self {
            static STRANGER: LazyLock<Signer> = LazyLock::new(Signer::new);
            &STRANGER
        }

        pub(crate) fn public_key(&self) -> PublicKey {
            let (modulus, exponent) = self.numbers();
            PublicKey::new(&modulus, &exponent).unwrap()
        }

        fn numbers(&self) -> (Vec<u8>, Vec<u8>) {
            let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::from(self.0.public());
            (n, e)
        }

        pub(crate) fn jwk(&self, id: &str) -> Value {
            let (modulus, exponent) = self.numbers();
            let text = |number: &[u8]| Base64UrlUnpadded::encode_string(number);
            json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": text(&modulus), "e": text(&exponent)})
        }

        pub(crate) fn jwks(&self) -> String {
            json!({"keys": [self.jwk("key-1")]}).to_string()
        }

        pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
            let mut signature = vec![0; self.0.public().modulus_len()];
            self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        }

        /// Claims that are valid for an hour.
        pub(crate) fn claims() -> Value {
            let now = NOW.as_secs();
            json!({"iss": ISSUER, "sub": "alice", "aud": [AUDIENCE, "other"], "nbf": now, "exp": now + 3_000})
        }

        pub(crate) fn token(&self, claims: &Value) -> String {
            self.token_with(&json!({"alg": "RS256", "kid": "key-1", "typ": "JWT"}), claims)
        }

        pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = Base64UrlUnpadded::encode_string(&self.sign(signed.as_bytes()));
            format!("{signed}.{signature}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use web::fake::Fake;

    use super::test_tokens::{AUDIENCE, ISSUER, NOW, Signer};
    use super::*;

    fn verifier(jwks: &str) -> Verifier {
        let fake = Fake::new();
        fake.setting("jwt_jwks", jwks);
        fake.setting("jwt_issuer", ISSUER);
        fake.setting("jwt_audience", AUDIENCE);
        Verifier::read(&fake.platform()).unwrap().unwrap()
    }

    #[test]
    fn claims_decide() {
        let signer = Signer::known();
        let verifier = verifier(&signer.jwks());
        let with = |name: &str, value: Value| {
            let mut claims = Signer::claims();
            claims[name] = value;
            verifier.verify(&signer.token(&claims), NOW).map(|claims| claims.iss)
        };
        let now = NOW.as_secs();
        let valid = Ok(ISSUER.to_owned());
        assert_eq!(with("more", json!(1)), valid);
        assert_eq!(with("aud", json!("platform")), valid);
        assert_eq!(with("exp", json!(now - 29)), valid, "within the leeway");
        assert_eq!(with("exp", json!(now as f64 + 0.5)), valid, "a NumericDate may have a fraction");
        assert_eq!(with("nbf", Value::Null), valid);
        for (name, value, reason) in [
            ("exp", json!(now - 30), "it has expired"),
            ("exp", Value::Null, "it has no time of expiry"),
            ("exp", json!("tomorrow"), "its claims cannot be read"),
            ("nbf", json!(now + 31), "its time has not come"),
            ("iss", json!("https://issuer.example/"), "its issuer is not jwt_issuer"),
            ("iss", Value::Null, "its issuer is not jwt_issuer"),
            ("aud", json!("plat"), "its audience is not jwt_audience"),
            ("aud", json!([]), "its audience is not jwt_audience"),
            ("aud", Value::Null, "its audience is not jwt_audience"),
        ] {
            assert_eq!(with(name, value.clone()), Err(reason), "{name} {value}");
        }
    }

    #[test]
    fn the_key_decides_on_the_algorithm() {
        let (signer, stranger) = (Signer::known(), Signer::stranger());
        let verifier = verifier(&json!({"keys": [stranger.jwk("key-2"), signer.jwk("key-1")]}).to_string());
        let verify = |token: &str| verifier.verify(token, NOW).map(|_| ());
        let claims = Signer::claims();
        assert_eq!(verify(&signer.token(&claims)), Ok(()));
        assert_eq!(
            verify(&signer.token_with(&json!({"alg": "RS256"}), &claims)),
            Ok(()),
            "any key may have signed"
        );
        for (header, reason) in [
            (json!({"alg": "none"}), "its algorithm is not RS256"),
            (json!({"alg": "HS256", "kid": "key-1"}), "its algorithm is not RS256"),
            (json!({"alg": "rs256"}), "its algorithm is not RS256"),
            (json!({"kid": "key-1"}), "its header cannot be read"),
            (json!({"alg": "RS256", "crit": ["exp"]}), "it has critical extensions"),
            (json!({"alg": "RS256", "kid": "key-2"}), "no key of jwt_jwks has signed it"),
            (json!({"alg": "RS256", "kid": "key-3"}), "no key of jwt_jwks has signed it"),
        ] {
            assert_eq!(verify(&signer.token_with(&header, &claims)), Err(reason), "{header}");
        }
        assert_eq!(verify(&stranger.token(&claims)), Err("no key of jwt_jwks has signed it"));
        let token = signer.token(&claims);
        let unsigned = token.rsplit_once('.').unwrap().0;
        assert_eq!(verify(&format!("{unsigned}.")), Err("no key of jwt_jwks has signed it"));
        assert_eq!(verify(unsigned), Err("it has no three parts"));
        assert_eq!(verify(&format!("{unsigned}.?")), Err("its signature cannot be read"));
        assert_eq!(verify("x"), Err("it has no three parts"));
        assert_eq!(verify(&"x".repeat(8_193)), Err("it is longer than 8 KiB"));
    }

    #[test]
    fn a_key_set_has_a_key_that_can_be_used() {
        let jwk = Signer::known().jwk("key-1");
        let with = |name: &str, value: Value| {
            let mut jwk = jwk.clone();
            jwk[name] = value;
            KeySet::parse(&json!({"keys": [jwk]}).to_string()).map(|set| set.0.len())
        };
        assert_eq!(with("use", Value::Null), Ok(1));
        for (name, value) in [
            ("kty", json!("EC")),
            ("alg", json!("RS512")),
            ("use", json!("enc")),
            ("n", json!("AQAB")),
            ("e", json!("?")),
        ] {
            assert!(with(name, value).unwrap_err().starts_with("a JSON Web Key Set"), "{name}");
        }
        for value in ["", "{}", "{\"keys\":[]}", "-----BEGIN PUBLIC KEY-----"] {
            assert!(KeySet::parse(value).is_err(), "{value}");
        }
        let many = vec![jwk; 17];
        assert!(KeySet::parse(&json!({"keys": many}).to_string()).is_err());
    }

    proptest! {
        #[test]
        fn any_token_has_a_result(token in "[A-Za-z0-9_.=-]{0,100}", text: String, header in "[ -~]{0,40}") {
            let verifier = verifier(&Signer::known().jwks());
            let header = Base64UrlUnpadded::encode_string(header.as_bytes());
            for token in [&token, &text, &format!("{header}.{header}.{header}")] {
                prop_assert!(verifier.verify(token, NOW).is_err());
            }
            let _ = KeySet::parse(&text);
        }
    }
}
