//! Reads the table of examples (`examples/examples.toml`) and writes it as Rust: `EXAMPLES`, and the macro `each_example!`, which makes
//! tests of the functions named, one for each example.

use std::fmt::Write as _;
use std::path::Path;

use toml::{Table, Value};

const TABLE: &str = "../examples.toml";

fn main() {
    println!("cargo::rerun-if-changed={TABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let text = std::fs::read_to_string(TABLE).expect("the table can be read");
    let table: Table = text.parse().expect("the table is TOML");
    let (mut examples, mut modules) = (String::new(), String::new());
    // Writing to a string cannot fail.
    for (name, entry) in table.iter().filter(|(_, entry)| entry.get("greeting").is_some()) {
        let text =
            |key: &str| entry.get(key).and_then(Value::as_str).expect("each served example has its texts");
        let (directory, greeting, kind) = (text("directory"), text("greeting"), text("kind"));
        let denied = entry.get("denied").and_then(Value::as_array).expect("a list of texts");
        let denied: Vec<_> = denied.iter().map(|text| text.as_str().expect("a text")).collect();
        let _ = writeln!(
            examples,
            "    Example {{ name: {name:?}, directory: {directory:?}, greeting: {greeting:?}, denied: &{denied:?}, kind: {kind:?} }},"
        );
        let module = name.replace('-', "_");
        let _ = writeln!(
            modules,
            "        mod {module} {{ $(#[tokio::test] async fn $test() {{ \
             Box::pin(super::$test(crate::harness::example({name:?}))).await; }})+ }}"
        );
    }
    let generated = format!(
        "/// The examples that are served.\npub(crate) const EXAMPLES: &[Example] = &[\n{examples}];\n\n\
         /// Makes tests of the functions named, one for each example.\n\
         macro_rules! each_example {{\n    ($($test:ident),+ $(,)?) => {{\n{modules}    }};\n}}\n"
    );
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("examples.rs"), generated).expect("OUT_DIR is writable");
}
