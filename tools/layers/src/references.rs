//! Finds what each module of a crate uses of the others.

use std::collections::HashSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprPath, Meta, Pat, Path, Signature, Visibility,
    visit::{self, Visit},
};

use crate::{
    cfg,
    module::{Module, ModuleId, Target, Tree},
    source::plain,
};

/// A place where one module names another one's item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reference {
    /// The module whose text it is.
    pub(crate) from: ModuleId,
    /// The module that defines the item.
    pub(crate) to: ModuleId,
    /// The item; `None` where the module itself is named.
    pub(crate) item: Option<String>,
    /// The line in the file of `from`, counted from 1.
    pub(crate) line: usize,
}

/// All references between different modules of the crate, each item once for each module that uses it.
pub(crate) fn find(tree: &Tree) -> Vec<Reference> {
    let mut found = Vec::new();
    for id in tree.ids() {
        let module = tree.get(id);
        let mut references = References { tree, module: id, found: Vec::new() };
        references.imports(module);
        let mut code = Code { references: &mut references, bound: Vec::new() };
        for item in &module.items {
            code.visit_item(item);
        }
        let mut seen = HashSet::new();
        references.found.retain(|reference| seen.insert((reference.to, reference.item.clone())));
        found.append(&mut references.found);
    }
    found
}

struct References<'a> {
    tree: &'a Tree,
    module: ModuleId,
    found: Vec<Reference>,
}

impl References<'_> {
    fn imports(&mut self, module: &Module) {
        for import in &module.imports {
            let Some(target) = self.tree.resolve(self.module, &import.path) else { continue };
            // A module that passes on what its submodules define does not use it.
            let is_passed_on = import.is_reexport && self.contains(&target);
            if !is_passed_on {
                self.add(target, import.line);
            }
        }
        for import in &module.globs {
            let Some(target) = self.tree.resolve(self.module, &import.path) else { continue };
            if !(import.is_reexport && self.contains(&target)) {
                self.add(target, import.line);
            }
        }
    }

    /// Whether the target is, or belongs to, a module inside this one.
    fn contains(&self, target: &Target) -> bool {
        let (Target::Module(to) | Target::Item { module: to, .. }) = *target;
        self.tree.ancestors(to).any(|ancestor| ancestor == self.module)
    }

    fn path(&mut self, segments: &[String], line: usize) {
        if let Some(target) = self.tree.resolve(self.module, segments) {
            self.add(target, line);
        }
    }

    fn add(&mut self, target: Target, line: usize) {
        let from = self.module;
        let (to, item) = match target {
            // Naming a module that one lies in only says where to look: what is taken from there counts where it is named.
            Target::Module(to) if self.tree.ancestors(from).any(|ancestor| ancestor == to) => return,
            Target::Module(to) => (to, None),
            Target::Item { module, name } => (module, Some(name)),
        };
        if to != from {
            self.found.push(Reference { from, to, item, line });
        }
    }
}

/// Finds paths in a module's code: in items, expressions, macros and attributes.
struct Code<'a, 'b> {
    references: &'a mut References<'b>,
    /// For each function that encloses the place, the names of its variables: they hide items.
    bound: Vec<HashSet<String>>,
}

impl Code<'_, '_> {
    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|names| names.contains(name))
    }

    fn path(&mut self, path: &Path) {
        if path.leading_colon.is_some() {
            return;
        }
        let segments: Vec<String> = path.segments.iter().map(|segment| plain(&segment.ident)).collect();
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        self.references.path(&segments, line);
    }

    fn with_bound(&mut self, names: Names, inside: impl FnOnce(&mut Self)) {
        self.bound.push(names.0);
        inside(self);
        self.bound.pop();
    }

    /// Paths in text that `syn` does not parse: what a macro is given, and the arguments of attributes.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            at = at.saturating_add(1);
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                // A member, a lifetime, or another crate's path.
                TokenTree::Ident(_)
                    if is_punct(before, '.') || is_punct(before, '\'') || is_punct(before, ':') => {}
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let mut segments = vec![plain(ident)];
                    if is_punct(before, '$') && ident == "crate" {
                        segments = vec!["$crate".to_owned()];
                    }
                    while is_punct(tokens.get(at), ':') && is_punct(tokens.get(at.saturating_add(1)), ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at.saturating_add(2)) else { break };
                        segments.push(plain(next));
                        at = at.saturating_add(3);
                    }
                    if self.is_path(&segments, tokens.get(at)) {
                        self.references.path(&segments, line);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether these tokens name something: a single word in lower case may be anything, unless it is called.
    fn is_path(&self, segments: &[String], next: Option<&TokenTree>) -> bool {
        let [single] = segments else { return true };
        if self.is_bound(single) {
            return false;
        }
        let is_called =
            matches!(next, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
        is_called || single.starts_with(|first: char| first.is_ascii_uppercase())
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

impl<'ast> Visit<'ast> for Code<'_, '_> {
    /// Imports are found by [`References::imports`].
    fn visit_item_use(&mut self, _: &'ast syn::ItemUse) {}

    /// `pub(in crate::a)` uses nothing of `a`.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast Path) {
        self.path(path);
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, expression: &'ast ExprPath) {
        let variable = expression.path.get_ident().is_some_and(|ident| self.is_bound(&plain(ident)));
        if !variable {
            visit::visit_expr_path(self, expression);
        }
    }

    /// A pattern of one word is a constant where it is written like one.
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        let name = plain(&pattern.ident);
        if name.starts_with(|first: char| first.is_ascii_uppercase()) {
            self.references.path(&[name], pattern.ident.span().start().line);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
            if list.path.is_ident("serde") {
                self.quoted(list.tokens.clone());
            }
        } else {
            visit::visit_attribute(self, attribute);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.with_bound(Names::of(&function.sig, Some(&function.block)), |code| {
            visit::visit_item_fn(code, function);
        });
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !cfg::is_test_only(&function.attrs) {
            self.with_bound(Names::of(&function.sig, Some(&function.block)), |code| {
                visit::visit_impl_item_fn(code, function);
            });
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if !cfg::is_test_only(&function.attrs) {
            self.with_bound(Names::of(&function.sig, function.default.as_ref()), |code| {
                visit::visit_trait_item_fn(code, function);
            });
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !cfg::is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !cfg::is_test_only(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !cfg::is_test_only(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !cfg::is_test_only(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        let attributes: &[Attribute] = match expression {
            Expr::Block(block) => &block.attrs,
            Expr::Call(call) => &call.attrs,
            Expr::MethodCall(call) => &call.attrs,
            _ => &[],
        };
        if !cfg::is_test_only(attributes) {
            visit::visit_expr(self, expression);
        }
    }
}

impl Code<'_, '_> {
    /// Paths that serde takes as strings: `#[serde(default = "path::to::function")]`.
    fn quoted(&mut self, tokens: TokenStream) {
        for token in tokens {
            if let TokenTree::Literal(literal) = token
                && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                && let Ok(path) = text.parse::<Path>()
            {
                let segments: Vec<String> =
                    path.segments.iter().map(|segment| plain(&segment.ident)).collect();
                self.references.path(&segments, literal.span().start().line);
            }
        }
    }
}

/// The names of a function's parameters and variables, those of its closures included.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn of(signature: &Signature, block: Option<&syn::Block>) -> Self {
        let mut names = Self::default();
        names.visit_signature(signature);
        if let Some(block) = block {
            names.visit_block(block);
        }
        names
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_pat(&mut self, pattern: &'ast Pat) {
        if let Pat::Ident(ident) = pattern {
            let name = plain(&ident.ident);
            if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
                self.0.insert(name);
            }
        }
        visit::visit_pat(self, pattern);
    }
}
