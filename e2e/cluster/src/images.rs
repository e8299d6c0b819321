//! The images on the nodes.

/// The local image with this name: its tag is `IMAGE_TAG`, or `dev`.
#[must_use]
pub fn image(name: &str) -> String {
    format!("localhost/{name}:{}", tag())
}

/// The tag of the local images.
pub(crate) fn tag() -> String {
    std::env::var("IMAGE_TAG").unwrap_or_else(|_| "dev".to_owned())
}
