//! The templates of k3s and rke2, which generate containerd's configuration from a Go template at each start.
//!
//! A template is not TOML, so the installer adds its tables as a marked block at the end.

use crate::configuration::{RuntimeOptions, Schema, runtime_tables};

/// The template that generates the same configuration as no template.
const BASE: &str = "{{ template \"base\" . }}\n";
const BEGIN: &str = "\n# wasi-http-installer: begin\n";
const END: &str = "# wasi-http-installer: end\n";

/// File name of the template, which lies beside the generated configuration.
pub(crate) fn file_name(schema: Schema) -> &'static str {
    match schema {
        Schema::Two => "config.toml.tmpl",
        Schema::Three(_) => "config-v3.toml.tmpl",
    }
}

/// File names of the templates of all schemas. A removal looks at all of them, because an upgrade of k3s changes the
/// schema.
pub(crate) const FILE_NAMES: [&str; 2] = ["config.toml.tmpl", "config-v3.toml.tmpl"];

/// The template with the installer's block. Without a template, a new one.
pub(crate) fn with_block(template: Option<&str>, schema: Schema, options: &RuntimeOptions) -> String {
    let template = template
        .map_or_else(|| BASE.to_owned(), |text| without_block(text).unwrap_or_else(|| text.to_owned()));
    let newline = if template.is_empty() || template.ends_with('\n') { "" } else { "\n" };
    format!("{template}{newline}{BEGIN}{}{END}", runtime_tables(schema, options).trim_start())
}

/// The template without the installer's block; `None` if it has no such block.
pub(crate) fn without_block(template: &str) -> Option<String> {
    let (before, rest) = template.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{after}"))
}

/// Whether the template is the one that the installer starts with when there is none.
pub(crate) fn is_base(template: &str) -> bool {
    template == BASE
}
