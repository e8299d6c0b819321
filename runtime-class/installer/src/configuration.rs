//! containerd's configuration, read as TOML: what it says of runtimes, and the table that makes ours known.

use std::fmt::Write as _;

use toml_edit::{DocumentMut, Item, Table, TableLike};

use crate::runtime::{HANDLER, RUNTIME_TYPE};

/// Where a version of the configuration keeps its runtimes: under `plugins.PLUGIN.containerd.runtimes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// containerd 1.x; 2.x still reads it.
    Two,
    /// containerd 2.x, versions 3 and 4 of the file.
    Three(i64),
}

impl Schema {
    fn plugin(self) -> &'static str {
        match self {
            Self::Two => "io.containerd.grpc.v1.cri",
            Self::Three(_) => "io.containerd.cri.v1.runtime",
        }
    }

    /// The number that such a file begins with.
    #[must_use]
    pub fn version(self) -> i64 {
        match self {
            Self::Two => 2,
            Self::Three(version) => version,
        }
    }
}

/// A configuration that was read.
#[derive(Debug)]
pub struct Configuration {
    document: DocumentMut,
    schema: Schema,
}

/// The keys of our table that follow the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The shim's path, where containerd would not find it by its name.
    pub runtime_path: Option<String>,
    /// The specification that the node's own runtime starts from.
    pub base_runtime_spec: Option<String>,
    /// systemd manages the node's cgroups.
    pub systemd_cgroup: bool,
}

impl Configuration {
    /// Reads a configuration.
    ///
    /// # Errors
    /// With what was found when it is no TOML, of a version without runtimes, or has CRI switched off.
    pub fn read(text: &str) -> Result<Self, String> {
        let document: DocumentMut = text.parse().map_err(|error| format!("not TOML: {error}"))?;
        let version = match document.get("version") {
            None => 1,
            Some(version) => version.as_integer().ok_or("its version is no number")?,
        };
        let schema = match version {
            2 => Schema::Two,
            3 | 4 => Schema::Three(version),
            other => {
                return Err(format!(
                    "version {other} of the configuration is not known here (2, 3 and 4 are); \
                     `containerd config migrate` writes a newer one"
                ));
            }
        };
        let disabled = document.get("disabled_plugins").and_then(Item::as_array);
        let cri_off = disabled.into_iter().flatten().filter_map(|name| name.as_str());
        if let Some(name) = cri_off.into_iter().find(|name| *name == "cri" || *name == schema.plugin()) {
            return Err(format!(
                "disabled_plugins has {name:?}, so Kubernetes does not run on this containerd"
            ));
        }
        Ok(Self { document, schema })
    }

    /// Which version it is.
    #[must_use]
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// What our runtime has to take over from the node's own.
    #[must_use]
    pub fn options(&self) -> Options {
        let containerd = self.containerd();
        let default = containerd.and_then(|table| table.get("default_runtime_name")).and_then(Item::as_str);
        let runc = self.runtime(default.unwrap_or("runc")).or_else(|| self.runtime("runc"));
        let systemd = runc
            .and_then(|table| table.get("options"))
            .and_then(Item::as_table_like)
            .and_then(|options| options.get("SystemdCgroup"))
            .and_then(Item::as_bool);
        let specification = runc.and_then(|table| table.get("base_runtime_spec")).and_then(Item::as_str);
        Options {
            runtime_path: None,
            base_runtime_spec: specification.filter(|path| !path.is_empty()).map(str::to_owned),
            systemd_cgroup: systemd.unwrap_or(false),
        }
    }

    /// The type of the runtime under our name, if there is one.
    #[must_use]
    pub fn installed(&self) -> Option<String> {
        let table = self.runtime(HANDLER)?;
        Some(table.get("runtime_type").and_then(Item::as_str).unwrap_or_default().to_owned())
    }

    /// Directories whose `*.toml` files belong to the configuration too, when containerd merges them table by table:
    /// 1.x replaces a plugin's whole section by an imported one, so there are none for version 2.
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

    /// The same configuration with our runtime, all else as it was, comments and spaces included.
    ///
    /// # Errors
    /// When a value stands where a table has to be.
    pub fn with_runtime(&self, options: &Options) -> Result<String, String> {
        let mut document = self.document.clone();
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for key in ["plugins", self.schema.plugin(), "containerd", "runtimes"] {
            let inline = table.get(key).is_some_and(Item::is_inline_table);
            let item = table.entry(key).or_insert_with(|| Item::Table(implicit()));
            if inline {
                return Err(format!(
                    "{key} is written in one line ({{…}}), which cannot be extended by a table"
                ));
            }
            table = item.as_table_like_mut().ok_or_else(|| format!("{key} is no table"))?;
        }
        let ours: DocumentMut =
            drop_in(self.schema, options).parse().map_err(|error| format!("our own table: {error}"))?;
        let ours = at(ours.as_table(), self.schema).and_then(|runtimes| runtimes.get(HANDLER));
        let mut ours = ours.cloned().ok_or("our own table has no runtime")?;
        if let Some(table) = ours.as_table_mut() {
            float(table);
        }
        table.insert(HANDLER, ours);
        Ok(document.to_string())
    }

    /// The same configuration without our runtime.
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

fn at(document: &Table, schema: Schema) -> Option<&dyn TableLike> {
    document.get("plugins")?.get(schema.plugin())?.get("containerd")?.get("runtimes")?.as_table_like()
}

fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

/// Forgets where a table stood in its own document, so that it is written behind its new siblings.
fn float(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        if let Some(table) = item.as_table_mut() {
            float(table);
        }
    }
}

/// Our runtime as a file of its own, or as the end of a template.
#[must_use]
pub fn drop_in(schema: Schema, options: &Options) -> String {
    format!("version = {}\n{}", schema.version(), tables(schema, options))
}

/// The tables of our runtime alone.
pub(crate) fn tables(schema: Schema, options: &Options) -> String {
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
