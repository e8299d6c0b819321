//! k3s and rke2 write containerd's configuration at each start from a Go template. That is no TOML: ours is a block at its end.

use crate::configuration::{Options, Schema, tables};

/// A template that adds nothing to what k3s writes without one.
const BASE: &str = "{{ template \"base\" . }}\n";
const BEGIN: &str = "\n# wasi-http-installer: begin\n";
const END: &str = "# wasi-http-installer: end\n";

/// The template's file name, beside the configuration that it makes.
pub(crate) fn file_name(schema: Schema) -> &'static str {
    match schema {
        Schema::Two => "config.toml.tmpl",
        Schema::Three(_) => "config-v3.toml.tmpl",
    }
}

/// Both, for removal: k3s may have gone from one to the other since.
pub(crate) const FILE_NAMES: [&str; 2] = ["config.toml.tmpl", "config-v3.toml.tmpl"];

/// The template with our block; a new one where there was none.
pub(crate) fn with_block(template: Option<&str>, schema: Schema, options: &Options) -> String {
    let template = template
        .map_or_else(|| BASE.to_owned(), |text| without_block(text).unwrap_or_else(|| text.to_owned()));
    let newline = if template.is_empty() || template.ends_with('\n') { "" } else { "\n" };
    format!("{template}{newline}{BEGIN}{}{END}", tables(schema, options).trim_start())
}

/// The template without our block; `None` when it has none.
pub(crate) fn without_block(template: &str) -> Option<String> {
    let (before, rest) = template.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{after}"))
}

/// What is left is what we began with: no template at all.
pub(crate) fn is_ours_alone(remainder: &str) -> bool {
    remainder == BASE
}
