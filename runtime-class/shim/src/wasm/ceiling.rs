//! What the node's operator sets for the hosts of all pods.

use super::rewrite::has_flag;
use crate::{
    error::{Error, Result},
    node::OUTBOUND_CIDR_CEILING,
    spec::Spec,
};

/// The host's variable, and its flag. The host refuses a pod's `--outbound-allow-cidr` that exceeds the value.
const VARIABLE: &str = "WASI_HTTP_HOST_OUTBOUND_CIDR_CEILING";
const FLAG: &str = "--outbound-cidr-ceiling";

/// Adds the node's ceiling, if there is one, to the environment of the host. `flags` are the host's.
///
/// # Errors
/// `InvalidArgument` when the pod has a ceiling of its own, because a flag of the pod would win over the variable.
pub(super) fn add(spec: &mut Spec, flags: &[String], ceiling: Option<&str>) -> Result<()> {
    let Some(ceiling) = ceiling else { return Ok(()) };
    if spec.variable(VARIABLE).is_some() || has_flag(flags, FLAG) {
        return Err(Error::InvalidArgument(format!(
            "{VARIABLE} or {FLAG} is set: on this node, only containerd's variable {OUTBOUND_CIDR_CEILING} sets it"
        )));
    }
    spec.add_variable(VARIABLE, ceiling);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(env: &[&str]) -> Spec {
        Spec::from_value(json!({"process": {"args": ["/a.wasm"], "env": env}}))
    }

    #[test]
    fn the_node_s_ceiling_is_the_only_one() {
        let mut added = spec(&["PATH=/bin"]);
        add(&mut added, &[], Some("10.0.0.0/8")).unwrap();
        assert_eq!(added.env(), ["PATH=/bin", "WASI_HTTP_HOST_OUTBOUND_CIDR_CEILING=10.0.0.0/8"]);
        let own = "WASI_HTTP_HOST_OUTBOUND_CIDR_CEILING=0.0.0.0/0";
        for (env, flags) in [
            (&[own][..], &[][..]),
            (&[], &["--outbound-cidr-ceiling=0.0.0.0/0"]),
            (&[], &["--outbound-cidr-ceiling", "0.0.0.0/0"]),
        ] {
            let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
            let error = add(&mut spec(env), &flags, Some("10.0.0.0/8")).unwrap_err().to_string();
            assert!(error.contains("WASI_HTTP_SHIM_OUTBOUND_CIDR_CEILING"), "{error}");
            // Without a ceiling of the node, a pod may bound itself.
            add(&mut spec(env), &flags, None).unwrap();
        }
    }
}
