//! An issuer of tokens with a key of its own.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

/// An issuer that signs with RS256 (RFC 7518, section 3.3).
pub(crate) struct Issuer {
    key: RsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// An issuer with a new key, which `openssl` makes.
    pub(crate) fn new() -> Self {
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
            .output()
            .unwrap();
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        // PEM, because some versions write the older PKCS#1 as DER.
        let pem = String::from_utf8(made.stdout).unwrap();
        let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let key = RsaKeyPair::from_pkcs8(&Base64::decode_vec(&text).unwrap()).unwrap();
        Self { key, random: SystemRandom::new() }
    }

    /// The public key as a JWK set (RFC 7517).
    pub(crate) fn keys(&self) -> Value {
        let public: PublicKeyComponents<Vec<u8>> = self.key.public().into();
        json!({ "keys": [{
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "test",
            "n": Base64UrlUnpadded::encode_string(&public.n), "e": Base64UrlUnpadded::encode_string(&public.e),
        }] })
    }

    /// A token with these claims that expires in `seconds`; with a negative number, it has expired.
    pub(crate) fn token(&self, seconds: i64, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = claims.clone();
        claims["exp"] = json!(i64::try_from(now).unwrap() + seconds);
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "test" });
        let signed = format!(
            "{}.{}",
            Base64UrlUnpadded::encode_string(header.to_string().as_bytes()),
            Base64UrlUnpadded::encode_string(claims.to_string().as_bytes())
        );
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
    }
}
