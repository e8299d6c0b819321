//! A crate as a tree of modules, and what a path in one of them means.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

/// A module's place in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModuleId(usize);

/// What a `use` brings in.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// The segments as written, `crate`, `self` and `super` among them.
    pub(crate) path: Vec<String>,
    /// The line of the name, counted from 1.
    pub(crate) line: usize,
    /// Whether others can reach the name through this module: `pub use`, `pub(crate) use`.
    pub(crate) is_reexport: bool,
}

/// What a name in a module's scope stands for.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    /// An item that the module defines.
    Item,
    /// A submodule.
    Module(ModuleId),
    /// Something that a `use` brings in.
    Import(Import),
}

/// A module, without what is compiled for tests only.
pub(crate) struct Module {
    /// The last segment of its path; `crate` for the root.
    pub(crate) name: String,
    /// The module that declares this one.
    pub(crate) parent: Option<ModuleId>,
    /// The file that has its text.
    pub(crate) file: PathBuf,
    /// Its items, but for submodules.
    pub(crate) items: Vec<syn::Item>,
    /// Each name that a `use` brings in, in the order of the text.
    pub(crate) imports: Vec<Import>,
    /// Each `use path::*`.
    pub(crate) globs: Vec<Import>,
    names: HashMap<String, Vec<Name>>,
}

impl Module {
    /// Adds a name to the scope. A type, a value and a module may share one.
    pub(crate) fn define(&mut self, name: String, what: Name) {
        self.names.entry(name).or_default().push(what);
    }
}

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A module of the crate.
    Module(ModuleId),
    /// An item, or what belongs to one: a variant, an associated function.
    Item {
        /// The module that defines the item, however many re-exports lie between.
        module: ModuleId,
        /// The item.
        name: String,
    },
}

/// The modules of a crate. The root is the first.
#[derive(Default)]
pub(crate) struct Tree {
    modules: Vec<Module>,
}

impl Tree {
    /// Adds a module under `parent`.
    pub(crate) fn add(&mut self, parent: Option<ModuleId>, name: &str, file: PathBuf) -> ModuleId {
        let id = ModuleId(self.modules.len());
        self.modules.push(Module {
            name: name.to_owned(),
            parent,
            file,
            items: Vec::new(),
            imports: Vec::new(),
            globs: Vec::new(),
            names: HashMap::new(),
        });
        id
    }

    /// All modules, parents before their children.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ModuleId> + use<> {
        (0..self.modules.len()).map(ModuleId)
    }

    /// The module of this id.
    ///
    /// # Panics
    /// Panics when the id is another tree's.
    #[expect(clippy::indexing_slicing, reason = "ids are handed out by this tree")]
    pub(crate) fn get(&self, id: ModuleId) -> &Module {
        &self.modules[id.0]
    }

    /// The module of this id, to be filled.
    ///
    /// # Panics
    /// Panics when the id is another tree's.
    #[expect(clippy::indexing_slicing, reason = "ids are handed out by this tree")]
    pub(crate) fn get_mut(&mut self, id: ModuleId) -> &mut Module {
        &mut self.modules[id.0]
    }

    /// The module and those it lies in, the root last.
    pub(crate) fn ancestors(&self, id: ModuleId) -> impl Iterator<Item = ModuleId> + '_ {
        std::iter::successors(Some(id), |&id| self.get(id).parent)
    }

    /// The path as Rust writes it: `crate::a::b`.
    pub(crate) fn path(&self, id: ModuleId) -> String {
        let mut names: Vec<&str> = self.ancestors(id).map(|id| self.get(id).name.as_str()).collect();
        names.reverse();
        names.join("::")
    }

    /// What a path means that stands in `module`; `None` for another crate's items, the prelude's and local names.
    pub(crate) fn resolve(&self, module: ModuleId, path: &[String]) -> Option<Target> {
        self.follow(module, path, false, &mut HashSet::new())
    }

    /// What a path means. `as_module` tells whether its last segment is meant as a module.
    fn follow(&self, module: ModuleId, path: &[String], as_module: bool, seen: &mut Seen) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" | "$crate" => Target::Module(ModuleId(0)),
            "self" => Target::Module(module),
            "super" => Target::Module(self.get(module).parent?),
            name => self.look_up(module, name, as_module || !rest.is_empty(), seen)?,
        };
        while let (Target::Module(inside), Some((name, after))) = (&at, rest.split_first()) {
            let inside = *inside;
            at = if name == "super" {
                Target::Module(self.get(inside).parent?)
            } else {
                self.look_up(inside, name, as_module || !after.is_empty(), seen)
                    // A macro may have made the item or the module.
                    .unwrap_or_else(|| Target::Item { module: inside, name: name.clone() })
            };
            rest = after;
        }
        Some(at)
    }

    /// What the name stands for in the module's scope. Where an item and a module share it, `as_module` tells which is meant.
    fn look_up(&self, module: ModuleId, name: &str, as_module: bool, seen: &mut Seen) -> Option<Target> {
        if !seen.insert((module, name.to_owned(), as_module)) {
            return None;
        }
        let scope = self.get(module);
        let mut found = Vec::new();
        for what in scope.names.get(name).into_iter().flatten() {
            found.extend(match what {
                Name::Item => Some(Target::Item { module, name: name.to_owned() }),
                Name::Module(id) => Some(Target::Module(*id)),
                Name::Import(import) => self.follow(module, &import.path, as_module, seen),
            });
        }
        if found.is_empty() {
            for glob in &scope.globs {
                if let Some(Target::Module(id)) = self.follow(module, &glob.path, true, seen) {
                    found.extend(self.look_up(id, name, as_module, seen));
                }
            }
        }
        let wanted = found.iter().position(|target| matches!(target, Target::Module(_)) == as_module);
        (!found.is_empty()).then(|| found.swap_remove(wanted.unwrap_or(0)))
    }
}

/// What is being looked up: names may be re-exported in a circle.
type Seen = HashSet<(ModuleId, String, bool)>;
