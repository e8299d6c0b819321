//! The overlay `dev` of the API, for the tests.

use crate::{Cluster, Kustomization};

impl Cluster {
    /// The overlay `dev` with the node's images, in the variant that the suite runs.
    #[must_use]
    pub fn dev(&self) -> Kustomization {
        if self.plain() { self.dev_plain() } else { local(Kustomization::on("k8s/overlays/dev")) }
    }

    /// The overlay `dev` with the plain-container component, in each variant.
    #[must_use]
    pub fn dev_plain(&self) -> Kustomization {
        local(Kustomization::on("k8s/overlays/dev")).component("k8s/components/plain-container")
    }
}

/// The overlay with the images on the node.
fn local(overlay: Kustomization) -> Kustomization {
    let images = ["github-gists-api", "github-gists-api-plain", "github-gists-api-artifact", "redis"];
    images.into_iter().fold(overlay, Kustomization::local)
}
