//! TOML with positions. Each value knows its place, so that an error can name its path and its line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use wasi_http_host_core::bounded;

/// Longest key of a table that the host reads, in bytes.
pub(super) const MAX_KEY_BYTES: usize = 128;
/// Most bytes of an error's problem. The problem may quote a value of the manifest, which may be as long as the file.
const MAX_PROBLEM_BYTES: usize = 1024;
/// Most warnings of a manifest. The host logs each of them at its start.
const MAX_WARNINGS: usize = 64;

/// A manifest that the host cannot read or cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The manifest's file.
    pub file: PathBuf,
    /// The line, counted from 1. `None` if the problem is with the whole file.
    pub line: Option<usize>,
    /// The key's path, such as `component.gists.source`. `None` if the problem is not with one key.
    pub key: Option<String>,
    /// The problem, as text for a person.
    pub problem: String,
}

impl Error {
    /// An error about the file as a whole, without line and key.
    pub(super) fn whole(file: &Path, problem: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, key: None, problem: problem.into() }
    }

    /// An error about a line and perhaps a key. Cuts a long problem.
    fn at(source: Source<'_>, line: Option<usize>, key: Option<String>, problem: impl Into<String>) -> Self {
        let mut problem = problem.into();
        let kept = bounded(&problem, MAX_PROBLEM_BYTES).len();
        if kept < problem.len() {
            problem.truncate(kept);
            problem.push('…');
        }
        Self { file: source.file.into(), line, key, problem }
    }

    /// Whether the error is about the file as a whole: the file is unreadable, too large, or not text.
    pub fn is_whole(&self) -> bool {
        self.line.is_none()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for Error {}

/// Offsets of the line breaks in `text`, for [`Source::new`].
pub(super) fn line_breaks(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset).collect()
}

/// A file's path, its text and its line breaks.
///
/// The parser finds the line breaks once. Counting them again for each key would take minutes for a manifest with
/// many keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    file: &'a Path,
    text: &'a str,
    line_breaks: &'a [usize],
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, line_breaks: &'a [usize]) -> Self {
        Self { file, text, line_breaks }
    }

    /// Parses the whole document into one section.
    ///
    /// # Errors
    /// The text is not valid TOML, or a key is too long.
    pub(super) fn root(self) -> Result<Section<'a>, Error> {
        let invalid = |e: toml::de::Error| {
            Error::at(self, e.span().map(|span| self.line(span.start)), None, e.message())
        };
        Section::new(self, None, DeTable::parse(self.text).map_err(invalid)?.into_inner())
    }

    fn line(self, offset: usize) -> usize {
        self.line_breaks.partition_point(|line_break| *line_break < offset) + 1
    }
}

/// Where a value stands in the file. Prints as the value's path, such as `trigger.http[0].route`.
///
/// A place refers to the place of the table or array around it. If each key had its whole path, the memory for a table
/// would grow with the number of its keys times the length of its path.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    source: Source<'a>,
    parent: Option<Rc<Place<'a>>>,
    step: Step<'a>,
    line: usize,
}

/// The last part of a path.
#[derive(Debug, Clone)]
enum Step<'a> {
    Key(Cow<'a, str>),
    Item(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = &self.parent {
            write!(f, "{parent}")?;
        }
        match &self.step {
            Step::Key(key) if self.parent.is_none() => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Item(n) => write!(f, "[{n}]"),
        }
    }
}

impl Place<'_> {
    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        Error::at(self.source, Some(self.line), Some(self.to_string()), problem)
    }

    /// Path and line, for a message about another value that conflicts with this one.
    pub(super) fn with_line(&self) -> String {
        format!("{self} (line {})", self.line)
    }
}

/// A table. The reader takes the keys that it knows one by one; the keys that are left at the end are unknown.
#[derive(Debug)]
pub(super) struct Section<'a> {
    source: Source<'a>,
    /// `None` for the whole document.
    place: Option<Rc<Place<'a>>>,
    entries: BTreeMap<Cow<'a, str>, Node<'a>>,
}

impl<'a> Section<'a> {
    fn new(source: Source<'a>, place: Option<Place<'a>>, table: DeTable<'a>) -> Result<Self, Error> {
        let mut section = Self { source, place: place.map(Rc::new), entries: BTreeMap::new() };
        for (key, value) in table {
            let line = source.line(key.span().start);
            let key = key.into_inner();
            if key.len() > MAX_KEY_BYTES {
                let (bytes, start) = (key.len(), bounded(&key, MAX_KEY_BYTES));
                let problem =
                    format!("a key has {bytes} bytes, over the limit of {MAX_KEY_BYTES}: {start:?}…");
                return Err(Error { line: Some(line), ..section.error(problem) });
            }
            let place = Place { source, parent: section.place.clone(), step: Step::Key(key.clone()), line };
            section.entries.insert(key, Node { place, value: value.into_inner() });
        }
        Ok(section)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Node<'a>> {
        self.entries.remove(key)
    }

    pub(super) fn require(&mut self, key: &str) -> Result<Node<'a>, Error> {
        self.take(key).ok_or_else(|| self.error(format!("{key} is missing")))
    }

    /// Takes a sub-table, which may be absent.
    pub(super) fn section(&mut self, key: &str) -> Result<Option<Section<'a>>, Error> {
        self.take(key).map(Node::section).transpose()
    }

    pub(super) fn optional_string(&mut self, key: &str) -> Result<Option<String>, Error> {
        self.take(key).map(|node| node.string()).transpose()
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Error> {
        self.take(key).map_or(Ok(false), |node| node.boolean())
    }

    pub(super) fn list(&mut self, key: &str) -> Result<Vec<Node<'a>>, Error> {
        self.take(key).map_or(Ok(Vec::new()), Node::list)
    }

    /// All entries, for a table whose keys the author chooses.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (Cow<'a, str>, Node<'a>)> {
        self.entries.into_iter()
    }

    /// The keys that nobody has taken.
    pub(super) fn keys(&self) -> Vec<Cow<'a, str>> {
        self.entries.keys().cloned().collect()
    }

    /// Must be called when all known keys have been taken.
    ///
    /// # Errors
    /// A key is left, which is unknown.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.entries.values().next().map_or(Ok(()), |node| Err(node.error("unknown key")))
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        match &self.place {
            Some(place) => place.error(problem),
            None => Error::at(self.source, Some(1), None, problem),
        }
    }
}

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node<'a> {
    place: Place<'a>,
    value: DeValue<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn string(&self) -> Result<String, Error> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.want("a string"))
    }

    /// A string as it is, or an integer as it is written in the file.
    pub(super) fn text(&self) -> Result<String, Error> {
        match self.value.as_integer() {
            Some(integer) => Ok(integer.as_str().to_owned()),
            None => self.value.as_str().map(str::to_owned).ok_or_else(|| self.want("a string or an integer")),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, Error> {
        self.value.as_bool().ok_or_else(|| self.want("true or false"))
    }

    pub(super) fn is_integer(&self, number: &str) -> bool {
        self.value.as_integer().is_some_and(|integer| integer.as_str() == number)
    }

    pub(super) fn is_string(&self) -> bool {
        self.value.is_str()
    }

    /// Whether the value is an array or a table without entries.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            DeValue::Array(items) => items.is_empty(),
            DeValue::Table(table) => table.is_empty(),
            _ => false,
        }
    }

    pub(super) fn list(self) -> Result<Vec<Node<'a>>, Error> {
        let DeValue::Array(items) = self.value else {
            return Err(self.want("an array"));
        };
        let source = self.place.source;
        let parent = Some(Rc::new(self.place));
        let node = |(n, item): (usize, Spanned<DeValue<'a>>)| {
            let line = source.line(item.span().start);
            let place = Place { source, parent: parent.clone(), step: Step::Item(n), line };
            Node { place, value: item.into_inner() }
        };
        Ok(items.into_iter().enumerate().map(node).collect())
    }

    pub(super) fn section(self) -> Result<Section<'a>, Error> {
        match self.value {
            DeValue::Table(table) => Section::new(self.place.source, Some(self.place), table),
            _ => Err(self.want("a table")),
        }
    }

    fn want(&self, what: &str) -> Error {
        self.error(format!("expected {what}, found {}", self.value.type_str()))
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        self.place.error(problem)
    }

    /// Where the value stands, for an error after the value has been read.
    pub(super) fn place(&self) -> Place<'a> {
        self.place.clone()
    }
}

/// Warnings about parts of a manifest, up to [`MAX_WARNINGS`]. Further ones are counted.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    texts: Vec<String>,
    more: usize,
}

impl Warnings {
    pub(super) fn add(&mut self, node: &Node<'_>, text: &str) {
        if self.texts.len() == MAX_WARNINGS {
            self.more += 1;
        } else {
            let Place { source, line, .. } = &node.place;
            self.texts.push(format!("{}:{line}: {}: {text}", source.file.display(), node.place));
        }
    }

    /// The warnings, and the number of the further ones.
    pub(super) fn into_texts(mut self, file: &Path) -> Vec<String> {
        if self.more > 0 {
            self.texts.push(format!("{}: {} more warnings", file.display(), self.more));
        }
        self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with a long name and many short keys: a path for each key would take 1 MB for each 8 KB of the file.
    #[test]
    fn the_keys_of_a_table_share_its_path() {
        let name = "t".repeat(MAX_KEY_BYTES);
        let mut text = format!("[{name}]\n");
        for n in 0..10_000 {
            text += &format!("k{n} = [1, 2]\n");
        }
        let breaks = line_breaks(&text);
        let mut root = Source::new(Path::new("spin.toml"), &text, &breaks).root().unwrap();
        let table = root.section(&name).unwrap().unwrap();
        let path = table.place.clone().unwrap();
        for (key, node) in table.into_entries() {
            assert!(matches!((&key, &node.place.step), (Cow::Borrowed(_), Step::Key(Cow::Borrowed(_)))));
            assert!(Rc::ptr_eq(node.place.parent.as_ref().unwrap(), &path), "{key}");
            assert_eq!(node.place.to_string(), format!("{name}.{key}"));
            let items = node.list().unwrap();
            let parents: Vec<_> = items.iter().map(|item| item.place.parent.as_ref().unwrap()).collect();
            assert!(Rc::ptr_eq(parents[0], parents[1]));
            assert_eq!(items[1].place.to_string(), format!("{name}.{key}[1]"));
        }
    }
}
