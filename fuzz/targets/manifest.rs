//! Input: a `spin.toml`. The text is a manifest or gives an error that names the file. Reading it twice gives equal manifests.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wasi_http_host_manifest::Manifest;

fuzz_target!(|text: &str| {
    match Manifest::parse(text, Path::new("app/spin.toml")) {
        Ok(manifest) => {
            assert_eq!(Manifest::parse(text, Path::new("app/spin.toml")).as_ref(), Ok(&manifest));
            assert!(manifest.warnings.iter().all(|warning| warning.starts_with("app/spin.toml:")));
        }
        Err(error) => assert!(error.to_string().starts_with("app/spin.toml")),
    }
});
