//! The copies of the table of settings (`src/settings/table.rs`) in files of the repository. Each test compares one
//! file with the table. With `UPDATE_GOLDEN=1`, which `scripts/generate` sets, the tests write the files instead.
//!
//! The copies are blocks between the markers `settings: generated` and `settings: end`. Everything outside of these
//! blocks is written by hand.

#![expect(
    clippy::panic,
    reason = "clippy applies its exceptions for tests only to functions with #[test], not to the functions that they call"
)]

use std::fs;
use std::path::Path;

use gists::settings::table::{ALL, Setting};

const BEGIN: &str = "settings: generated";
const END: &str = "settings: end";

#[test]
fn the_manifest_has_the_variables() {
    let declared = lines(|setting| {
        let secret = if setting.secret { ", secret = true" } else { "" };
        format!("{} = {{ default = {:?}{secret} }}", setting.name, setting.default)
    });
    let passed_on = lines(|setting| format!("{0} = \"{{{{ {0} }}}}\"", setting.name));
    check("spin.toml", &[declared, passed_on]);
}

#[test]
fn the_readme_has_the_table() {
    let row = |setting: &Setting| {
        let secret = if setting.secret { ". Secret" } else { "" };
        format!("| `{}` | {} | {}{secret} |", setting.name, code(setting.default), setting.text)
    };
    check("README.md", &[format!("| setting | default | meaning |\n| --- | --- | --- |\n{}", lines(row))]);
}

#[test]
fn the_reference_has_the_table() {
    let row = |setting: &Setting| {
        let (name, variable) = (setting.name, setting.name.to_uppercase());
        let secret = if setting.secret { "yes" } else { "" };
        format!("| `{name}` | `{variable}` | {} | {secret} | {} |", code(setting.default), setting.text)
    };
    let head = "| setting | variable | default | secret | meaning |\n| --- | --- | --- | --- | --- |\n";
    check("docs/reference/settings.md", &[format!("{head}{}", lines(row))]);
}

/// The text as code in Markdown; nothing for an empty text.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

#[test]
fn the_example_of_an_environment_has_the_variables() {
    let variable = |setting: &Setting| {
        let name = setting.name.to_uppercase();
        format!("# {}.\n#{name}={}", setting.text.replace('`', ""), setting.default)
    };
    check(".env.example", &[lines(variable)]);
}

#[test]
fn the_artifact_component_passes_the_settings_on() {
    let names: Vec<_> = ALL.iter().map(|setting| setting.name).collect();
    let literal = format!("- WASI_HTTP_HOST_VAR={}\n", names.join(","));
    check("k8s/components/wasm-artifact/kustomization.yaml", &[literal]);
}

/// JSON has no comments, so the generated part is the one line with the marker.
#[test]
fn the_chart_refuses_secrets_among_its_settings() {
    let secrets = ALL.iter().filter(|setting| setting.secret);
    let secrets: Vec<_> =
        secrets.map(|setting| format!("{{ \"required\": [\"{}\"] }}", setting.name.to_uppercase())).collect();
    let line = format!(
        "{{ \"$comment\": \"{BEGIN} from component/src/settings/table.rs by scripts/generate\", \"anyOf\": [{}] }},",
        secrets.join(", ")
    );
    let path = "charts/gists/values.schema.json";
    let text = read(path);
    let replaced: String = text
        .split_inclusive('\n')
        .map(|old| if old.contains(BEGIN) { format!("{}{line}\n", indentation(old)) } else { old.to_owned() })
        .collect();
    assert_eq!(text.matches(BEGIN).count(), 1, "{path}: there must be one line with the marker `{BEGIN}`");
    compare_or_write(path, &text, &replaced);
}

/// One line for each setting.
fn lines(line: impl Fn(&Setting) -> String) -> String {
    ALL.iter().map(|setting| line(setting) + "\n").collect()
}

/// Compares the generated blocks of a file with `blocks`, in their order.
fn check(path: &str, blocks: &[String]) {
    let text = read(path);
    let mut replaced = String::new();
    let (mut blocks, mut is_inside) = (blocks.iter(), false);
    for line in text.split_inclusive('\n') {
        is_inside &= !line.contains(END);
        if !is_inside {
            replaced.push_str(line);
        }
        if line.contains(BEGIN) {
            is_inside = true;
            let block = blocks.next().unwrap_or_else(|| panic!("{path}: too many markers `{BEGIN}`"));
            let indentation = indentation(line);
            block.lines().for_each(|line| replaced.push_str(&format!("{indentation}{line}\n")));
        }
    }
    assert!(!is_inside, "{path}: a marker `{END}` is missing");
    assert_eq!(blocks.len(), 0, "{path}: {} more markers `{BEGIN}` are needed", blocks.len());
    compare_or_write(path, &text, &replaced);
}

fn indentation(line: &str) -> &str {
    line.get(..line.len() - line.trim_start().len()).unwrap_or_default()
}

fn file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compare_or_write(path: &str, text: &str, generated: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(file(path), generated).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    assert_eq!(text, generated, "{path} differs from the table of settings: run scripts/generate");
}
