//! Settings for the component.

use crate::harness::{Host, guest, scratch};

#[tokio::test]
async fn a_bare_component_has_the_settings_that_flags_declare() {
    let flags = ["--var", "greeting=hello", "--var", "colour"];
    let host = Host::serve(&guest("service"), &flags, &[("COLOUR", "blue"), ("OTHER", "hidden")]);
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("hello"))"#);
    assert_eq!(host.get("/config/colour").await.text(), r#"Ok(Some("blue"))"#);
    assert_eq!(host.get("/config/other").await.text(), "Ok(None)");
}

#[tokio::test]
async fn routes_directories_and_variables_are_the_manifests() {
    let dir = scratch("settings-manifest");
    let path = dir.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [variables]\nname = {{ default = \"world\" }}\n\
         [[trigger.http]]\nroute = \"/config/...\"\ncomponent = \"c\"\n\
         [component.c]\nsource = {:?}\n[component.c.variables]\ngreeting = \"hello {{{{ name }}}}\"\n",
        guest("service")
    );
    std::fs::write(&path, text).unwrap();
    let host = Host::serve(&path, &[], &[("NAME", "moon")]);
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("hello moon"))"#);
    let unrouted = host.get("/hello/x").await;
    assert_eq!((unrouted.status.as_u16(), unrouted.text()), (404, r#"{"detail":"Not Found"}"#));
}
