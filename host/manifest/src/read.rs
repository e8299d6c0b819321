//! Reads a manifest's tables into a [`Manifest`], with warnings for what has no effect.

use super::document::{Error, MAX_KEY_BYTES, Node, Place, Section, Source, Warnings, line_breaks};
use super::keys;
use super::route::{Pattern, Route, Routes};
use super::{Component, MAX_COMPONENTS, MAX_ID_BYTES, Manifest, Mount, OwnLimits};
use crate::settings::{Name, Template, Variable};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component as PathComponent, Path};

pub(super) fn manifest(text: &str, file: &Path) -> Result<Manifest, Error> {
    let mut warnings = Warnings::default();
    let line_breaks = line_breaks(text);
    let mut root = Source::new(file, text, &line_breaks).root()?;
    keys::ROOT.sort(&mut root, &mut warnings)?;
    let version = root.require("spin_manifest_version")?;
    if !version.is_integer("2") {
        return Err(version.error("only version 2 is supported"));
    }
    let (name, version) = application(root.require("application")?.section()?, &mut warnings)?;
    let variables = match root.section("variables")? {
        Some(section) => variables(section, &mut warnings)?,
        None => BTreeMap::new(),
    };
    let mut reader = Reader {
        directory: file.parent().unwrap_or_else(|| Path::new("")),
        variables: &variables,
        components: match root.section("component")? {
            Some(section) => components(section)?,
            None => BTreeMap::new(),
        },
        warnings,
    };
    let triggers = root.require("trigger")?;
    let (served, routes) = reader.triggers(triggers)?;
    let Reader { components, mut warnings, .. } = reader;
    for node in components.values() {
        warnings.add(node, "no HTTP trigger uses it");
    }
    let warnings = warnings.into_texts(file);
    Ok(Manifest { name, version, variables, components: served, routes, warnings })
}

fn application(mut section: Section<'_>, warnings: &mut Warnings) -> Result<(String, Option<String>), Error> {
    keys::APPLICATION.sort(&mut section, warnings)?;
    let named = section.require("name")?;
    let name = named.string()?;
    check_length("the name", &name, MAX_KEY_BYTES, &named)?;
    let version = section.optional_string("version")?;
    for (kind, node) in section.section("trigger")?.into_iter().flat_map(Section::into_entries) {
        if kind == "http" {
            http_settings(node.section()?, warnings)?;
        } else {
            warnings.add(&node, OTHER_TRIGGER);
        }
    }
    Ok((name, version))
}

/// Checks the length of a name that logs, metrics or traces repeat.
fn check_length(what: &str, name: &str, limit: usize, node: &Node<'_>) -> Result<(), Error> {
    match name.len() {
        bytes if bytes > limit => {
            Err(node.error(format!("{what} has {bytes} bytes, over the limit of {limit}")))
        }
        _ => Ok(()),
    }
}

/// The tables of `[component]`, by ID.
fn components(section: Section<'_>) -> Result<BTreeMap<Cow<'_, str>, Node<'_>>, Error> {
    let mut components = BTreeMap::new();
    for (id, node) in section.into_entries() {
        check_length("the ID", &id, MAX_ID_BYTES, &node)?;
        components.insert(id, node);
    }
    Ok(components)
}

/// `[application.trigger.http]`.
fn http_settings(mut section: Section<'_>, warnings: &mut Warnings) -> Result<(), Error> {
    keys::HTTP.sort(&mut section, warnings)?;
    match section.take("base") {
        Some(base) if base.string()? != "/" => {
            Err(base.error("only the base `/` is supported: put the path into the routes"))
        }
        _ => Ok(()),
    }
}

fn variables(section: Section<'_>, warnings: &mut Warnings) -> Result<BTreeMap<Name, Variable>, Error> {
    let mut variables = BTreeMap::new();
    for (key, node) in section.into_entries() {
        let name = name(&key, &node)?;
        name.check_reserved().map_err(|error| node.error(error.to_string()))?;
        let mut section = node.section()?;
        keys::VARIABLE.sort(&mut section, warnings)?;
        let default = section.optional_string("default")?;
        if section.flag("required")? == default.is_some() {
            return Err(section.error("expected either `default` or `required = true`"));
        }
        let secret = section.flag("secret")?;
        variables.insert(name, Variable { default, secret });
    }
    Ok(variables)
}

fn name(key: &str, node: &Node<'_>) -> Result<Name, Error> {
    key.parse().map_err(|e: crate::settings::InvalidName| node.error(e.to_string()))
}

/// Reads the components that triggers name. A trigger may also define its component in place.
struct Reader<'a> {
    directory: &'a Path,
    variables: &'a BTreeMap<Name, Variable>,
    /// The components that no trigger has named yet.
    components: BTreeMap<Cow<'a, str>, Node<'a>>,
    warnings: Warnings,
}

impl<'a> Reader<'a> {
    fn triggers(&mut self, node: Node<'a>) -> Result<(Vec<Component>, Routes), Error> {
        let mut section = node.section()?;
        let mut served: Vec<Component> = Vec::new();
        let mut routes: Vec<(Route, usize)> = Vec::new();
        // The first trigger with each pattern and its component's index, for the message about a duplicate route.
        let mut seen: HashMap<Pattern, (Place<'a>, usize)> = HashMap::new();
        for (n, trigger) in section.list("http")?.into_iter().enumerate() {
            let mut trigger = trigger.section()?;
            keys::TRIGGER.sort(&mut trigger, &mut self.warnings)?;
            if let Some(mut executor) = trigger.section("executor")? {
                if let Some(kind) = executor.take("type")
                    && !matches!(&*kind.string()?, "http" | "spin")
                {
                    return Err(kind.error("only the executor `http` is supported"));
                }
                executor.finish()?;
            }
            let pattern = trigger.require("route")?;
            let named = trigger.require("component")?;
            let component = self.named(&mut served, n, named)?;
            let place = pattern.place();
            let Some(route) = route(pattern)? else { continue };
            if let Some((first, other)) = seen.insert(route.pattern().clone(), (place.clone(), component)) {
                let leads = served.get(other).map_or("", |component| &component.id);
                let first = first.with_line();
                return Err(
                    place.error(format!("{route} is also the route of {first}, for component {leads}"))
                );
            }
            routes.push((route, component));
        }
        if routes.is_empty() {
            return Err(section.error("there is no [[trigger.http]] with a route"));
        }
        for (_, other) in section.into_entries() {
            self.warnings.add(&other, OTHER_TRIGGER);
        }
        Ok((served, Routes::new(routes)))
    }

    /// The index in `served` of the component that the `n`th trigger names or defines in place.
    fn named(&mut self, served: &mut Vec<Component>, n: usize, named: Node<'a>) -> Result<usize, Error> {
        let (id, definition) = if named.is_string() {
            let id = named.string()?;
            if let Some(known) = served.iter().position(|component| component.id == id) {
                return Ok(known);
            }
            let definition = self.components.remove(&*id);
            let missing = || named.error(format!("there is no [component.{id}]"));
            (id.clone(), definition.ok_or_else(missing)?)
        } else {
            (n.to_string(), named)
        };
        if served.len() == MAX_COMPONENTS {
            return Err(definition.error(format!("more than {MAX_COMPONENTS} components")));
        }
        served.push(self.component(id, definition)?);
        Ok(served.len() - 1)
    }

    fn component(&mut self, id: String, node: Node<'a>) -> Result<Component, Error> {
        let mut section = node.section()?;
        keys::COMPONENT.sort(&mut section, &mut self.warnings)?;
        let source = section.require("source")?;
        if !source.is_string() {
            return Err(source.error("only the path of a file is supported: download the component first"));
        }
        let source = self.directory.join(source.string()?);
        let allowed_outbound_hosts = self.outbound(section.list("allowed_outbound_hosts")?)?;
        let stores = section.list("key_value_stores")?;
        let stores = stores.iter().map(Node::string).collect::<Result<BTreeSet<_>, _>>()?;
        let mut variables = BTreeMap::new();
        for (key, node) in section.section("variables")?.into_iter().flat_map(Section::into_entries) {
            variables.insert(name(&key, &node)?, self.template(&node)?);
        }
        let mut environment = BTreeMap::new();
        for (key, node) in section.section("environment")?.into_iter().flat_map(Section::into_entries) {
            environment.insert(key.into_owned(), node.string()?);
        }
        let files = self.files(section.list("files")?)?;
        let limits = OwnLimits::read(section.take("tool"))?;
        Ok(Component {
            id,
            source,
            allowed_outbound_hosts,
            key_value_stores: stores.into_iter().collect(),
            variables,
            files,
            environment,
            limits,
        })
    }

    fn outbound(&self, entries: Vec<Node<'a>>) -> Result<Vec<Template>, Error> {
        let mut templates = Vec::with_capacity(entries.len());
        for entry in entries {
            let template = self.template(&entry)?;
            let secret =
                template.variables().find(|name| self.variables.get(*name).is_some_and(|v| v.secret));
            if let Some(secret) = secret {
                return Err(
                    entry.error(format!("variable {secret} is secret, but metrics show these entries"))
                );
            }
            templates.push(template);
        }
        Ok(templates)
    }

    fn template(&self, node: &Node<'a>) -> Result<Template, Error> {
        let template: Template = node
            .string()?
            .parse()
            .map_err(|e: crate::settings::InvalidTemplate| node.error(e.to_string()))?;
        if let Some(name) = template.variables().find(|name| !self.variables.contains_key(*name)) {
            return Err(node.error(format!("variable {name} is not declared in [variables]")));
        }
        Ok(template)
    }

    fn files(&mut self, entries: Vec<Node<'a>>) -> Result<Vec<Mount>, Error> {
        let mut mounts = Vec::new();
        for entry in entries {
            if mounts.len() == MAX_MOUNTS {
                return Err(entry.error(format!("more than {MAX_MOUNTS} directories")));
            }
            if entry.is_string() {
                return Err(entry.error("patterns are not supported: use { source, destination }"));
            }
            let mut mount = entry.section()?;
            keys::FILES.sort(&mut mount, &mut self.warnings)?;
            let named = mount.require("source")?;
            let source = named.string()?;
            if !is_below(Path::new(&source)) {
                return Err(named.error(
                    "only a directory below the manifest's directory can be mounted, by a relative path",
                ));
            }
            let destination = mount.require("destination")?;
            let path = destination.string()?;
            if !path.starts_with('/') {
                return Err(destination.error("expected an absolute path"));
            }
            mounts.push(Mount {
                below: self.directory.to_owned(),
                source: self.directory.join(source),
                destination: path,
            });
        }
        Ok(mounts)
    }
}

/// Whether no prefix of a relative path leads above the path's start. Links are not followed.
fn is_below(path: &Path) -> bool {
    let depth = path.components().try_fold(0_usize, |depth, component| match component {
        PathComponent::Normal(_) => Some(depth + 1),
        PathComponent::CurDir => Some(depth),
        PathComponent::ParentDir => depth.checked_sub(1),
        PathComponent::RootDir | PathComponent::Prefix(_) => None,
    });
    depth.is_some()
}

/// The warning for a trigger of another kind.
const OTHER_TRIGGER: &str = "only HTTP triggers are supported";

/// Most directories that a component mounts. Each of them has the path of the manifest's directory.
const MAX_MOUNTS: usize = 64;

/// `None` for a private route, which no HTTP request can reach.
fn route(node: Node<'_>) -> Result<Option<Route>, Error> {
    if node.is_string() {
        let invalid = |e: super::InvalidRoute| node.error(e.to_string());
        return node.string()?.parse().map(Some).map_err(invalid);
    }
    let mut section = node.section()?;
    let private = section.flag("private")?;
    section.finish()?;
    if private { Ok(None) } else { Err(section.error("expected a path or { private = true }")) }
}
