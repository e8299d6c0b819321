//! `scripts/backup`: what the shop has stored, and its Secrets, are there again after the loss of both. A part of the test of the shop.

use std::path::Path;
use std::process::Command;

use cluster_e2e::{LONG, Namespace, Pod, eventually_within};
use serde_json::Value;
use testkit::http::Request;
use testkit::http::blocking::Client;
use testkit::paths;

use crate::support::answered;

/// A Secret of the shop that the loss takes, too.
const SECRET: &str = "order-api";

/// Runs the script. Returns the exit code and what it said.
fn backup(command: &str, namespace: &Namespace, directory: &Path, options: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(paths::workspace().join("scripts/backup"))
        .args([command, namespace.name()])
        .arg(directory)
        .args(options)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// An order is there again after Redis has lost its volume, when a backup is restored.
pub(crate) fn an_order_outlives_the_loss_of_the_volume(namespace: &Namespace, orders: &Client, id: &str) {
    let directory = paths::scratch("backup").join("shop");
    let secret = || namespace.kubectl(["get", "secret", SECRET]).json().map(|secret| secret["data"].clone());
    let before = secret().unwrap();
    let (code, said) = backup("save", namespace, &directory, &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = backup("restore", namespace, &directory, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("keys: nothing was changed"), "{said}");

    // The test cluster's volume ends with the pod.
    let uid = |pod: &Value| pod.pointer("/metadata/uid").cloned();
    let redis = || namespace.kubectl(["get", "pod", "shop-redis-0"]).json();
    let old = uid(&redis().unwrap());
    namespace.kubectl(["delete", "pod", "shop-redis-0"]).must();
    namespace.kubectl(["delete", "secret", SECRET]).must();
    eventually_within(LONG, "Redis runs again", || {
        let pod = redis()?;
        if uid(&pod) != old && Pod::from(pod.clone()).ready() {
            Ok(())
        } else {
            Err(pod["status"].to_string())
        }
    });
    let order = Request::get(&format!("/orders/{id}"));
    let _ = answered(orders, &order, 404);

    let (code, said) = backup("restore", namespace, &directory, &["--replace"]);
    assert_eq!(code, Some(0), "{said}");
    let kept = answered(orders, &order, 200).json();
    assert_eq!(kept["id"], id, "{kept}");
    assert_eq!(secret(), Ok(before));
}
