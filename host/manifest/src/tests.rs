//! Tests of reading and resolving manifests.

use super::*;
use crate::settings::{Assignment, Sources};
use proptest::prelude::*;
use std::ffi::OsString;
use std::path::Path;
use wasi_http_host_core::environment;
use wasi_http_host_egress::{AllowList, Policy};

const MINIMAL: &str = r#"
spin_manifest_version = 2
[application]
name = "app"
[[trigger.http]]
route = "/..."
component = "one"
[component.one]
source = "one.wasm"
"#;

fn parse(text: &str) -> Result<Manifest, Error> {
    Manifest::parse(text, Path::new("dir/spin.toml"))
}

fn sources(environment: &'static [(&'static str, &'static str)], assignments: &[&str]) -> Sources {
    let assignments = assignments.iter().map(|text| text.parse::<Assignment>().unwrap()).collect();
    Sources::new(None, assignments).with_environment(|name| {
        environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn the_manifest_of_this_repository_is_served_whole() {
    let manifest =
        Manifest::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spin.toml"))).unwrap();
    assert_eq!(manifest.warnings, Vec::<String>::new());
    assert_eq!(manifest.components[0].id, "gists");
    assert!(manifest.components[0].source.ends_with("target/wasm32-wasip2/dist/gists.wasm"));
    assert_eq!(manifest.components[0].key_value_stores, ["default"]);
    assert!(manifest.routes.find("/octocat").is_some());

    let resolved = manifest.resolve(&sources(&[], &[])).unwrap().remove(0);
    assert_eq!(
        resolved.settings.get("github_token").map(|v| (v.is_secret(), &**v.expose())),
        Some((true, ""))
    );
    let policy = Policy::new(resolved.allowed_outbound_hosts, Vec::new());
    assert!(policy.decide(&"https://api.github.com/users/octocat/gists".parse().unwrap()).is_ok());

    let elsewhere = &[("GITHUB_API_URL", "http://127.0.0.1:8099"), ("GITHUB_TOKEN", "s3cret")];
    let resolved = manifest.resolve(&sources(elsewhere, &[])).unwrap().remove(0);
    assert!(!format!("{resolved:?}").contains("s3cret"));
    assert_eq!(resolved.allowed_outbound_hosts, AllowList::parse(&["http://127.0.0.1:8099"]).unwrap());
}

#[test]
fn a_minimal_manifest() {
    let manifest = parse(MINIMAL).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.components[0].id.as_str()), ("app", "one"));
    assert_eq!(manifest.components[0].source, Path::new("dir/one.wasm"));
    assert!(manifest.components[0].key_value_stores.is_empty() && manifest.warnings.is_empty());
}

#[test]
fn what_has_no_effect_is_named_with_its_path() {
    let text = MINIMAL.replace("source =", "sqlite_databases = [\"default\"]\nai_models = []\nsource =")
        + r#"
files = [{ source = "assets", destination = "/assets" }]
[component.other]
source = "other.wasm"
[[trigger.redis]]
channel = "c"
component = "other"
[application.trigger.redis]
address = "redis://host"
[application.trigger.http]
base = "/"
"#;
    let manifest = parse(&text).unwrap();
    assert_eq!(
        manifest.warnings,
        [
            "dir/spin.toml:19: application.trigger.redis: only HTTP triggers are supported",
            "dir/spin.toml:9: component.one.sqlite_databases: not supported by this host",
            "dir/spin.toml:16: trigger.redis: only HTTP triggers are supported",
            "dir/spin.toml:14: component.other: no HTTP trigger uses it",
        ]
    );
    let mount = Mount { below: "dir".into(), source: "dir/assets".into(), destination: "/assets".to_owned() };
    assert_eq!(manifest.components[0].files, [mount]);
}

/// The keys of Spin's manifest, as `crates/manifest/src/schema` and `crates/http/src/config.rs` of Spin have them at
/// commit 94a8fc8a7804 (August 2026).
const SPIN: [(&str, &str); 7] = [
    ("", "spin_manifest_version application variables trigger component"),
    ("application", "name version description authors targets trigger tool"),
    ("application.trigger.http", "base"),
    ("variables.NAME", "description required default secret"),
    ("trigger.http", "id component components dependencies static_response route executor"),
    (
        "component.ID",
        "source description variables environment files exclude_files allowed_http_hosts allowed_outbound_hosts \
         key_value_stores sqlite_databases ai_models targets build tool dependencies_inherit_configuration \
         dependencies profile",
    ),
    ("component.ID.files[]", "source destination"),
];

#[test]
fn the_tables_have_the_keys_of_spins_manifest() {
    for ((path, keys), table) in SPIN.into_iter().zip(keys::TABLES) {
        let spin: std::collections::BTreeSet<_> = keys.split_whitespace().collect();
        let ours = table.keys.iter().map(|(key, _)| *key).collect();
        assert_eq!((path, spin), (table.path, ours));
    }
}

/// The minimal manifest with `key` in `table`. `None` if the minimal manifest has the key, or other tests have.
fn with_key(table: &str, key: &str) -> Option<String> {
    if matches!(table, "" | "component.ID.files[]") {
        return None;
    }
    let value = match key {
        "base" => "\"/\"",
        "default" | "description" | "version" => "\"text\"",
        "secret" | "dependencies_inherit_configuration" => "true",
        "required" => "false",
        "id" => "\"one\"",
        "executor" => "{ type = \"http\" }",
        "environment" => "{ K = \"v\" }",
        "tool" => "{ other = { key = 1 } }",
        "trigger" => "{ http = { base = \"/\" } }",
        "build" => "{ command = \"make\" }",
        "dependencies" => "{ middleware = [{ path = \"auth.wasm\" }] }",
        "components" => "{ more = \"one\" }",
        "static_response" => "{ body = \"text\" }",
        "profile" => "{ debug = { source = \"debug.wasm\" } }",
        "variables" if table == "component.ID" => "{ k = \"v\" }",
        "files" => "[{ source = \"a\", destination = \"/a\" }]",
        "authors" | "targets" | "exclude_files" | "allowed_http_hosts" | "sqlite_databases" | "ai_models" => {
            "[\"a\"]"
        }
        "allowed_outbound_hosts" => "[\"https://a.example\"]",
        "key_value_stores" => "[\"default\"]",
        _ => return None,
    };
    let line = format!("{key} = {value}\n");
    Some(match table {
        "application" => MINIMAL.replace("name =", &format!("{line}name =")),
        "application.trigger.http" => MINIMAL.to_owned() + "[application.trigger.http]\n" + &line,
        "variables.NAME" if key == "default" => MINIMAL.to_owned() + "[variables.v]\n" + &line,
        "variables.NAME" => MINIMAL.to_owned() + "[variables.v]\ndefault = \"\"\n" + &line,
        "trigger.http" => MINIMAL.replace("route =", &format!("{line}route =")),
        "component.ID" => MINIMAL.replace("source =", &format!("{line}source =")),
        other => panic!("there is no place for a key of {other}"),
    })
}

#[test]
fn each_key_of_spins_manifest_is_served_harmless_or_refused() {
    use keys::Support::{NoEffect, Refused, Served, Warned};
    for table in keys::TABLES {
        for (key, support) in table.keys {
            let Some(text) = with_key(table.path, key) else {
                assert_eq!(*support, Served, "{}.{key}: there is no value for it", table.path);
                continue;
            };
            let path = table.path.replace("NAME", "v").replace("ID", "one").replace("http", "http[0]");
            let path = path.replace("application.trigger.http[0]", "application.trigger.http");
            let found = parse(&text);
            match support {
                Served | NoEffect => {
                    assert_eq!(found.unwrap().warnings, Vec::<String>::new(), "{path}.{key}");
                }
                Warned(said) => {
                    let warnings = found.unwrap().warnings;
                    assert!(
                        warnings.len() == 1 && warnings[0].ends_with(&format!(": {path}.{key}: {said}")),
                        "{warnings:?}"
                    );
                }
                Refused(said) => {
                    let error = found.unwrap_err();
                    assert_eq!(
                        (error.key.unwrap(), error.problem),
                        (format!("{path}.{key}"), (*said).to_owned())
                    );
                    assert!(error.line.is_some());
                }
            }
        }
    }
}

#[test]
fn an_application_is_not_served_without_its_middleware() {
    let text =
        MINIMAL.replace("route =", "dependencies = { middleware = [{ path = \"auth.wasm\" }] }\nroute =");
    let error = parse(&text).unwrap_err().to_string();
    assert_eq!(
        error,
        "dir/spin.toml:6: trigger.http[0].dependencies: middleware is not supported, and without it the requests \
         would reach the component unchecked"
    );
}

/// What is replaced in [`MINIMAL`], by what, and the error.
const UNSERVABLE: &[(&str, &str, &str)] = &[
    ("= 2", "= 1", "dir/spin.toml:2: spin_manifest_version: only version 2 is supported"),
    ("name = \"app\"", "", "dir/spin.toml:3: application: name is missing"),
    ("\"app\"", "7", "dir/spin.toml:4: application.name: expected a string, found integer"),
    (
        "\"/...\"",
        "\"one\"",
        "dir/spin.toml:6: trigger.http[0].route: \"one\" is not a route: it must begin with a slash",
    ),
    ("\"one\"", "\"two\"", "dir/spin.toml:7: trigger.http[0].component: there is no [component.two]"),
    ("\"/...\"", "{ private = true }", "dir/spin.toml:5: trigger: there is no [[trigger.http]] with a route"),
    (
        "\"one.wasm\"",
        "{ url = \"u\" }",
        "dir/spin.toml:9: component.one.source: only the path of a file is supported: download the component first",
    ),
    (
        "source =",
        "allowed_outbound_hosts = [\n\"{{ host }}\"]\nsource =",
        "dir/spin.toml:10: component.one.allowed_outbound_hosts[0]: variable host is not declared in [variables]",
    ),
    (
        "[component.one]",
        "[component.one.variables]\na = \"{{ b\"\n[component.one]",
        "dir/spin.toml:9: component.one.variables.a: a `{{` is not closed by `}}`",
    ),
    (
        "[component.one]",
        "[variables]\nv = { secret = true }\n[component.one]",
        "dir/spin.toml:9: variables.v: expected either `default` or `required = true`",
    ),
    (
        "[component.one]\n",
        "[variables]\nv = { required = true, secret = true }\n[component.one]\nallowed_outbound_hosts = [\"https://{{ v }}\"]\n",
        "dir/spin.toml:11: component.one.allowed_outbound_hosts[0]: variable v is secret, but metrics show these entries",
    ),
    (
        "[component.one]",
        "[[trigger.http]]\nroute = \"/*\"\ncomponent = \"two\"\n[component.two]\nsource = \"b\"\n[component.one]",
        "dir/spin.toml:9: trigger.http[1].route: /* is also the route of trigger.http[0].route (line 6), for component one",
    ),
    (
        "source =",
        "tool.wasi-http-host = { max-memory = \"lots\" }\nsource =",
        "dir/spin.toml:9: component.one.tool.wasi-http-host.max-memory: \"lots\": \"lots\" is not a size: write it as 65536, 64KiB or 16MiB",
    ),
    (
        "source =",
        "tool.wasi-http-host = { max-memory = 1 }\nsource =",
        "dir/spin.toml:9: component.one.tool.wasi-http-host.max-memory: 1 is less than 64KiB",
    ),
    (
        "source =",
        "tool.wasi-http-host = { request-timeout = \"0\" }\nsource =",
        "dir/spin.toml:9: component.one.tool.wasi-http-host.request-timeout: 0s is less than 10ms",
    ),
    (
        "source =",
        "tool.wasi-http-host = { max-memroy = \"16MiB\" }\nsource =",
        "dir/spin.toml:9: component.one.tool.wasi-http-host.max-memroy: unknown key",
    ),
    (
        "component = ",
        "executor = { type = \"http\", entrypoint = \"main\" }\ncomponent = ",
        "dir/spin.toml:7: trigger.http[0].executor.entrypoint: unknown key",
    ),
    (
        "\"/...\"",
        "{ private = true, path = \"/\" }",
        "dir/spin.toml:6: trigger.http[0].route.path: unknown key",
    ),
    (
        "source =",
        "colour = \"blue\"\nsource =",
        "dir/spin.toml:9: component.one.colour: unknown key: Spin does not know it either",
    ),
    (
        "source =",
        "files = [\"*.html\"]\nsource =",
        "dir/spin.toml:9: component.one.files[0]: patterns are not supported: use { source, destination }",
    ),
    (
        "[[trigger.http]]",
        "[application.trigger.http]\nbase = \"/api\"\n[[trigger.http]]",
        "dir/spin.toml:6: application.trigger.http.base: only the base `/` is supported: put the path into the routes",
    ),
    (
        "[[trigger.http]]",
        "[extra]\n[[trigger.http]]",
        "dir/spin.toml:5: extra: unknown key: Spin does not know it either",
    ),
    (
        "[component.one]",
        "[variables]\nv = { default = \"\" }\nwasi_http_host_redis_password = { default = \"\" }\n[component.one]",
        "dir/spin.toml:10: variables.wasi_http_host_redis_password: no variable may have the name \
         wasi_http_host_redis_password, because the host reads WASI_HTTP_HOST_REDIS_PASSWORD for itself: choose another name",
    ),
];

#[test]
fn what_cannot_be_served_is_named_with_file_line_and_key() {
    for (from, to, error) in UNSERVABLE {
        let text = MINIMAL.replacen(from, to, 1);
        assert_eq!(parse(&text).unwrap_err().to_string(), *error);
    }
    let syntax = parse("a = 1\nb = ]").unwrap_err();
    assert_eq!((syntax.line, syntax.key), (Some(2), None));
}

#[test]
fn a_long_id_or_key_is_refused_and_its_error_is_short() {
    let long = "x".repeat(60_000);
    let named = |id: &str| {
        MINIMAL.replace("component.one", &format!("component.{id}")).replace("\"one\"", &format!("\"{id}\""))
    };
    // Keys with whole paths would take 600 MB.
    let keys: String = (0..10_000).map(|n| format!("k{n} = 1\n")).collect();
    let many_tables: String = (0..15).map(|n| format!("[component.{long}.variables.k{n}]\n")).collect();
    for text in [
        named(&long) + &keys,
        MINIMAL.to_owned() + &many_tables,
        MINIMAL.to_owned() + &format!("[component.one.variables]\n{long} = \"\"\n"),
        MINIMAL.to_owned() + &format!("[variables]\n{long} = {{ required = true }}\n"),
        MINIMAL.to_owned() + &format!("[trigger.{long}]\n"),
        MINIMAL.to_owned() + &format!("[{long}]\n"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.problem.starts_with("a key has 60000 bytes, over the limit of 128: \"xxx"), "{error}");
        assert!(error.line.is_some() && error.to_string().len() < 400, "{error}");
    }
    for text in [
        MINIMAL.replace("component = \"one\"", &format!("component = \"{long}\"")),
        MINIMAL.replace("/...", &long),
        MINIMAL.to_owned() + &format!("[component.one.tool.wasi-http-host]\nmax-memory = \"{long}\"\n"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.len() < 1200 && error.ends_with("xxx…"), "{error}");
    }
    assert_eq!(parse(&named(&"x".repeat(64))).unwrap().components[0].id.len(), 64);
    assert_eq!(
        parse(&named(&"x".repeat(65))).unwrap_err().to_string(),
        format!("dir/spin.toml:8: component.{}: the ID has 65 bytes, over the limit of 64", "x".repeat(65))
    );
    assert_eq!(
        parse(&MINIMAL.replace("\"app\"", &format!("\"{long}\""))).unwrap_err().to_string(),
        "dir/spin.toml:4: application.name: the name has 60000 bytes, over the limit of 128"
    );
    let bare = Manifest::bare(Path::new(&format!("dir/{}.wasm", "x".repeat(200))));
    assert_eq!((bare.name.len(), bare.components[0].id.len()), (64, 64));
}

#[test]
fn mounts_have_a_bound() {
    let mounting = |number: usize| {
        let files: String =
            (0..number).map(|n| format!("{{ source = \"a{n}\", destination = \"/a{n}\" }},")).collect();
        parse(&(MINIMAL.to_owned() + &format!("files = [{files}]\n")))
    };
    assert_eq!(mounting(64).unwrap().components[0].files.len(), 64);
    assert_eq!(
        mounting(65).unwrap_err().to_string(),
        "dir/spin.toml:10: component.one.files[64]: more than 64 directories"
    );
}

#[test]
fn warnings_have_a_bound() {
    let unused: String = (0..1_000).map(|n| format!("[component.c{n}]\n")).collect();
    let warnings = parse(&(MINIMAL.to_owned() + &unused)).unwrap().warnings;
    assert_eq!((warnings.len(), &*warnings[64]), (65, "dir/spin.toml: 936 more warnings"));
}

#[test]
fn no_variable_reads_what_the_host_reads_for_itself() {
    for (name, _) in environment::VARIABLES {
        let name = name.replace('*', "x").to_ascii_lowercase();
        let declared = MINIMAL.to_owned() + &format!("[variables]\n{name} = {{ required = true }}\n");
        let error = parse(&declared).unwrap_err();
        assert_eq!((error.line, error.key), (Some(11), Some(format!("variables.{name}"))));
        for assignment in [name.clone(), format!("{name}=value"), name.to_ascii_uppercase()] {
            let error = assignment.parse::<Assignment>().unwrap_err().to_string();
            assert!(error.contains("because the host reads"), "{assignment}: {error}");
        }
    }
    let similar = MINIMAL.to_owned() + "[variables]\nproxy_port = { default = \"\" }\n";
    assert!(parse(&similar).is_ok());
}

#[test]
fn a_mount_lies_below_the_manifests_directory() {
    let mounting = |source: &str| {
        let files = format!("files = [{{ source = \"{source}\", destination = \"/d\" }}]\nsource =");
        parse(&MINIMAL.replace("source =", &files))
    };
    for source in ["a", "./a/b", "a/../b", "."] {
        assert!(mounting(source).is_ok(), "{source}");
    }
    for source in ["/proc/self", "..", "a/../../b", "../dir/a", "/dir/a"] {
        let error = mounting(source).unwrap_err();
        assert_eq!((error.line, error.key.as_deref()), (Some(9), Some("component.one.files[0].source")));
        assert!(error.problem.starts_with("only a directory below the manifest's directory"), "{source}");
    }
}

#[test]
fn several_routes_may_lead_to_the_component() {
    let text = MINIMAL.to_owned() + "[[trigger.http]]\nroute = \"/two\"\ncomponent = \"one\"\n";
    let manifest = parse(&text.replace("\"/...\"", "\"/one\"")).unwrap();
    assert!(manifest.routes.find("/one").is_some() && manifest.routes.find("/two").is_some());
    assert!(manifest.routes.find("/three").is_none());
}

#[test]
fn a_duplicate_among_many_routes_is_named() {
    const ROUTES: usize = 500;
    let mut text = MINIMAL.to_owned();
    for n in 1..ROUTES {
        text += &format!("[[trigger.http]]\nroute = \"/{n}/:id\"\ncomponent = \"one\"\n");
    }
    let manifest = parse(&text).unwrap();
    assert!(manifest.routes.find(&format!("/{}/x", ROUTES - 1)).is_some());
    text += "[[trigger.http]]\nroute = \"/7/:name\"\ncomponent = \"one\"\n";
    let error = parse(&text).unwrap_err().to_string();
    let first = format!(
        "trigger.http[{ROUTES}].route: /7/:name is also the route of trigger.http[7].route (line 29)"
    );
    assert!(error.contains(&first) && error.ends_with(", for component one"), "{error}");
}

#[test]
fn several_components_are_told_apart_by_their_routes() {
    let text = MINIMAL.to_owned()
        + r#"
[component.one.tool.wasi-http-host]
max-instances = 4
max-memory = "16MiB"
response-cache = false
[[trigger.http]]
route = "/two/:id"
component = "two"
[[trigger.http]]
route = { private = true }
component = "three"
[component.two]
source = "two.wasm"
[component.three]
source = "three.wasm"
"#;
    let manifest = parse(&text).unwrap();
    let ids: Vec<_> = manifest.components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(ids, ["one", "two", "three"]);
    let led = |path| manifest.routes.find(path).map(|(_, component)| component);
    assert_eq!([led("/"), led("/two"), led("/two/x"), led("/two/x/y")], [Some(0), Some(0), Some(1), Some(0)]);
    let limits = &manifest.components[0].limits;
    assert_eq!(limits.max_instances.map(std::num::NonZeroU32::get), Some(4));
    assert_eq!(limits.max_memory, Some(wasi_http_host_core::ByteSize::mib(16)));
    assert_eq!(limits.response_cache, Some(false));
    assert_eq!(manifest.components[1].limits, OwnLimits::default());
    assert_eq!(manifest.warnings, Vec::<String>::new());
}

#[test]
fn a_component_may_stand_in_its_trigger() {
    let text = "spin_manifest_version = 2\n[application]\nname = \"app\"\n[[trigger.http]]\nroute = \"/...\"\ncomponent = { source = \"one.wasm\" }\n";
    assert_eq!(parse(text).unwrap().components[0].source, Path::new("dir/one.wasm"));
}

#[test]
fn later_sources_win() {
    let text = MINIMAL.to_owned()
        + "[component.one.variables]\nk = \"<{{ v }}>\"\nfixed = \"f\"\n[variables]\nv = { default = \"default\" }\n";
    let manifest = parse(&text).unwrap();
    let value = |environment, assignments: &[&str]| {
        let resolved = manifest.resolve(&sources(environment, assignments)).unwrap().remove(0);
        resolved.settings.get("k").unwrap().expose().to_string()
    };
    assert_eq!(value(&[], &[]), "<default>");
    assert_eq!(value(&[("V", "env"), ("K", "not read"), ("FIXED", "not read")], &[]), "<env>");
    assert_eq!(value(&[("V", "env"), ("SPIN_VARIABLE_V", "spin")], &[]), "<spin>");
    assert_eq!(value(&[("V", "env")], &["v=first", "V=flag"]), "<flag>");
    assert_eq!(value(&[("V", "env")], &["v"]), "<env>");
    assert_eq!(value(&[], &["k=whole"]), "whole");
}

#[test]
fn a_required_variable_must_be_set() {
    let text = MINIMAL.to_owned() + "[variables]\nneeded = { required = true }\n";
    let manifest = parse(&text).unwrap();
    let error = manifest.resolve(&sources(&[], &[])).unwrap_err().to_string();
    assert!(error.contains("needed") && error.contains("NEEDED"), "{error}");
    assert!(manifest.resolve(&sources(&[("NEEDED", "x")], &[])).is_ok());
}

#[test]
fn a_bare_component_has_the_settings_that_are_declared_for_it() {
    let manifest = Manifest::bare(Path::new("dir/app.wasm"));
    assert_eq!(
        (manifest.name.as_str(), manifest.components[0].source.as_path()),
        ("app", Path::new("dir/app.wasm"))
    );
    let sources = sources(&[("A", "from env"), ("C", "not declared")], &["a", "b=flag", "unset"]);
    let settings = manifest.resolve(&sources).unwrap().remove(0).settings;
    let get = |key| settings.get(key).map(|value| value.expose().to_string());
    assert_eq!(get("a").as_deref(), Some("from env"));
    assert_eq!(get("b").as_deref(), Some("flag"));
    assert_eq!((get("c"), get("unset")), (None, None));
    assert!(!format!("{settings:?}").contains("flag"), "nobody said that it is not secret");
}

#[test]
fn the_content_tells_a_component_from_a_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let wasm = put("any.name", b"\0asm\x0d\0\x01\0rest");
    assert_eq!(Manifest::load(&wasm).unwrap(), Manifest::bare(&wasm));
    put("spin.toml", MINIMAL.as_bytes());
    assert_eq!(Manifest::load(directory.path()).unwrap().name, "app");
    let error = |path: &Path| Manifest::load(path).unwrap_err().to_string();
    assert!(
        error(&put("latin", b"name = \"\xe4\""))
            .contains(": neither UTF-8 nor WebAssembly: want a component (.wasm)")
    );
    assert!(error(&put("empty", b"")).contains("spin_manifest_version is missing"));
    let huge = vec![b'#'; usize::try_from(MAX_BYTES).unwrap() + 1];
    assert!(error(&put("huge", &huge)).contains("over the limit"));
    assert!(error(&directory.path().join("none")).contains("none"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    /// Replaces one value of a valid manifest by another kind of value. The result is a manifest or an error, never a
    /// panic.
    #[test]
    fn no_value_panics(n in 0..8usize, value in r#"(""|1|true|\[\]|\[1\]|\{\}|\{ a = 1 \}|"\{\{ x \}\}")"#) {
        let mut lines: Vec<String> = MINIMAL.lines().map(str::to_owned).collect();
        let keyed: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].contains(" = ")).collect();
        let line = &mut lines[keyed[n % keyed.len()]];
        *line = format!("{} = {value}", line.split(" = ").next().unwrap());
        let _ = parse(&lines.join("\n"));
    }
}
