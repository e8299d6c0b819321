//! Crates that are made up, with cycles that the lint must find and others' habits that it must let pass.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use crate::{
    config::{Config, Exception},
    crates::{self, Metadata},
    module::Tree,
    modules, references,
    source::{self, Files, SourceError},
};

struct Memory(HashMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

fn read(files: &[(&str, &str)]) -> Result<Tree, SourceError> {
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    source::read(&Memory(files), Path::new("src/lib.rs"))
}

fn check(files: &[(&str, &str)], exceptions: &[Exception]) -> Vec<String> {
    modules::check("planted", &[read(files).unwrap()], exceptions, Path::new(""))
}

/// Asserts that the lint finds exactly one group of modules that use one another, these.
#[track_caller]
fn assert_knot(files: &[(&str, &str)], names: &str) {
    let wrong = check(files, &[]);
    let [text] = wrong.as_slice() else { panic!("not one finding: {wrong:#?}") };
    let heading = text.lines().next().unwrap();
    assert!(heading.ends_with(&format!(" modules use one another: {names}")), "{text}");
}

#[track_caller]
fn assert_layers(files: &[(&str, &str)]) {
    assert_eq!(check(files, &[]), [""; 0]);
}

const PAIR: [(&str, &str); 3] = [
    ("src/lib.rs", "mod a;\nmod b;"),
    ("src/a.rs", "use crate::b::B;\n\npub struct A;"),
    ("src/b.rs", "pub struct B;\n\npub fn f(_: super::a::A) {}"),
];

#[test]
fn two_modules() {
    assert_knot(&PAIR, "crate::a, crate::b");
    let text = check(&PAIR, &[]).concat();
    assert!(text.contains("src/a.rs:1: crate::b::B"), "{text}");
    assert!(text.contains("src/b.rs:3: crate::a::A"), "{text}");
}

#[test]
fn around_a_third() {
    assert_knot(
        &[
            (
                "src/lib.rs",
                "mod a { use crate::b::B; pub struct A; } mod b { use crate::c::C; pub struct B; } mod c;",
            ),
            ("src/c.rs", "use crate::a::A; pub struct C;"),
        ],
        "crate::a, crate::b, crate::c",
    );
}

#[test]
fn between_what_lies_inside() {
    // No file names one that names it back, but the folders do.
    assert_knot(
        &[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a/mod.rs", "mod x; pub mod y;"),
            ("src/a/x.rs", "use crate::b::y::Y;"),
            ("src/a/y.rs", "pub struct Y;"),
            ("src/b.rs", "pub mod x; pub mod y;"),
            ("src/b/x.rs", "use crate::a::y::Y;"),
            ("src/b/y.rs", "pub struct Y;"),
        ],
        "crate::a, crate::b",
    );
}

#[test]
fn parent_and_child() {
    let child = ("src/a/x.rs", "use super::Limits; pub struct X; pub fn f(_: Limits) {}");
    let lib = ("src/lib.rs", "mod a;");
    assert_knot(
        &[lib, child, ("src/a.rs", "mod x; pub struct Limits; pub fn g() { x::f(Limits); }")],
        "crate::a, crate::a::x",
    );
    // The re-exported name is used here, too.
    assert_knot(
        &[lib, child, ("src/a.rs", "mod x; pub use x::X; pub struct Limits; pub struct Both(X, Limits);")],
        "crate::a, crate::a::x",
    );
    // It is passed on only.
    assert_layers(&[lib, child, ("src/a.rs", "mod x; pub use x::{X, f}; pub struct Limits;")]);
    // What both use lies in a module of its own.
    assert_layers(&[
        lib,
        ("src/a.rs", "mod limits; mod x; pub use limits::Limits; pub fn g() { x::f(Limits); }"),
        ("src/a/limits.rs", "pub struct Limits;"),
        child,
    ]);
}

#[test]
fn the_root_is_a_parent() {
    assert_knot(
        &[
            ("src/lib.rs", "mod a; pub struct Error; pub fn f() -> a::A { a::A }"),
            ("src/a.rs", "pub struct A; pub fn g() -> crate::Error { crate::Error }"),
        ],
        "crate, crate::a",
    );
}

#[test]
fn reexports_count_where_the_item_is() {
    // `b` finds `Error` in the root, which has it from `error`.
    assert_layers(&[
        ("src/lib.rs", "mod a; mod b; mod error; pub use error::*; pub use a::A; pub fn f(_: b::B) {}"),
        ("src/a.rs", "pub struct A;"),
        ("src/b.rs", "use crate::{A as Other, Error}; pub struct B(Other, Error);"),
        ("src/error.rs", "pub struct Error;"),
    ]);
    assert_knot(
        &[
            ("src/lib.rs", "mod a; mod b; pub use a::A;"),
            ("src/a.rs", "pub struct A(crate::b::B);"),
            ("src/b.rs", "use crate::A; pub struct B;"),
        ],
        "crate::a, crate::b",
    );
    // A circle of re-exports ends nowhere.
    assert_layers(&[
        ("src/lib.rs", "pub mod a { pub use super::b::X; } pub mod b { use super::c; } pub mod c;"),
        ("src/c.rs", ""),
    ]);
}

/// The lint sees no item that a macro makes. An alias of a module made by a macro still leads to the module that calls the macro.
#[test]
fn aliases_of_modules_that_a_macro_makes() {
    for alias in ["use bindings::exports as alias;", "use bindings::exports::wasi::http as alias;"] {
        let root = format!("mod a; mod bindings; {alias}");
        let files = [
            ("src/lib.rs", root.as_str()),
            ("src/bindings.rs", "generate!({});"),
            ("src/a.rs", "use super::alias::Handler; fn f() { crate::alias::handle() }"),
        ];
        let tree = read(&files).unwrap();
        let used =
            references::find(&tree).into_iter().filter(|reference| tree.path(reference.from) == "crate::a");
        let used: HashSet<String> = used.map(|reference| tree.path(reference.to)).collect();
        assert_eq!(used, HashSet::from(["crate::bindings".to_owned()]), "{alias}");
        // The root uses `a`, and `a` does not use the root.
        let used = format!("{root} fn g() {{ a::f() }}");
        assert_layers(&[("src/lib.rs", used.as_str()), files[1], files[2]]);
    }
}

/// Ways to name an item `B` or `b` of the module `b` in the module `a`.
#[test]
fn ways_to_name() {
    for uses in [
        "use crate::{b::{self as other}}; fn f() { other::b(); }",
        "use super::b; fn f() { b::b(); }",
        "use super::*; fn f() { b::b(); }",
        "use crate::b::*; fn f(_: B) {}",
        "use crate::b::B as Renamed;",
        "pub(crate) use crate::b::B;",
        "fn f() { use crate::b::B; }",
        "fn f() { let x = crate::b::B; }",
        "fn f(x: crate::b::B) {}",
        "fn f() { println!(\"{:?}\", crate::b::B); }",
        "fn f() { assert!(matches!(1, super::b::LIMIT)); }",
        "impl crate::b::T for A {}",
        "struct S<X: crate::b::T>(X);",
        "#[derive(Parser)] struct S { #[arg(value_parser = crate::b::b)] x: u8 }",
        "#[derive(Deserialize)] struct S { #[serde(default = \"crate::b::b\")] x: u8 }",
        "fn f(x: u8) { match x { crate::b::LIMIT => {} _ => {} } }",
        "mod inner { use super::super::b::B; }",
        "#[cfg(unix)] use crate::b::B;",
        "macro_rules! m { () => { $crate::b::b() } }",
    ] {
        let a = format!("pub struct A; {uses}");
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", a.as_str()),
            (
                "src/b.rs",
                "use crate::a::A; pub struct B; pub trait T {} pub fn b() {} pub const LIMIT: u8 = 1;",
            ),
        ];
        assert!(!check(&files, &[]).is_empty(), "{uses}");
        assert_knot(&files, "crate::a, crate::b");
    }
}

/// What looks like a use of the module `b` in the module `a`, and is none.
#[test]
fn no_uses() {
    for uses in [
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)] use crate::b::B;",
        "impl A { #[cfg(test)] fn f(_: crate::b::B) {} }",
        "use ::b::B;",
        "use other::b::B;",
        "pub(in crate) struct S;",
        "/// [`crate::b::B`]\nstruct S;",
        "fn f(x: X) { x.b(); let s = \"crate::b::B\"; }",
    ] {
        let a = format!("pub struct A; {uses}");
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", a.as_str()),
            ("src/b.rs", "use crate::a::A; pub struct B;"),
        ];
        assert_eq!(check(&files, &[]), [""; 0], "{uses}");
    }
}

#[test]
fn a_variable_hides_a_function() {
    let child = ("src/a/x.rs", "use super::Limits; pub fn count() {}");
    let lib = ("src/lib.rs", "mod a;");
    assert_layers(&[
        lib,
        child,
        ("src/a.rs", "mod x; pub use x::count; pub struct Limits; fn f(count: u8) -> u8 { count }"),
    ]);
    assert_knot(
        &[lib, child, ("src/a.rs", "mod x; pub use x::count; pub struct Limits; fn f() { [0].map(count); }")],
        "crate::a, crate::a::x",
    );
}

#[test]
fn files_of_modules() {
    let tree = read(&[
        ("src/lib.rs", "mod a; mod inline { mod deep; } #[path = \"elsewhere/y.rs\"] mod b;"),
        ("src/a/mod.rs", "mod x;"),
        ("src/a/x.rs", ""),
        ("src/inline/deep.rs", ""),
        ("src/elsewhere/y.rs", "mod z;"),
        ("src/elsewhere/z.rs", ""),
    ])
    .unwrap();
    let paths: Vec<String> = tree.ids().map(|id| tree.path(id)).collect();
    assert_eq!(
        paths,
        [
            "crate",
            "crate::a",
            "crate::a::x",
            "crate::inline",
            "crate::inline::deep",
            "crate::b",
            "crate::b::z"
        ]
    );
    assert!(
        matches!(read(&[("src/lib.rs", "mod a;")]), Err(SourceError::Missing { name, .. }) if name == "a")
    );
    assert!(matches!(read(&[]), Err(SourceError::Read { .. })));
    assert!(matches!(read(&[("src/lib.rs", "\nfn !")]), Err(SourceError::Parse { line: 2, .. })));
}

fn exception(from: &str, to: &str) -> Exception {
    Exception {
        package: "planted".to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        reason: "why".to_owned(),
    }
}

#[test]
fn exceptions() {
    let needed = exception("crate::a", "crate::b");
    assert_eq!(check(&PAIR, std::slice::from_ref(&needed)), [""; 0]);
    // One of the two is enough, and one that nothing matches is never needed.
    let spare = exception("crate::b", "crate::a");
    let unknown = exception("crate::a", "crate::c");
    let wrong = check(&PAIR, &[spare, needed.clone(), unknown]);
    assert_eq!(
        wrong,
        [
            "planted: the exception crate::b -> crate::a is not needed: remove it from the list",
            "planted: the exception crate::a -> crate::c is not needed: remove it from the list",
        ]
    );
    // The cycle that it allowed is gone.
    let apart = [PAIR[0], PAIR[1], ("src/b.rs", "pub struct B;")];
    assert_eq!(check(&apart, &[needed]).len(), 1);
}

fn metadata() -> Metadata {
    serde_json::from_value(serde_json::json!({
        "workspace_members": ["top 1", "base 1"],
        "packages": [
            {
                "id": "top 1", "name": "top", "targets": [],
                "dependencies": [
                    {"name": "base", "kind": null, "path": "/base"},
                    {"name": "tests", "kind": "dev", "path": "/tests"},
                    {"name": "serde", "kind": null},
                ],
            },
            {"id": "base 1", "name": "base", "targets": [], "dependencies": [{"name": "engine", "kind": null}]},
            {"id": "engine 1", "name": "engine", "targets": [], "dependencies": []},
            {"id": "tests 1", "name": "tests", "targets": [], "dependencies": []},
        ],
        "resolve": {"nodes": [
            {"id": "top 1", "deps": [
                {"pkg": "base 1", "dep_kinds": [{"kind": null}]},
                {"pkg": "tests 1", "dep_kinds": [{"kind": "dev"}]},
            ]},
            {"id": "base 1", "deps": [{"pkg": "engine 1", "dep_kinds": [{"kind": null}]}]},
            {"id": "engine 1", "deps": []},
            {"id": "tests 1", "deps": []},
        ]},
    }))
    .unwrap()
}

fn check_crates(list: &str) -> Vec<String> {
    let config: Config = toml::from_str(list).unwrap();
    crates::check(&[metadata()], &config)
}

#[test]
fn crates_use_what_the_list_allows() {
    let list = "[crates]\nbase = []\ntop = ['base']\n[tests]\ntop = ['tests']\n";
    assert_eq!(check_crates(list), [""; 0]);
    assert_eq!(
        check_crates("[crates]\nbase = ['top']\ntop = []\nold = []\n"),
        [
            "top: uses base, which [crates] does not allow",
            "top: uses tests, which [tests] does not allow",
            "base: [crates] allows top, which it does not use: remove the entry",
            "[crates] has old, which is no crate of ours: remove it",
        ]
    );
    assert!(check_crates("[crates]\nbase = []\n")[0].starts_with("top: [crates] does not have it"));
    let forbidden = check_crates(&format!("{list}[never]\ntop = ['engine', 'tests']\nbase = ['serde']\n"));
    assert_eq!(forbidden.len(), 1, "{forbidden:?}");
    assert!(forbidden[0].starts_with("top: depends on engine, which it must not"), "{forbidden:?}");
}

#[test]
fn exceptions_have_a_crate_and_a_reason() {
    let list = "[crates]\nbase = []\ntop = ['base']\n[tests]\ntop = ['tests']\n\
        [[exception]]\ncrate = 'old'\nfrom = 'crate::a'\nto = 'crate::b'\nreason = ' '\n";
    let wrong = check_crates(list);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("no crate of ours") && wrong[1].contains("no reason"), "{wrong:?}");
}
