//! From a release to a node: the images, the artifact and the chart are published to a registry by `scripts/publish`, signed and attested by
//! cosign; a namespace with a policy admits what is signed, and nothing else; and so does a node with an image policy when it pulls.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster_e2e::{
    Access, Kustomization, LONG, Namespace, eventually, eventually_within, fail, kubectl, pods,
};
use serde_json::{Value, json};
use testkit::paths;

use crate::pull::{apply, await_failure, images_only, pod, registry};
use crate::support::{
    Kyverno, Registry,
    layouts::{ARTIFACT, IMAGE, TAG, layouts, manifest, sha256},
};

const SECRET: &str = "registry";
const VERSION: &str = "0.0.1";
/// Where the installer puts the policy.
const POLICY: &str = "/etc/wasi-http-image-policy";
const VERIFIER: &str = "wasi-http-image-verifier";

/// A key pair of cosign, and a configuration without a transparency log.
struct Cosign<'a> {
    registry: &'a Registry,
    directory: PathBuf,
}

impl<'a> Cosign<'a> {
    fn new(registry: &'a Registry, name: &str) -> Self {
        let directory = paths::scratch(&format!("cosign-{name}"));
        let cosign = Self { registry, directory };
        cosign.run(&["generate-key-pair", "--output-key-prefix", &cosign.path(name)]);
        fs::rename(cosign.path(&format!("{name}.key")), cosign.path("private.key")).unwrap();
        fs::rename(cosign.path(&format!("{name}.pub")), cosign.path("public.pub")).unwrap();
        for kind in ["signing-config", "trusted-root"] {
            cosign.run(&[kind, "create", "--out", &cosign.path(kind)]);
        }
        cosign
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.registry.command("cosign").args(arguments).env("COSIGN_PASSWORD", "").output();
        let output =
            output.unwrap_or_else(|error| fail(format!("cosign, which local-cluster/build makes: {error}")));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(said)
        }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments).unwrap_or_else(|said| fail(format!("cosign {arguments:?}: {said}")))
    }

    /// Flags of a command that signs.
    fn signing(&self) -> Vec<String> {
        vec![
            "--yes".to_owned(),
            format!("--key={}", self.path("private.key")),
            format!("--signing-config={}", self.path("signing-config")),
            format!("--trusted-root={}", self.path("trusted-root")),
            format!("--registry-cacert={}", self.registry.authority().display()),
        ]
    }

    fn sign(&self, image: &str) {
        let flags = self.signing();
        let flags = flags.iter().map(String::as_str);
        self.run(&["sign"].into_iter().chain(flags).chain([image]).collect::<Vec<_>>());
    }

    /// Attaches an attestation, which is no signature.
    fn attest(&self, image: &str) {
        fs::write(self.directory.join("predicate"), "{}").unwrap();
        let flags = self.signing();
        let predicate = format!("--predicate={}", self.path("predicate"));
        let flags = flags.iter().map(String::as_str).chain(["--type=custom", &predicate]);
        self.run(&["attest"].into_iter().chain(flags).chain([image]).collect::<Vec<_>>());
    }

    /// Runs `verify` or `verify-attestation`.
    fn verify(&self, command: &[&str], image: &str) -> Result<String, String> {
        let flags = [
            format!("--key={}", self.path("public.pub")),
            "--insecure-ignore-tlog".to_owned(),
            format!("--trusted-root={}", self.path("trusted-root")),
            format!("--registry-cacert={}", self.registry.authority().display()),
        ];
        let flags = flags.iter().map(String::as_str);
        self.try_run(&command.iter().copied().chain(flags).chain([image]).collect::<Vec<_>>())
    }
}

/// The directories of the cluster's containerd and of the programs that `scripts/cluster` installs on the node.
fn node_directories() -> (PathBuf, PathBuf) {
    (Registry::node_directory(), paths::target().join("cluster"))
}

/// The verification of images on this machine, which is the node. It ends when this value is dropped.
struct Verification;

impl Verification {
    /// Runs the real installer on the real node. The runtime and its programs are there already, so that only the policy is new.
    fn install(policy: &Path) -> Self {
        let verification = Self;
        let (containerd, cluster) = node_directories();
        let output = Command::new(cluster.join("programs/wasi-http-installer"))
            .args(["install", "--root=/", "--restart=never"])
            .arg(format!("--config={}", containerd.join("config.toml").display()))
            .arg(format!("--programs={}", cluster.join("programs").display()))
            .arg(format!("--bin-dir={}", cluster.join("bin").display()))
            .arg(format!("--image-policy={}", policy.display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("from now on, containerd pulls what it allows"), "{said}");
        verification
    }
}

impl Drop for Verification {
    fn drop(&mut self) {
        let (containerd, cluster) = node_directories();
        // The link first, as the installer does: a verifier without a policy refuses everything.
        let _ = fs::remove_file(containerd.join("verifiers/bin").join(VERIFIER));
        let _ = fs::remove_dir_all(POLICY);
        let _ = fs::remove_file(cluster.join("bin").join(VERIFIER));
    }
}

/// Publishes everything as a release does. Returns the names with their digests.
fn publish(registry: &Registry, cosign: &Cosign<'_>, layouts: &Path) -> Vec<String> {
    for image in ["github-gists-api-plain", "wasi-http-installer"] {
        let built = paths::target().join("image").join(image).canonicalize();
        let built =
            built.unwrap_or_else(|error| fail(format!("{image}: {error}: run 'make image image-installer'")));
        std::os::unix::fs::symlink(built, layouts.join(image)).unwrap();
    }
    let output = registry
        .command(paths::workspace().join("scripts/publish"))
        .arg(format!("--registry={}/gists", registry.address()))
        .args(["--tag", VERSION, "--tag", TAG, "--private"])
        .arg(format!("--layouts={}", layouts.display()))
        .arg(format!("--authority={}", registry.authority().display()))
        .arg(format!("--key={}", cosign.path("private.key")))
        .env("COSIGN_PASSWORD", "")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Pushes the image's manifest with an annotation that the layout lacks: the same layers, another digest. Returns the digest.
fn push_changed(registry: &Registry, layouts: &Path, repository: &str, note: &str) -> String {
    registry.push(&layouts.join(IMAGE), repository);
    let mut manifest = manifest(&layouts.join(IMAGE));
    manifest["annotations"]["note"] = json!(note);
    let text = manifest.to_string();
    let file = layouts.join(format!("{repository}.json"));
    fs::write(&file, &text).unwrap();
    registry.push_manifest(&file, &format!("{repository}:{TAG}"));
    sha256(text.as_bytes())
}

/// Attaches the signature of one manifest to another one, as whoever can write to the registry can.
fn steal_signature(registry: &Registry, layouts: &Path, repository: &str, from: &str, to: &str) {
    let tag = |digest: &str| format!("{repository}:{}", digest.replace(':', "-"));
    let file = layouts.join("stolen.json");
    fs::write(&file, registry.manifest(&tag(from))).unwrap();
    registry.push_document(&file, &tag(to), "application/vnd.oci.image.index.v1+json");
}

fn ready(namespace: &Namespace, names: &[&str]) {
    eventually_within(LONG, &format!("{names:?} are ready"), || {
        let all = pods(namespace.name(), "app=pulled")?;
        let wanted: Vec<_> = all.iter().filter(|pod| names.contains(&pod.name.as_str())).collect();
        if let Some(reason) = wanted.iter().find_map(|pod| pod.hopeless()) {
            return Err(reason);
        }
        let ready = wanted.iter().filter(|pod| pod.ready()).count();
        if ready == names.len() { Ok(()) } else { Err(format!("{ready} of {}", names.len())) }
    });
}

/// Checks what was published: the names, the signature and the attestations of each, and that Helm finds the chart.
fn check_published(registry: &Registry, published: &[String], ours: &Cosign<'_>, theirs: &Cosign<'_>) {
    let base = format!("{}/gists", registry.address());
    let names: Vec<_> = published.iter().map(|name| name.split('@').next().unwrap()).collect();
    let expected =
        [IMAGE, ARTIFACT, "github-gists-api-plain", "wasi-http-installer", "charts/github-gists-api"];
    assert_eq!(names, expected.map(|name| format!("{base}/{name}")));
    for name in published {
        ours.verify(&["verify"], name).unwrap_or_else(|said| fail(format!("{name}: {said}")));
        let refused = theirs.verify(&["verify"], name).expect_err("another key");
        assert!(refused.contains("signature"), "{refused}");
        let attested = |kind| ours.verify(&["verify-attestation", "--type", kind], name);
        assert!(attested("slsaprovenance1").is_ok(), "{name}");
        assert_eq!(attested("cyclonedx").is_ok(), !name.contains("/charts/"), "{name}");
    }
    let chart = format!("oci://{base}/charts/github-gists-api");
    let authority = format!("--ca-file={}", registry.authority().display());
    let shown =
        registry.command("helm").args(["show", "chart", &chart, "--version", VERSION, &authority]).output();
    assert!(String::from_utf8_lossy(&shown.unwrap().stdout).contains("name: github-gists-api"));
}

/// Pushes what somebody else could have in the registry, each with layers that are right. Returns the repositories, and why the node refuses
/// each.
fn push_intruders(
    registry: &Registry,
    layouts: &Path,
    ours: &Cosign<'_>,
    theirs: &Cosign<'_>,
) -> [(&'static str, &'static str); 4] {
    let image = |repository: &str, digest: &str| registry.image(&format!("{repository}@{digest}"));
    push_changed(registry, layouts, "unsigned", "unsigned");
    theirs.sign(&image("stranger", &push_changed(registry, layouts, "stranger", "stranger")));
    ours.attest(&image("attested", &push_changed(registry, layouts, "attested", "attested")));
    let good = push_changed(registry, layouts, "tampered", "good");
    ours.sign(&image("tampered", &good));
    let tampered = push_changed(registry, layouts, "tampered", "tampered");
    steal_signature(registry, layouts, "tampered", &good, &tampered);
    let refused = ours.verify(&["verify"], &image("tampered", &tampered));
    assert!(refused.is_err(), "cosign accepts a stolen signature: {refused:?}");
    [
        ("unsigned", "not signed: the registry has no Sigstore bundle"),
        ("stranger", "by none of the policy's keys"),
        ("attested", "is no signature"),
        ("tampered", "signed by release.pub, but for another image"),
    ]
}

/// Writes a policy that lists this registry. Returns its directory.
fn policy(registry: &Registry, cosign: &Cosign<'_>) -> PathBuf {
    let directory = paths::scratch("image-policy");
    let copy = |from: &Path, name: &str| fs::copy(from, directory.join(name)).unwrap();
    copy(Path::new(&cosign.path("public.pub")), "release.pub");
    copy(&registry.authority(), "ca.pem");
    copy(&registry.login(), "login.json");
    let host = registry.address();
    let policy = format!(
        "unlisted = \"allow\"\n[[image]]\nrepository = \"{host}\"\nkeys = [\"release.pub\"]\n\
         [[registry]]\nhost = \"{host}\"\nauthorities = \"ca.pem\"\nlogin = \"login.json\"\n"
    );
    fs::write(directory.join("policy.toml"), policy).unwrap();
    directory
}

/// A Deployment without pods, of one image.
fn deployment(name: &str, image: &str) -> Value {
    let mut template = pod(name, image, Some(SECRET));
    for field in ["apiVersion", "kind"] {
        template.as_object_mut().unwrap().remove(field);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "pulled" } }, "template": template },
    })
}

/// The policy of `k8s/cluster/signed-images` for this registry and this key.
fn admission_policy(registry: &Registry, cosign: &Cosign<'_>) -> String {
    let key = fs::read_to_string(cosign.path("public.pub")).unwrap();
    let replace = |path: &str, value: &str| json!({ "op": "replace", "path": path, "value": value });
    Kustomization::on("k8s/cluster/signed-images")
        .patch(
            "ImageValidatingPolicy",
            "signed-images",
            &json!([
                replace("/spec/matchImageReferences/0/glob", &registry.image("*")),
                replace("/spec/attestors/0/cosign/key/data", &key),
            ]),
        )
        .render("signed-images", None)
}

/// Applies the policy, and checks what the API server admits: to a namespace with the policy's label what is signed, to `other` everything.
fn check_admission(
    kyverno: &Kyverno,
    registry: &Registry,
    cosign: &Cosign<'_>,
    intruders: &[&str],
    other: &Namespace,
) {
    let restricted = ("pod-security.kubernetes.io/enforce", "restricted");
    let namespace = Namespace::with_labels("admission", &[restricted, ("gists/signed-images", "required")]);
    kyverno.ready();
    eventually("Kyverno accepts the policy", || {
        kubectl(["apply", "-f", "-"]).input(admission_policy(registry, cosign)).run()
    });
    let create = |namespace: &Namespace, object: &Value, options: &[&str]| {
        let command = ["create", "-f", "-"].into_iter().chain(options.iter().copied());
        namespace.kubectl(command).input(object.to_string()).run()
    };
    let dry = ["--dry-run=server"];
    let intruder = |name: &str| registry.image(&format!("{name}:{TAG}"));
    eventually_within(LONG, "the policy is in force", || {
        match create(&namespace, &deployment("asked", &intruder("unsigned")), &dry) {
            Ok(_) => Err("an unsigned image is admitted".to_owned()),
            Err(refusal) if refusal.contains("signed-images") => Ok(()),
            Err(refusal) => Err(refusal),
        }
    });

    // What is signed is admitted, and its tag replaced by the digest.
    let by_tag = registry.image(&format!("gists/{IMAGE}:{VERSION}"));
    create(&namespace, &deployment("signed", &by_tag), &[]).unwrap_or_else(|refusal| fail(refusal));
    let image = namespace.kubectl(["get", "deployment", "signed"]).json().unwrap();
    let image = image.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap();
    let digest = image.strip_prefix(&format!("{by_tag}@")).unwrap_or_else(|| fail(image.to_owned()));
    let by_digest = registry.image(&format!("gists/{IMAGE}@{digest}"));
    create(&namespace, &pod("signed", &by_digest, None), &dry).unwrap_or_else(|refusal| fail(refusal));

    for name in intruders {
        let image = intruder(name);
        for object in [deployment(name, &image), pod(name, &image, None)] {
            let refusal = create(&namespace, &object, &dry).expect_err("an image without a signature");
            let told = format!("not signed by the key of the policy: {image}@sha256:");
            assert!(refusal.contains(&told), "{name}: {refusal}");
        }
        create(other, &deployment(name, &image), &dry).unwrap_or_else(|refusal| fail(refusal));
    }
}

#[test]
fn a_cluster_admits_and_a_node_pulls_what_is_published_and_signed_and_nothing_else() {
    let _access = Access::exclusive();
    let Some(registry) = registry("signatures") else { return };
    if images_only() {
        println!("NOT RUN: containerd 1 has no image verifiers");
        return;
    }
    registry.trust();
    // It starts while images are published.
    let kyverno = Kyverno::install(&registry);
    let namespace = Namespace::new("signatures");
    registry.right_secret(&namespace, SECRET);
    let (ours, theirs) = (Cosign::new(&registry, "ours"), Cosign::new(&registry, "theirs"));
    let layouts = layouts("signatures");
    let published = publish(&registry, &ours, &layouts);
    check_published(&registry, &published, &ours, &theirs);
    let intruders = push_intruders(&registry, &layouts, &ours, &theirs);
    if let Some(kyverno) = kyverno {
        check_admission(&kyverno, &registry, &ours, &intruders.map(|(name, _)| name), &namespace);
    }

    let verification = Verification::install(&policy(&registry, &ours));
    let made = |name: &str, image: &str| pod(name, &registry.image(image), Some(SECRET));
    let by_digest = |name: &str| {
        let image = format!("/gists/{name}@");
        pod(
            &format!("{name}-by-digest"),
            published.iter().find(|one| one.contains(&image)).unwrap(),
            Some(SECRET),
        )
    };
    let signed = [made("by-tag", &format!("gists/{IMAGE}:{VERSION}")), by_digest(IMAGE), by_digest(ARTIFACT)];
    let refused = intruders.map(|(name, _)| made(name, &format!("{name}:{TAG}")));
    apply(&namespace, &[signed.to_vec(), refused.to_vec()].concat());
    ready(&namespace, &["by-tag", &format!("{IMAGE}-by-digest"), &format!("{ARTIFACT}-by-digest")]);
    for (name, reason) in intruders {
        await_failure(&namespace, name, &[VERIFIER, reason]);
        let all = pods(namespace.name(), "app=pulled").unwrap();
        assert!(!all.iter().any(|pod| pod.name == name && pod.ready()), "{name} runs");
    }

    // A policy that cannot be read refuses what is signed, too.
    fs::write(Path::new(POLICY).join("policy.toml"), "unlisted = ").unwrap();
    apply(&namespace, &[made("no-policy", &format!("gists/{IMAGE}:{VERSION}"))]);
    await_failure(&namespace, "no-policy", &[VERIFIER, "policy.toml"]);

    // Without the verifier, the node pulls the unsigned image: nothing else kept it away.
    drop(verification);
    apply(&namespace, &[made("no-verifier", &format!("unsigned:{TAG}"))]);
    ready(&namespace, &["no-verifier"]);
}
