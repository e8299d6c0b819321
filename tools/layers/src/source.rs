//! Reads a crate's source files into a tree of modules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta, visit::Visit};

use crate::{
    cfg,
    module::{Import, Module, ModuleId, Name, Tree},
};

/// A source file that this lint cannot read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The file is missing or unreadable.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not Rust, or a Rust newer than `syn`.
    #[error("cannot parse {path}:{line}: {error}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Why.
        error: syn::Error,
    },
    /// A `mod name;` has no file.
    #[error("{path}: no file for `mod {name};`")]
    Missing {
        /// The file that declares the module.
        path: PathBuf,
        /// The module.
        name: String,
    },
}

/// Where source files come from: the disk, or a table in a test.
pub(crate) trait Files {
    /// Returns the text of the file at `path`.
    fn read(&self, path: &Path) -> std::io::Result<String>;
    /// Tells whether there is a file at `path`.
    fn exists(&self, path: &Path) -> bool;
}

/// The files on the disk.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        fs::read_to_string(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.is_file()
    }
}

/// Reads the crate whose root file is `root`, without what is compiled for tests only.
///
/// # Errors
/// Fails when a file is missing, unreadable or not Rust.
pub(crate) fn read(files: &dyn Files, root: &Path) -> Result<Tree, SourceError> {
    let mut reader = Reader { files, tree: Tree::default() };
    let items = reader.parse(root)?;
    let place = Place { file: root.to_owned(), directory: root.parent().unwrap_or(Path::new("")).to_owned() };
    reader.module(None, "crate", items, &place)?;
    Ok(reader.tree)
}

/// Where a module's text stands, and where the files of its submodules are looked for.
struct Place {
    file: PathBuf,
    directory: PathBuf,
}

struct Reader<'a> {
    files: &'a dyn Files,
    tree: Tree,
}

impl Reader<'_> {
    fn parse(&self, path: &Path) -> Result<Vec<Item>, SourceError> {
        let text =
            self.files.read(path).map_err(|error| SourceError::Read { path: path.to_owned(), error })?;
        let file = syn::parse_file(&text).map_err(|error| SourceError::Parse {
            path: path.to_owned(),
            line: error.span().start().line,
            error,
        })?;
        Ok(file.items)
    }

    fn module(
        &mut self,
        parent: Option<ModuleId>,
        name: &str,
        items: Vec<Item>,
        place: &Place,
    ) -> Result<ModuleId, SourceError> {
        let items: Vec<Item> =
            items.into_iter().filter(|item| !cfg::is_test_only(attributes(item))).collect();
        let id = self.tree.add(parent, name, place.file.clone());
        let mut submodules = Vec::new();
        for item in items {
            let item = match item {
                Item::Mod(module) => {
                    let child = self.submodule(id, module, place)?;
                    submodules.push(child);
                    continue;
                }
                other => other,
            };
            let module = self.tree.get_mut(id);
            if let Some(name) = defined(&item) {
                module.define(name, Name::Item);
            }
            Imports { module, depth: 0 }.visit_item(&item);
            module.items.push(item);
        }
        for child in submodules {
            let name = self.tree.get(child).name.clone();
            self.tree.get_mut(id).define(name, Name::Module(child));
        }
        Ok(id)
    }

    fn submodule(
        &mut self,
        parent: ModuleId,
        module: ItemMod,
        place: &Place,
    ) -> Result<ModuleId, SourceError> {
        let name = plain(&module.ident);
        if let Some((_, items)) = module.content {
            let inside = Place { file: place.file.clone(), directory: place.directory.join(&name) };
            return self.module(Some(parent), &name, items, &inside);
        }
        let inside = self.find(&name, path_attribute(&module.attrs), place)?;
        let items = self.parse(&inside.file)?;
        self.module(Some(parent), &name, items, &inside)
    }

    /// Finds the file of `mod name;` as the compiler does: `#[path]` from the file's own folder, else `name.rs` or `name/mod.rs`.
    fn find(&self, name: &str, path: Option<String>, place: &Place) -> Result<Place, SourceError> {
        if let Some(path) = path {
            let file = place.file.parent().unwrap_or(Path::new("")).join(path);
            let directory = file.parent().unwrap_or(Path::new("")).to_owned();
            return Ok(Place { file, directory });
        }
        let directory = place.directory.join(name);
        [place.directory.join(format!("{name}.rs")), directory.join("mod.rs")]
            .into_iter()
            .find(|file| self.files.exists(file))
            .map(|file| Place { file, directory })
            .ok_or_else(|| SourceError::Missing { path: place.file.clone(), name: name.to_owned() })
    }
}

/// Collects what `use` declarations bring into a module's scope. Those in a function count for the whole module.
struct Imports<'a> {
    module: &'a mut Module,
    depth: usize,
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.depth = self.depth.saturating_add(1);
        syn::visit::visit_block(self, block);
        self.depth = self.depth.saturating_sub(1);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_reexport = self.depth == 0 && !matches!(item.vis, syn::Visibility::Inherited);
        let mut prefix = Vec::new();
        if item.leading_colon.is_none() {
            collect(&item.tree, &mut prefix, is_reexport, self.module);
        }
    }
}

fn collect(tree: &syn::UseTree, prefix: &mut Vec<String>, is_reexport: bool, module: &mut Module) {
    let mut leaf = |ident: &syn::Ident, name: Option<&syn::Ident>, prefix: &[String]| {
        let mut path = prefix.to_vec();
        let segment = plain(ident);
        let mut bound = plain(name.unwrap_or(ident));
        if segment == "self" {
            if let (None, Some(last)) = (name, path.last()) {
                bound.clone_from(last);
            }
        } else {
            path.push(segment);
        }
        let import = Import { path, line: ident.span().start().line, is_reexport };
        module.imports.push(import.clone());
        module.define(bound, Name::Import(import));
    };
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(plain(&path.ident));
            collect(&path.tree, prefix, is_reexport, module);
            prefix.pop();
        }
        syn::UseTree::Name(name) => leaf(&name.ident, None, prefix),
        syn::UseTree::Rename(rename) => leaf(&rename.ident, Some(&rename.rename), prefix),
        syn::UseTree::Glob(glob) => {
            let line = glob.star_token.spans.first().map_or(0, |span| span.start().line);
            module.globs.push(Import { path: prefix.clone(), line, is_reexport });
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, prefix, is_reexport, module);
            }
        }
    }
}

/// The identifier without `r#`.
pub(crate) fn plain(ident: &syn::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// The name that the item defines in its module, if it defines one.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        _ => return None,
    };
    Some(plain(ident))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
