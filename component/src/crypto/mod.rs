//! What a GitHub App needs of cryptography: the signature of its JSON web tokens (RS256), and the encryption of what the
//! store keeps. Nothing here runs unless the service is an app.

mod der;
pub mod sealing;
pub mod signing_key;
#[cfg(test)]
pub(crate) mod test_keys;
