//! The command line: exit codes, messages, `inspect`.

use std::fs;

use serde_json::Value;

use testkit::paths::{code_cache, guest, scratch};

use crate::harness::{run, run_in, serve_fails};

/// The smallest core module, the smallest component, and a component that imports `made:up/thing@1.2.3` with a function `go`.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
const IMPORTING: &[u8] = b"\0asm\x0d\0\x01\0\x07\x0f\x01\x42\x02\x01\x40\0\x01\0\x04\0\x02go\x01\0\
                           \x0a\x18\x01\0\x13made:up/thing@1.2.3\x05\0";

fn refused(name: &str, bytes: &[u8]) -> String {
    let path = scratch(&format!("refused-{name}")).join("app.wasm");
    fs::write(&path, bytes).unwrap();
    let output = run(&["compile", path.to_str().unwrap(), "--no-cache"]);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_cannot_be_served_is_refused_by_what_it_is() {
    assert!(refused("module", MODULE).contains("core module"));
    assert!(refused("empty", EMPTY).contains("nothing"));
    let garbage = refused("truncated", b"\0asm\x0d\0\x01\0\x07\xff");
    assert!(garbage.contains("invalid"), "{garbage}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_flag_and_what_was_wanted() {
    let app = guest("service");
    let app = app.to_str().unwrap();
    let none = "/nowhere/file";
    let collector =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", none)];
    let redis = ["--keyvalue-store", "shared=rediss://127.0.0.1:1"];
    for (args, environment, named) in [
        (
            &["nosuch.toml"][..],
            &[][..],
            "nosuch.toml: No such file or directory (os error 2): want a component (.wasm), a spin.toml",
        ),
        (&[], &[], "spin.toml: No such file or directory"),
        (
            &[],
            &[("WASI_HTTP_HOST_APP", none)],
            "as the argument or in WASI_HTTP_HOST_APP; there is no directory /nowhere",
        ),
        (
            &[app, "--tls-cert", none, "--tls-key", none],
            &[],
            "--tls-key: /nowhere/file: No such file or directory (os error 2): want the key",
        ),
        (
            &[app, "--outbound-ca-file", none],
            &[],
            "--outbound-ca-file: /nowhere/file: No such file or directory (os error 2): want certificates",
        ),
        (&[app], &collector, "OTEL_EXPORTER_OTLP_CERTIFICATE: /nowhere/file: No such file or directory"),
        (
            &[app, "--settings-dir", none],
            &[],
            "--settings-dir: /nowhere/file: No such file or directory (os error 2): want a directory",
        ),
        (
            &[&[app, "--redis-ca-file", none][..], &redis].concat(),
            &[],
            "--redis-ca-file: /nowhere/file: No such file or directory",
        ),
    ] {
        let message = serve_fails(64, args, environment);
        assert!(message.contains(named), "{args:?}: {message}");
    }
    let binary = serve_fails(64, &["/bin/sh"], &[]);
    assert!(binary.contains("/bin/sh: neither UTF-8 nor WebAssembly: want a component (.wasm)"), "{binary}");
}

#[test]
fn what_the_manifest_names_and_is_not_there_is_named_with_what_was_wanted() {
    let path = scratch("manifest-names-nothing").join("spin.toml");
    let app = guest("service");
    for (component, named) in [
        (
            "source = \"gone.wasm\"".to_owned(),
            "gone.wasm: No such file or directory (os error 2): want the component that `source` in the manifest names: build it",
        ),
        (
            format!("source = {app:?}\nfiles = [{{ source = \"gone\", destination = \"/d\" }}]"),
            "gone: No such file or directory (os error 2): want the directory that `files` in the manifest names",
        ),
    ] {
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"c\"\n[component.c]\n{component}\n"
        );
        fs::write(&path, text).unwrap();
        let message = serve_fails(1, &[path.to_str().unwrap()], &[]);
        assert!(message.contains(named), "{message}");
    }
}

/// A component that imports the instances `names`, each with the function `handle`, and exports an empty instance under each of
/// the names. See the component model's Binary.md.
fn importing(names: &[&str]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let count = u8::try_from(names.len()).unwrap();
    let named = |what: &[u8]| -> Vec<u8> {
        let items = names.iter().map(|name| [&[0, length(name.as_bytes())], name.as_bytes(), what].concat());
        [vec![count], items.collect::<Vec<_>>().concat()].concat()
    };
    let instance = b"\x01\x42\x02\x01\x40\0\x01\0\x04\0\x06handle\x01\0".to_vec();
    // The exported instance comes after the imported ones.
    let sections = [(7, instance), (10, named(&[5, 0])), (5, vec![1, 1, 0]), (11, named(&[5, count, 0]))];
    let sections = sections.map(|(id, content)| [&[id, length(&content)], &content[..]].concat());
    [EMPTY, &sections.concat()].concat()
}

#[test]
fn an_import_of_a_release_candidate_comes_with_what_to_rebuild_with() {
    let said = refused("candidate", &importing(&["wasi:http/handler@0.3.0-rc-2026-03-15"]));
    assert!(said.contains("wasi:http/handler@0.3.0-rc-2026-03-15"), "{said}");
    let advice = "rebuild the component for WASI 0.3.0, for example with spin-sdk 7";
    assert!(said.trim_end().ends_with(advice), "{said}");

    let both = ["wasi:http/handler@0.3.0-rc-2026-01-06", "wasi:http/client@0.3.0-rc-2026-01-06"];
    assert_eq!(refused("candidates", &importing(&both)).matches(advice).count(), 1, "once for both imports");
    let older = refused("older", &importing(&["wasi:http/incoming-handler@0.2.0-rc-2023-11-10"]));
    assert!(older.contains("for WASI 0.2.0 or later, for example with spin-sdk 5.2"), "{older}");
    let spin = refused("spin", &importing(&["wasi:http/handler@0.3.999", "fermyon:spin/variables@2.0.0"]));
    assert!(spin.contains("use wasi:config/store for variables"), "{spin}");
    let unknown = refused("unknown", &importing(&["wasi:http/handler@0.3.999", "other:thing/api@1.0.0"]));
    assert!(unknown.trim_end().ends_with(')'), "{unknown}");
}

#[test]
fn a_bad_setting_is_named_with_code_64() {
    for (args, named) in [
        (&["serve", "--max-memory", "lots"][..], "--max-memory"),
        (&["serve", "--request-timeout", "1ms"], "--request-timeout"),
        (&["serve", "--max-memory", "1"], "--max-memory"),
        (&["serve", "--max-memory", "4294967297"], "--max-memory: 4294967297 is more than 4GiB"),
        (&["serve", "--outbound-connect-timeout", "0"], "--outbound-connect-timeout"),
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["explode"], "explode"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(named), "{message}");
    }
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
}

/// Operators set variables: a message that names the flag alone would name what they have not written.
#[test]
fn a_variable_that_does_not_parse_is_named_with_its_flag_its_value_and_what_was_wanted() {
    let app = guest("service");
    let app = app.to_str().unwrap();
    for (variable, value, reason) in [
        (
            "WASI_HTTP_HOST_MAX_MEMORY",
            "lots",
            "invalid value 'lots' for WASI_HTTP_HOST_MAX_MEMORY (--max-memory): \"lots\" is not a size: write it as 65536, \
             64KiB or 16MiB",
        ),
        (
            "WASI_HTTP_HOST_MAX_MEMORY",
            "5GiB",
            "invalid value for WASI_HTTP_HOST_MAX_MEMORY (--max-memory): 5GiB is more than 4GiB",
        ),
        (
            "WASI_HTTP_HOST_LOG_FORMAT",
            "xml",
            "invalid value 'xml' for WASI_HTTP_HOST_LOG_FORMAT (--log-format) [possible values: json, text]",
        ),
        (
            "WASI_HTTP_HOST_TRUSTED_PROXIES",
            "10.0.0.0/8,proxy",
            "invalid value 'proxy' for WASI_HTTP_HOST_TRUSTED_PROXIES (--trusted-proxies): invalid IP address syntax: want a \
             range of addresses, such as 10.0.0.0/8",
        ),
        (
            "WASI_HTTP_HOST_THREADS",
            "0",
            "invalid value '0' for WASI_HTTP_HOST_THREADS (--threads): number would be zero for non-zero type: want at least 1",
        ),
        (
            "WASI_HTTP_HOST_SETTINGS_DIR",
            "/nowhere",
            "invalid value for WASI_HTTP_HOST_SETTINGS_DIR (--settings-dir): /nowhere: No such file or directory (os error 2): \
             want a directory with one file for each setting",
        ),
        (
            "WASI_HTTP_HOST_VAR",
            "a b=hush",
            "invalid value 'a b=…' for WASI_HTTP_HOST_VAR (--var): expected NAME=VALUE, NAME, or NAME,NAME…: \"a b\" is not a \
             variable name: use lower_snake_case and at most 64 bytes",
        ),
    ] {
        let message = serve_fails(64, &[app], &[(variable, value)]);
        assert_eq!(message, format!("wasi-http-host: {reason}\n"));
    }
    let listen = run_in(&["serve", app], &[("WASI_HTTP_HOST_LISTEN", "localhost:80")]);
    let message = String::from_utf8_lossy(&listen.stderr).into_owned();
    let named = "invalid value 'localhost:80' for WASI_HTTP_HOST_LISTEN (--listen): ";
    assert!(message.contains(named) && message.contains("want an IP address and a port"), "{message}");
}

#[test]
fn the_reason_of_a_failure_is_in_the_termination_log() {
    let directory = scratch("termination-log");
    let (log, broken) = (directory.join("log"), directory.join("broken.wasm"));
    fs::write(&broken, b"\0asm\x0d\0\x01\0\x07\xff").unwrap();
    let (log_path, broken) = (log.to_str().unwrap(), broken.to_str().unwrap());
    let variable = ("WASI_HTTP_HOST_TERMINATION_LOG", log_path);
    let component = "component \"broken\": it is invalid: ";
    for (code, args, environment, reason) in [
        (
            64,
            &["serve"][..],
            &[variable, ("WASI_HTTP_HOST_MAX_MEMORY", "lots")][..],
            "invalid value 'lots' for WASI_",
        ),
        (
            64,
            &["serve", "--no-such-flag", "--termination-log", log_path],
            &[],
            "unexpected argument '--no-such-flag' found",
        ),
        (64, &[], &[variable], "no command: want serve, compile, inspect or probe"),
        (1, &["serve", broken, "--termination-log", log_path], &[], component),
        (1, &["compile", broken], &[variable], component),
    ] {
        fs::write(&log, "").unwrap();
        let listeners =
            [("WASI_HTTP_HOST_LISTEN", "127.0.0.1:0"), ("WASI_HTTP_HOST_ADMIN_LISTEN", "127.0.0.1:0")];
        let output = run_in(args, &[environment, &listeners].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let kept = fs::read_to_string(&log).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
        assert!(kept.starts_with(reason) && !kept.contains(['\n', '\x1b']), "{args:?}: {kept}");
        assert!(message.contains(&format!("wasi-http-host: {kept}\n")), "{args:?}: {message}");
    }

    // A file that is named and is not there is not created, and the reason comes first.
    fs::remove_file(&log).unwrap();
    let message = serve_fails(64, &["--max-memory", "lots", "--termination-log", log_path], &[]);
    let (reason, complaint) = message.split_once('\n').unwrap();
    assert!(reason.contains("lots") && complaint.contains(log_path) && !log.exists(), "{message}");
}

#[test]
fn log_lines_that_no_terminal_shows_have_no_colours() {
    let path = scratch("no-colours").join("app.wasm");
    fs::copy(guest("proxy"), &path).unwrap();
    let output = run(&["compile", path.to_str().unwrap(), "--no-cache"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("compiling") && !log.contains('\x1b'), "{log:?}");
}

#[test]
fn a_bad_setting_of_the_manifest_is_named_with_its_line_and_code_64() {
    let path = scratch("bad-own-limit").join("spin.toml");
    let text = "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
                [[trigger.http]]\nroute = \"/...\"\ncomponent = \"c\"\n\
                [component.c]\nsource = \"app.wasm\"\n[component.c.tool.wasi-http-host]\nmax-memory = 1\n";
    fs::write(&path, text).unwrap();
    let output =
        run(&["serve", path.to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{message}");
    assert!(message.contains("spin.toml:10") && message.contains("max-memory"), "{message}");
}

#[test]
fn inspect_lists_imports_and_whether_they_are_there() {
    let inspect = |path: &std::path::Path| {
        let output = run(&[
            "inspect",
            "--json",
            path.to_str().unwrap(),
            "--cache-dir",
            code_cache().to_str().unwrap(),
        ]);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.success(), value)
    };
    let (runs, found) = inspect(&guest("service"));
    assert!(runs && found["kind"] == "service", "{found}");
    let import = |name: &str| {
        found["imports"].as_array().unwrap().iter().find(|import| import["name"] == name).cloned()
    };
    assert_eq!(import("wasi:keyvalue/store@0.2.0-draft2").unwrap()["satisfied"], true);
    assert_eq!(inspect(&guest("proxy")).1["kind"], "proxy");

    let path = scratch("inspect-importing").join("app.wasm");
    fs::write(&path, IMPORTING).unwrap();
    let (runs, found) = inspect(&path);
    assert!(!runs);
    let import = &found["imports"][0];
    assert_eq!(
        (&import["name"], &import["satisfied"]),
        (&"made:up/thing@1.2.3".into(), &false.into()),
        "{found}"
    );
}
