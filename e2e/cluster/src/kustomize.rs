//! Overlays of tests on top of the repository's manifests.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use testkit::paths::workspace;

use crate::{Namespace, fail, kubectl, made, output};

/// A kustomization. Paths are relative to the repository.
#[derive(Debug, Clone, Default)]
pub struct Kustomization {
    resources: Vec<String>,
    components: Vec<String>,
    patches: Vec<Value>,
    images: Vec<Value>,
    keeping: bool,
}

impl Kustomization {
    /// Starts from this directory, such as `k8s/overlays/dev`.
    #[must_use]
    pub fn on(base: &str) -> Self {
        Self::default().resource(base)
    }

    /// Adds the objects of a directory.
    #[must_use]
    pub fn resource(mut self, path: &str) -> Self {
        self.resources.push(path.to_owned());
        self
    }

    /// Adds a component, such as `k8s/components/redis`.
    #[must_use]
    pub fn component(mut self, path: &str) -> Self {
        self.components.push(path.to_owned());
        self
    }

    /// Patches the objects of this kind and name: by a strategic merge, or by a JSON patch if `patch` is a list.
    #[must_use]
    pub fn patch(mut self, kind: &str, name: &str, patch: &Value) -> Self {
        self.patches.push(entry(kind, name, patch));
        self
    }

    /// Removes the objects of this kind and name.
    #[must_use]
    pub fn without(mut self, kind: &str, name: &str) -> Self {
        let patch = json!({ "$patch": "delete", "kind": kind, "metadata": { "name": name } });
        self.patches.push(entry(kind, name, &patch));
        self
    }

    /// Sets variables of a container's environment in a Deployment.
    #[must_use]
    pub fn env(self, deployment: &str, container: &str, variables: &[(&str, &str)]) -> Self {
        let env: Vec<_> =
            variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": deployment },
            "spec": { "template": { "spec": { "containers": [{ "name": container, "env": env }] } } }
        });
        self.patch("Deployment", deployment, &patch)
    }

    /// Exposes the API at the gateway under this host name only, without TLS, so that namespaces do not compete for one name.
    #[must_use]
    pub fn at_host(self, host: &str) -> Self {
        let server = json!({ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": [format!("./{host}")] });
        let name = "github-gists-api";
        self.patch("Gateway", name, &json!([{ "op": "replace", "path": "/spec/servers", "value": [server] }]))
            .patch(
                "VirtualService",
                name,
                &json!([{ "op": "replace", "path": "/spec/hosts", "value": [host] }]),
            )
    }

    /// Sets the URL of GitHub, and allows its private address in the cluster.
    #[must_use]
    pub fn upstream(self, url: &str) -> Self {
        let name = "github-gists-api";
        let variables = [("GITHUB_API_URL", url), ("WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR", "10.0.0.0/8")];
        self.env(name, name, &variables)
    }

    /// Sets the number of replicas of the API, and removes the autoscaler.
    #[must_use]
    pub fn replicas(self, count: u32) -> Self {
        let replicas = json!([{ "op": "add", "path": "/spec/replicas", "value": count }]);
        let name = "github-gists-api";
        self.without("HorizontalPodAutoscaler", name).patch("Deployment", name, &replicas)
    }

    /// Probes readiness each second, and removes the minimum time of readiness, to save time.
    #[must_use]
    pub fn eager(self) -> Self {
        let probe = json!({ "httpGet": { "path": "/ready", "port": "admin" }, "periodSeconds": 1 });
        let patch = json!([
            { "op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe", "value": probe },
            { "op": "replace", "path": "/spec/minReadySeconds", "value": 0 },
        ]);
        self.patch("Deployment", "github-gists-api", &patch)
    }

    /// Takes the image with this name from the node, with the tag of the suite.
    #[must_use]
    pub fn local(mut self, name: &str) -> Self {
        // Under both names: an overlay may already use the second.
        for known in [name.to_owned(), format!("localhost/{name}")] {
            let new = format!("localhost/{name}");
            self.images.push(json!({ "name": known, "newName": new, "newTag": crate::tag() }));
        }
        self
    }

    /// Replaces an image by another: `localhost/name:tag`.
    #[must_use]
    pub fn image(mut self, image: &str, other: &str) -> Self {
        let (name, tag) = other.rsplit_once(':').unwrap_or((other, "latest"));
        self.images.push(json!({ "name": image, "newName": name, "newTag": tag }));
        self
    }

    /// Moves only objects without a namespace: objects beside the gateway stay there.
    #[must_use]
    pub fn keeping_namespaces(mut self) -> Self {
        self.keeping = true;
        self
    }

    /// The objects as YAML, moved to the namespace if one is given.
    ///
    /// # Panics
    /// If kustomize fails.
    #[track_caller]
    #[must_use]
    pub fn render(&self, name: &str, namespace: Option<&str>) -> String {
        let directory = made(&output().join("kustomize").join(name));
        let paths = |paths: &[String]| -> Vec<String> {
            paths.iter().map(|path| relative(&directory, &workspace().join(path))).collect()
        };
        let mut kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": paths(&self.resources), "components": paths(&self.components),
            "patches": self.patches, "images": self.images,
        });
        if let (Some(namespace), Some(fields)) = (namespace, kustomization.as_object_mut()) {
            if self.keeping {
                let transformer = json!({
                    "apiVersion": "builtin", "kind": "NamespaceTransformer",
                    "metadata": { "name": "namespace", "namespace": namespace }, "unsetOnly": true,
                });
                fields.insert("transformers".to_owned(), json!([transformer.to_string()]));
            } else {
                fields.insert("namespace".to_owned(), namespace.into());
            }
        }
        let file = directory.join("kustomization.yaml");
        fs::write(&file, kustomization.to_string())
            .unwrap_or_else(|error| fail(format!("{}: {error}", file.display())));
        kubectl(["kustomize", &directory.to_string_lossy()]).must()
    }

    /// Applies all objects to the namespace.
    ///
    /// # Panics
    /// If kustomize fails or the cluster refuses an object.
    #[track_caller]
    pub fn apply(&self, namespace: &Namespace) {
        let objects = self.render(namespace.name(), Some(namespace.name()));
        kubectl(["apply", "-f", "-"]).input(objects).must();
    }
}

fn entry(kind: &str, name: &str, patch: &Value) -> Value {
    json!({ "target": { "kind": kind, "name": name }, "patch": patch.to_string() })
}

/// The relative path from one directory to another: kustomize accepts no absolute path.
fn relative(from: &Path, to: &Path) -> String {
    let to = to.canonicalize().unwrap_or_else(|error| fail(format!("{}: {error}", to.display())));
    let (here, there): (Vec<Component<'_>>, Vec<_>) =
        (from.components().collect(), to.components().collect());
    let shared = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
    let up = here.iter().skip(shared).map(|_| Component::ParentDir);
    up.chain(there.into_iter().skip(shared)).collect::<PathBuf>().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_up_and_down() {
        let root = workspace();
        assert_eq!(relative(&root.join("e2e/cluster"), &root.join("e2e/src")), "../src");
        assert_eq!(relative(&root, &root.join("e2e/src")), "e2e/src");
    }
}
