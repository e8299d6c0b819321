//! `inspect` on the examples, and the refusal of a component that only Spin can run.

use std::path::Path;

use serde_json::Value;
use testkit::paths::workspace;

use crate::{EXAMPLES, harness::run};

#[test]
fn it_tells_what_each_is_and_that_nothing_is_missing() {
    for example in EXAMPLES {
        let report = inspect(&example.manifest());
        assert_eq!(report["kind"], example.kind, "{}", example.name);
        let imports = report["imports"].as_array().unwrap();
        assert!(imports.iter().all(|import| import["satisfied"] == true), "{}: {report:#}", example.name);
        let names: Vec<_> = imports.iter().filter_map(|import| import["name"].as_str()).collect();
        for wanted in ["wasi:http/types@0.", "wasi:config/store@", "wasi:keyvalue/atomics@"] {
            assert!(names.iter().any(|name| name.starts_with(wanted)), "{}: {wanted}", example.name);
        }
    }
}

#[test]
fn an_import_that_only_spin_has_is_named_with_its_version() {
    let wasm = workspace().join("target/examples/spin-only.wasm");
    assert!(wasm.is_file(), "build it with `make examples`");
    let missing = "fermyon:spin/variables@2.0.0";
    let report = inspect(&wasm);
    let import =
        report["imports"].as_array().unwrap().iter().find(|import| import["name"] == missing).unwrap();
    assert_eq!(import["satisfied"], false);
    let refused = run([
        "serve".as_ref(),
        wasm.as_os_str(),
        "--listen=127.0.0.1:0".as_ref(),
        "--admin-listen=127.0.0.1:0".as_ref(),
    ]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!(
            "it imports what this host does not provide: {missing} (this host does not have `get`)"
        )),
        "{said}"
    );
}

fn inspect(app: &Path) -> Value {
    let output = run(["inspect".as_ref(), app.as_os_str(), "--json".as_ref()]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
