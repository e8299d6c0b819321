//! The program, as containerd runs it.

use std::{fs, path::Path, process::Command};

fn run(arguments: &[&str], policy: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wasi-http-image-verifier"))
        .args(arguments)
        .env("WASI_HTTP_IMAGE_POLICY", policy)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_exit_code_decides_and_standard_output_says_why() {
    let policy = tempfile::tempdir().unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let pull = [
        "-name",
        "example.com/api:1",
        "-digest",
        &digest,
        "-stdin-media-type",
        "application/vnd.oci.descriptor.v1+json",
    ];
    let (allowed, said) = run(&pull, policy.path());
    assert!(
        !allowed && said.contains("policy.toml: No such file"),
        "without a policy, nothing is allowed: {said}"
    );
    fs::write(policy.path().join("policy.toml"), "unlisted = \"allow\"\n").unwrap();
    assert_eq!(
        run(&pull, policy.path()),
        (true, "example.com/api is not listed in the node's policy\n".to_owned())
    );
    fs::write(policy.path().join("policy.toml"), "unlisted = \"refuse\"\n").unwrap();
    assert!(!run(&pull, policy.path()).0);
    let (allowed, said) = run(&[], policy.path());
    assert!(!allowed && said.contains("expected -name NAME -digest DIGEST"), "{said}");
}
