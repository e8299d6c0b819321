//! Every key of Spin's manifest, and what this host does with it.
//!
//! Spin refuses a key that it does not know. So does this host: the key may ask for something that protects the
//! application, and only a later version would know.

use super::document::{Error, Section, Warnings};

/// What the host does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The host serves what the key asks for.
    Served,
    /// The key describes or builds the application. Serving does not depend on it.
    NoEffect,
    /// The application is served without what the key asks for, which a component can only notice as an error of its
    /// own. The manifest gets a warning with this text.
    Warned(&'static str),
    /// The application would be another one without what the key asks for. The manifest is refused with this text.
    Refused(&'static str),
}

/// A table of the manifest.
#[derive(Debug)]
pub struct Table {
    /// The table's path, with `ID` or `NAME` in the place of what the author chooses.
    pub path: &'static str,
    /// The table's keys.
    pub keys: &'static [(&'static str, Support)],
}

use Support::{NoEffect, Refused, Served, Warned};

pub(super) static ROOT: Table = Table {
    path: "",
    keys: &[
        ("spin_manifest_version", Served),
        ("application", Served),
        ("variables", Served),
        ("trigger", Served),
        ("component", Served),
    ],
};

pub(super) static APPLICATION: Table = Table {
    path: "application",
    keys: &[
        ("name", Served),
        ("version", Served),
        ("description", NoEffect),
        ("authors", NoEffect),
        ("targets", NoEffect),
        ("trigger", Served),
        ("tool", NoEffect),
    ],
};

pub(super) static HTTP: Table = Table { path: "application.trigger.http", keys: &[("base", Served)] };

pub(super) static VARIABLE: Table = Table {
    path: "variables.NAME",
    keys: &[("default", Served), ("required", Served), ("secret", Served), ("description", NoEffect)],
};

pub(super) static TRIGGER: Table = Table {
    path: "trigger.http",
    keys: &[
        ("id", NoEffect),
        ("component", Served),
        ("route", Served),
        ("executor", Served),
        (
            "dependencies",
            Refused(
                "middleware is not supported, and without it the requests would reach the component unchecked",
            ),
        ),
        ("components", Refused("only one component for each trigger is supported")),
        ("static_response", Refused("static responses are not supported: want a component")),
    ],
};

pub(super) static COMPONENT: Table = Table {
    path: "component.ID",
    keys: &[
        ("source", Served),
        ("description", NoEffect),
        ("variables", Served),
        ("environment", Served),
        ("files", Served),
        ("exclude_files", Refused("not supported, and the component could read the files that it names")),
        ("allowed_outbound_hosts", Served),
        (
            "allowed_http_hosts",
            Warned("not supported, and requests to these hosts are denied: use allowed_outbound_hosts"),
        ),
        ("key_value_stores", Served),
        ("sqlite_databases", Warned("not supported by this host")),
        ("ai_models", Warned("not supported by this host")),
        ("targets", NoEffect),
        ("build", NoEffect),
        ("tool", Served),
        (
            "dependencies",
            Refused("not supported: compose the component with its dependencies first (`spin deps`, `wac`)"),
        ),
        ("dependencies_inherit_configuration", Warned("has no effect without dependencies")),
        ("profile", Warned("not supported by this host: the component is served without a profile")),
    ],
};

pub(super) static FILES: Table =
    Table { path: "component.ID.files[]", keys: &[("source", Served), ("destination", Served)] };

/// All tables of Spin's manifest, without those of other tools.
pub static TABLES: [&Table; 7] = [&ROOT, &APPLICATION, &HTTP, &VARIABLE, &TRIGGER, &COMPONENT, &FILES];

impl Table {
    /// Takes the keys from `section` that are not [`Served`]. A refused key without content is as good as absent.
    ///
    /// # Errors
    /// The section has a key that is refused or unknown.
    pub(super) fn sort(&self, section: &mut Section<'_>, warnings: &mut Warnings) -> Result<(), Error> {
        for key in section.keys() {
            let support = self.keys.iter().find(|(known, _)| *known == key).map(|(_, support)| *support);
            if support == Some(Served) {
                continue;
            }
            let Some(node) = section.take(&key) else { continue };
            match support {
                Some(Served | NoEffect) => {}
                Some(Warned(_) | Refused(_)) if node.is_empty() => {}
                Some(Warned(text)) => warnings.add(&node, text),
                Some(Refused(reason)) => return Err(node.error(reason)),
                None => return Err(node.error("unknown key: Spin does not know it either")),
            }
        }
        Ok(())
    }
}
