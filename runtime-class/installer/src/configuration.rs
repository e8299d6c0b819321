//! containerd's configuration as TOML: reads its runtimes, and adds or removes the table of the runtime `wasi-http`.

use std::fmt::Write as _;

use toml_edit::{DocumentMut, Item, Table, TableLike};

use crate::runtime::{HANDLER, RUNTIME_TYPE};

/// The configuration's format. The runtimes are the tables below `plugins.PLUGIN.containerd.runtimes`, and the name of
/// the plugin depends on the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Version 2: containerd 1.x. containerd 2.x reads it too.
    Two,
    /// Version 3 or 4, with the number: containerd 2.x.
    Three(i64),
}

impl Schema {
    fn plugin(self) -> &'static str {
        match self {
            Self::Two => "io.containerd.grpc.v1.cri",
            Self::Three(_) => "io.containerd.cri.v1.runtime",
        }
    }

    /// The value of the file's key `version`.
    #[must_use]
    pub fn version(self) -> i64 {
        match self {
            Self::Two => 2,
            Self::Three(version) => version,
        }
    }
}

/// The plugin that runs image verifiers, and its directory of verifiers by default.
const VERIFIERS: (&str, &str) =
    ("io.containerd.image-verifier.v1.bindir", "/opt/containerd/image-verifier/bin");
/// The plugin by which Kubernetes pulls images.
const IMAGES: &str = "io.containerd.cri.v1.images";

/// A parsed configuration. Comments and spaces are preserved.
#[derive(Debug)]
pub struct Configuration {
    document: DocumentMut,
    schema: Schema,
}

/// The keys of the runtime's table that depend on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// `runtime_path`: the shim's path, if the shim lies outside containerd's search path.
    pub runtime_path: Option<String>,
    /// `base_runtime_spec`: the file with the OCI specification that containers start from.
    pub base_runtime_spec: Option<String>,
    /// `SystemdCgroup`: systemd manages the node's cgroups.
    pub systemd_cgroup: bool,
}

impl Configuration {
    /// Parses a configuration.
    ///
    /// # Errors
    /// With the reason, when the text is no TOML, its version is not 2, 3 or 4, or the CRI plugin is disabled.
    pub fn read(text: &str) -> Result<Self, String> {
        let document: DocumentMut = text.parse().map_err(|error| format!("not TOML: {error}"))?;
        let version = match document.get("version") {
            None => 1,
            Some(version) => version.as_integer().ok_or("its key `version` is not a number")?,
        };
        let schema = match version {
            2 => Schema::Two,
            3 | 4 => Schema::Three(version),
            other => {
                return Err(format!(
                    "version {other} of the configuration is not supported: expected 2, 3 or 4; \
                     `containerd config migrate` converts an old configuration"
                ));
            }
        };
        let disabled = document.get("disabled_plugins").and_then(Item::as_array);
        let cri_off = disabled.into_iter().flatten().filter_map(|name| name.as_str());
        if let Some(name) = cri_off.into_iter().find(|name| *name == "cri" || *name == schema.plugin()) {
            return Err(format!(
                "disabled_plugins contains {name:?}: without this plugin, Kubernetes cannot use this containerd"
            ));
        }
        Ok(Self { document, schema })
    }

    /// The configuration's format.
    #[must_use]
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// The options that `wasi-http` takes over from the node's default runtime, or from `runc` if the default runtime has
    /// no table.
    #[must_use]
    pub fn default_runtime_options(&self) -> RuntimeOptions {
        let containerd = self.containerd();
        let default = containerd.and_then(|table| table.get("default_runtime_name")).and_then(Item::as_str);
        let runc = self.runtime(default.unwrap_or("runc")).or_else(|| self.runtime("runc"));
        let systemd = runc
            .and_then(|table| table.get("options"))
            .and_then(Item::as_table_like)
            .and_then(|options| options.get("SystemdCgroup"))
            .and_then(Item::as_bool);
        let specification = runc.and_then(|table| table.get("base_runtime_spec")).and_then(Item::as_str);
        RuntimeOptions {
            runtime_path: None,
            base_runtime_spec: specification.filter(|path| !path.is_empty()).map(str::to_owned),
            systemd_cgroup: systemd.unwrap_or(false),
        }
    }

    /// The `runtime_type` of the runtime named `wasi-http`. `None` if there is no such runtime.
    #[must_use]
    pub fn installed_type(&self) -> Option<String> {
        let table = self.runtime(HANDLER)?;
        Some(table.get("runtime_type").and_then(Item::as_str).unwrap_or_default().to_owned())
    }

    /// Directories from which the configuration imports all `*.toml` files.
    ///
    /// Empty for version 2: containerd 1.x does not merge an imported file but replaces the plugin's whole section by the
    /// imported one.
    #[must_use]
    pub fn drop_in_directories(&self) -> Vec<String> {
        if self.schema == Schema::Two {
            return Vec::new();
        }
        let imports = self.document.get("imports").and_then(Item::as_array);
        let imports = imports.into_iter().flatten().filter_map(|path| path.as_str());
        imports
            .filter_map(|path| path.strip_suffix("/*.toml"))
            .filter(|path| path.starts_with('/'))
            .map(str::to_owned)
            .collect()
    }

    /// The directory whose programs containerd runs before each pull.
    ///
    /// # Errors
    /// With the reason, when containerd would pull images without running them. containerd runs verifiers in its transfer service only,
    /// and does without this service when the configuration has certain keys (`CheckLocalImagePullConfigs` in containerd).
    pub fn verifiers(&self) -> Result<String, String> {
        if self.schema == Schema::Two {
            return Err("version 2 of the configuration, which is that of containerd 1: image verifiers need containerd 2.1 or later and \
                        version 3 or 4 (`containerd config migrate`)"
                .to_owned());
        }
        let (plugin, default) = VERIFIERS;
        let disabled = self.document.get("disabled_plugins").and_then(Item::as_array);
        if disabled.into_iter().flatten().any(|name| name.as_str() == Some(plugin)) {
            return Err(format!(
                "disabled_plugins contains {plugin:?}: containerd would run no image verifier"
            ));
        }
        let plugins = self.document.get("plugins");
        if let Some(key) = plugins.and_then(|plugins| plugins.get(IMAGES)).and_then(pulls_by_itself) {
            return Err(format!(
                "its key {key} lets containerd pull images without its transfer service, and so without image verifiers: remove the key"
            ));
        }
        let directory = plugins.and_then(|plugins| plugins.get(plugin)?.get("bin_dir")?.as_str());
        Ok(directory.filter(|path| !path.is_empty()).unwrap_or(default).to_owned())
    }

    /// The configuration's text with the runtime `wasi-http`. Everything else is unchanged, with comments and spaces.
    ///
    /// # Errors
    /// With the reason, when a key on the way to the runtimes is no table or an inline table.
    pub fn with_runtime(&self, options: &RuntimeOptions) -> Result<String, String> {
        let mut document = self.document.clone();
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for key in ["plugins", self.schema.plugin(), "containerd", "runtimes"] {
            let inline = table.get(key).is_some_and(Item::is_inline_table);
            let item = table.entry(key).or_insert_with(|| Item::Table(implicit()));
            if inline {
                return Err(format!(
                    "{key} is written in one line ({{…}}), to which no table can be added: write it as [{key}]"
                ));
            }
            table = item.as_table_like_mut().ok_or_else(|| format!("{key} is not a table"))?;
        }
        let ours: DocumentMut =
            drop_in(self.schema, options).parse().map_err(|error| format!("the table to add: {error}"))?;
        let ours = runtimes(ours.as_table(), self.schema).and_then(|runtimes| runtimes.get(HANDLER));
        let mut ours = ours.cloned().ok_or("the table to add has no runtime")?;
        if let Some(table) = ours.as_table_mut() {
            clear_positions(table);
        }
        table.insert(HANDLER, ours);
        Ok(document.to_string())
    }

    /// The configuration's text without the runtime `wasi-http`.
    #[must_use]
    pub fn without_runtime(&self) -> String {
        let mut document = self.document.clone();
        let mut table: Option<&mut dyn TableLike> = Some(document.as_table_mut());
        for key in ["plugins", self.schema.plugin(), "containerd", "runtimes"] {
            table = table.and_then(|table| table.get_mut(key)).and_then(Item::as_table_like_mut);
        }
        if let Some(runtimes) = table {
            runtimes.remove(HANDLER);
        }
        document.to_string()
    }

    fn containerd(&self) -> Option<&dyn TableLike> {
        let plugin = self.document.get("plugins")?.get(self.schema.plugin())?;
        plugin.get("containerd")?.as_table_like()
    }

    fn runtime(&self, name: &str) -> Option<&dyn TableLike> {
        self.containerd()?.get("runtimes")?.get(name)?.as_table_like()
    }
}

/// The key of the images' plugin that keeps containerd from using its transfer service; `None` if there is none.
fn pulls_by_itself(images: &Item) -> Option<&'static str> {
    let flags = [
        ("use_local_image_pull", true),
        ("disable_snapshot_annotations", false),
        ("discard_unpacked_layers", true),
        ("image_pull_with_sync_fs", true),
    ];
    let flag = flags.iter().find(|(key, value)| images.get(key).and_then(Item::as_bool) == Some(*value));
    let registry = ["mirrors", "configs", "auths"].into_iter().find(|key| {
        let table =
            images.get("registry").and_then(|registry| registry.get(key)).and_then(Item::as_table_like);
        table.is_some_and(|table| !table.is_empty())
    });
    // The default of both ways to pull.
    let downloads =
        images.get("max_concurrent_downloads").and_then(Item::as_integer).is_some_and(|number| number != 3);
    flag.map(|(key, _)| *key).or(registry).or(downloads.then_some("max_concurrent_downloads"))
}

fn runtimes(document: &Table, schema: Schema) -> Option<&dyn TableLike> {
    document.get("plugins")?.get(schema.plugin())?.get("containerd")?.get("runtimes")?.as_table_like()
}

fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

/// Clears the positions that tables have in their own document, so that they are written after their new siblings.
fn clear_positions(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        if let Some(table) = item.as_table_mut() {
            clear_positions(table);
        }
    }
}

/// A complete configuration file with the runtime `wasi-http`, for a directory that the configuration imports.
#[must_use]
pub fn drop_in(schema: Schema, options: &RuntimeOptions) -> String {
    format!("version = {}\n{}", schema.version(), runtime_tables(schema, options))
}

/// The tables of the runtime `wasi-http`, without the key `version`.
pub(crate) fn runtime_tables(schema: Schema, options: &RuntimeOptions) -> String {
    let table = format!("plugins.\"{}\".containerd.runtimes.{HANDLER}", schema.plugin());
    let mut text = format!("\n[{table}]\nruntime_type = \"{RUNTIME_TYPE}\"\n");
    let paths = [("runtime_path", &options.runtime_path), ("base_runtime_spec", &options.base_runtime_spec)];
    for (key, path) in paths {
        if let Some(path) = path {
            let _infallible = writeln!(text, "{key} = {}", toml_edit::Value::from(path.as_str()));
        }
    }
    if options.systemd_cgroup {
        let _infallible = write!(text, "\n[{table}.options]\nSystemdCgroup = true\n");
    }
    text
}
