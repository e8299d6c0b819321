//! RSA keys for tests, made by OpenSSL, which the tests need anyway.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// A new key of `bits` bits in PEM form, as PKCS#1 and as PKCS#8.
pub(crate) fn make(bits: usize) -> [String; 2] {
    let pkcs8 = openssl(&["genrsa", &bits.to_string()], "");
    [openssl(&["rsa", "-traditional"], &pkcs8), pkcs8]
}

/// The output of `openssl` with these arguments, which reads `input`.
fn openssl(arguments: &[&str], input: &str) -> String {
    let command = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = command.expect("the tests need openssl");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
