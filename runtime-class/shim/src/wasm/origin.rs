//! Refuses settings of the host that come from the image instead of the pod.
//!
//! An image is untrusted: its author is not the pod's author. Variables and flags that widen what a component may do, that
//! carry secrets, or that bound what the pod uses, are the pod's. The container's specification has the variables of both, so
//! the shim asks containerd for the image's configuration and compares. It asks only if the specification has such a setting.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};
use wasi_http_host_core::environment::{Setter, setter};

use super::{
    artifact::{Image, ask_containerd, with_image},
    exact::Exact,
};
use crate::{
    error::{Error, Result},
    node::Node,
    spec::Spec,
};

/// The shim's own command that reads the image's configuration.
pub(crate) const ACTION: &str = "wasi-http-image";
/// Manifests and indexes of an image, of all platforms together.
const MANIFESTS_MAX: usize = 128;

/// What an image says about its program (OCI image specification, `config.md`, `config`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Defaults {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

impl Defaults {
    /// Without the variables that do not matter here, because an answer to the shim has a bounded length.
    fn pods(mut self) -> Self {
        self.env.iter_mut().for_each(|env| env.retain(|pair| is_pods(pair)));
        self
    }
}

/// An image's configuration.
#[derive(Deserialize)]
struct Configuration {
    config: Option<Exact<Defaults>>,
}

impl Configuration {
    /// # Errors
    /// When the text is no configuration, or could be read in two ways.
    fn parse(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text).map(|Exact(configuration)| configuration)
    }
}

/// A setting that only the pod may set.
#[derive(Debug, PartialEq, Eq)]
enum Setting<'a> {
    /// `NAME=VALUE`.
    Variable(&'a str),
    /// `--flag` or `--flag=VALUE`.
    Flag(&'a str),
}

/// Checks that the image of container `id` sets nothing that only the pod may set.
///
/// # Errors
/// `InvalidArgument` with the image and the setting. When containerd does not answer.
pub(super) async fn check(spec: &Spec, id: &str, node: &Node) -> Result<()> {
    let (env, args) = (spec.env(), spec.args());
    if env.iter().all(|pair| !is_pods(pair)) && flags(&args).next().is_none() {
        return Ok(());
    }
    let text = ask_containerd(node, ACTION, id).await?;
    let images: Vec<Defaults> = serde_json::from_str(&text)
        .map_err(|error| Error::Other(format!("{ACTION} for container {id}: {error}")))?;
    match images.iter().find_map(|image| of_image(&env, &args, image)) {
        None => Ok(()),
        Some(setting) => Err(Error::InvalidArgument(refusal(spec.image(), &setting))),
    }
}

fn refusal(image: &str, setting: &Setting<'_>) -> String {
    // The value may be a secret.
    let (kind, text) = match setting {
        Setting::Variable(pair) => ("variable", pair),
        Setting::Flag(flag) => ("flag", flag),
    };
    let name = text.split('=').next().unwrap_or_default();
    format!(
        "image {image}: it sets the {kind} {name}, which only the pod may set: remove it from the image, and set it in the \
         pod's specification"
    )
}

/// The first setting of the specification that comes from the image, and that only the pod may set. A pod that repeats the
/// image's value counts as the image.
fn of_image<'a>(env: &[&'a str], args: &[&'a str], image: &Defaults) -> Option<Setting<'a>> {
    let of_image = |pair: &str| image.env.iter().flatten().any(|image| image == pair);
    let variable = env.iter().copied().find(|pair| is_pods(pair) && of_image(pair));
    variable
        .map(Setting::Variable)
        .or_else(|| flags(args.get(..args_of_image(args, image))?).next().map(Setting::Flag))
}

/// How many of the first arguments come from the image: its entrypoint, and its command if the pod has no arguments.
fn args_of_image(args: &[&str], image: &Defaults) -> usize {
    let entrypoint = image.entrypoint.as_deref().filter(|entrypoint| *entrypoint != [""]).unwrap_or_default();
    let whole: Vec<&str> = entrypoint.iter().chain(image.cmd.iter().flatten()).map(String::as_str).collect();
    if args == whole {
        args.len()
    } else if args.len() >= entrypoint.len() && args.iter().zip(entrypoint).all(|(arg, image)| arg == image) {
        entrypoint.len()
    } else {
        0
    }
}

/// Whether only the pod may set the variable of `NAME=VALUE`.
fn is_pods(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    setter(name) == Some(Setter::Pod)
}

/// The flags among a program's arguments that only the pod may set. A flag of the host has the name of its variable. Unknown
/// flags are the pod's too.
fn flags<'a>(args: &[&'a str]) -> impl Iterator<Item = &'a str> {
    args.iter().skip(1).copied().filter(|arg| {
        arg.strip_prefix('-').is_some_and(|flag| {
            let name = flag.trim_start_matches('-').split('=').next().unwrap_or_default();
            is_pods(&format!("WASI_HTTP_HOST_{}", name.to_ascii_uppercase().replace('-', "_")))
        })
    })
}

/// The command [`ACTION`]: returns the configurations of the container's image as JSON.
///
/// # Errors
/// When containerd does not answer, or the image has too many manifests.
pub(crate) fn run(args: &[OsString]) -> Result<String> {
    let found = with_image(ACTION, args, async |image, _| match image {
        Some(image) => configurations(&image).await,
        // Whoever creates a container without an image writes its whole specification.
        None => Ok(Vec::new()),
    })?;
    serde_json::to_string(&found).map_err(|error| Error::Other(error.to_string()))
}

/// The configurations of all platforms that containerd has. The shim does not know which of them containerd chose.
async fn configurations(image: &Image) -> Result<Vec<Defaults>> {
    let mut found = Vec::new();
    let mut digests = vec![image.digest.clone()];
    let mut read = 0;
    while let Some(digest) = digests.pop() {
        read += 1;
        if read + digests.len() > MANIFESTS_MAX {
            return Err(Error::InvalidArgument(format!(
                "image {}: it has more than {MANIFESTS_MAX} manifests",
                image.name
            )));
        }
        let manifest = match image.manifest(&digest).await {
            // containerd does not fetch the manifests of other platforms.
            Err(Error::NotFound(_)) if digest != image.digest => continue,
            manifest => manifest?,
        };
        digests.extend(manifest.manifests.into_iter().map(|Exact(entry)| entry.digest));
        let Some(config) = manifest.config else { continue };
        match image.document(&config.digest, Configuration::parse).await {
            Ok(configuration) => found.extend(configuration.config.map(|Exact(config)| config.pods())),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(env: &[&str], entrypoint: &[&str], cmd: &[&str]) -> Defaults {
        let owned = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
        Defaults { env: owned(env), entrypoint: owned(entrypoint), cmd: owned(cmd) }
    }

    const OPEN: &str = "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR=0.0.0.0/0";

    #[test]
    fn a_variable_of_the_pod_is_accepted_from_the_pod_only() {
        let args = ["/spin.toml"];
        for pair in [
            OPEN,
            "https_proxy=http://me",
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://me",
            "WASI_HTTP_HOST_CACHE_DIR=/x",
        ] {
            let found = of_image(&["PATH=/bin", pair], &args, &image(&["PATH=/bin", pair], &args, &[]));
            assert_eq!(found, Some(Setting::Variable(pair)));
            assert_eq!(
                of_image(&[pair], &args, &image(&["PATH=/bin"], &args, &[])),
                None,
                "the pod's: {pair}"
            );
        }
        let other = "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR=10.0.0.0/8";
        assert_eq!(
            of_image(&[other], &args, &image(&[OPEN], &args, &[])),
            None,
            "the pod overrides the image"
        );
        let harmless = ["PORT=80", "HOME=/", "WASI_HTTP_HOST_READY_PATH=/ready", "GITHUB_TOKEN=x"];
        assert_eq!(of_image(&harmless, &args, &image(&harmless, &args, &[])), None);
    }

    /// containerd reads these with Go's `encoding/json`, for which `env` and `Env` are the same key.
    #[test]
    fn a_configuration_that_containerd_reads_otherwise_is_refused() {
        for (text, reason) in [
            (format!(r#"{{"config": {{"env": ["{OPEN}"]}}}}"#), r#""env" differs from "Env""#),
            (format!(r#"{{"config": {{"Env": [], "ENV": ["{OPEN}"]}}}}"#), r#""ENV" differs from "Env""#),
            (format!(r#"{{"config": {{"Env": [], "Env": ["{OPEN}"]}}}}"#), "duplicate field `Env`"),
            (format!(r#"{{"Config": {{"Env": ["{OPEN}"]}}}}"#), r#""Config" differs from "config""#),
            (r#"{"config": {"cmd": ["--new-flag"]}}"#.to_owned(), r#""cmd" differs from "Cmd""#),
        ] {
            let error = Configuration::parse(text.as_bytes()).err().unwrap().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let text = r#"{"config": {"Env": ["A=b"], "Labels": {"env": "", "Env": ""}}, "container_config": {"env": []}}"#;
        let config = Configuration::parse(text.as_bytes()).unwrap().config.unwrap();
        assert_eq!(config.env.as_deref(), Some(&["A=b".to_owned()][..]));
    }

    #[test]
    fn a_flag_of_the_pod_is_accepted_from_the_pod_only() {
        let open = "--outbound-allow-cidr=0.0.0.0/0";
        let of = |args: &[&str], entrypoint: &[&str], cmd: &[&str]| {
            of_image(&[], args, &image(&[], entrypoint, cmd)).map(|setting| refusal("i", &setting))
        };
        for (entrypoint, cmd) in [
            (&["/spin.toml", open][..], &[][..]),
            (&["/spin.toml"], &[open]),
            (&[], &["/spin.toml", open]),
            (&[""], &["/spin.toml", open]),
        ] {
            let error = of(&["/spin.toml", open], entrypoint, cmd).unwrap();
            assert!(
                error.contains("the flag --outbound-allow-cidr, which") && !error.contains("0.0.0.0"),
                "{error}"
            );
        }
        assert!(of(&["/spin.toml", open, "--access-log", "off"], &["/spin.toml", open], &[]).is_some());
        for unknown in ["--new-flag", "-x", "--"] {
            assert!(of(&["/a.wasm", unknown], &["/a.wasm", unknown], &[]).is_some(), "{unknown}");
        }
        assert!(
            of(&["/spin.toml", open], &["/spin.toml"], &["--log-level"]).is_none(),
            "the pod's arguments"
        );
        assert!(of(&["/spin.toml", open], &["/other.wasm", open], &[]).is_none(), "the pod's command");
        assert!(of(&["/a.wasm", "--var", "x=1"], &["/a.wasm"], &["--var", "x=1"]).is_none());
    }
}
