//! Input: an image's name, as a pod names it. The name's registry and repository are parts of the name, read the same again, and the URL made of
//! them asks this registry for this repository. A digest is written as it was read.
#![no_main]

use http::Uri;
use libfuzzer_sys::fuzz_target;
use wasi_http_image_verifier::{digest::Digest, reference::Reference, request::Request};

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let Ok(image) = Reference::parse(text) else { return };
    let name = image.to_string();
    assert!(text.starts_with(&name), "{name}");
    assert_eq!(Reference::parse(&name).as_ref().ok(), Some(&image));
    assert!(image.is_within(&name) && image.is_within(&image.registry));
    // A host that is none gives no URL.
    let path = format!("/v2/{}/manifests/x", image.repository);
    if let Ok(url) = format!("https://{}{path}", image.registry).parse::<Uri>() {
        assert_eq!(url.authority().map(|authority| authority.as_str()), Some(image.registry.as_str()));
        assert_eq!(url.path_and_query().map(|path| path.as_str()), Some(path.as_str()));
    }
    let digest = Digest::of(text.as_bytes());
    let arguments = ["-name", text, "-digest", &digest.to_string()].map(str::to_owned);
    assert_eq!(Request::parse(arguments).ok(), Some(Request { image, digest }));
});
