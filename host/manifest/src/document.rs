//! TOML with positions. Each value knows its path and its line, so that an error can name both.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
    /// The text is not valid TOML.
    pub(super) fn root(self) -> Result<Section<'a>, Error> {
        let document = DeTable::parse(self.text).map_err(|e| Error {
            file: self.file.into(),
            line: e.span().map(|span| self.line(span.start)),
            key: None,
            problem: e.message().to_owned(),
        })?;
        Ok(self.section(String::new(), 1, document.into_inner()))
    }

    fn line(self, offset: usize) -> usize {
        self.line_breaks.partition_point(|line_break| *line_break < offset) + 1
    }

    fn section(self, path: String, line: usize, table: DeTable<'a>) -> Section<'a> {
        let entries = table.into_iter().map(|(key, value)| {
            let line = self.line(key.span().start);
            let key = key.into_inner().into_owned();
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            (key, Node { source: self, path, line, value: value.into_inner() })
        });
        Section { entries: entries.collect(), source: self, path, line }
    }
}

/// A table. The reader takes the keys that it knows one by one; the keys that are left at the end are unknown.
#[derive(Debug)]
pub(super) struct Section<'a> {
    source: Source<'a>,
    path: String,
    line: usize,
    entries: BTreeMap<String, Node<'a>>,
}

impl<'a> Section<'a> {
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
    pub(super) fn into_entries(self) -> impl Iterator<Item = (String, Node<'a>)> {
        self.entries.into_iter()
    }

    /// The keys that nobody has taken.
    pub(super) fn keys(&self) -> Vec<String> {
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
        Error {
            file: self.source.file.into(),
            line: Some(self.line),
            key: Some(self.path.clone()).filter(|path| !path.is_empty()),
            problem: problem.into(),
        }
    }
}

/// A value with its path and line.
#[derive(Debug)]
pub(super) struct Node<'a> {
    source: Source<'a>,
    path: String,
    line: usize,
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
        let Self { source, path, line, value } = self;
        let DeValue::Array(items) = value else {
            return Err(Self { source, path, line, value }.want("an array"));
        };
        let node = |(n, item): (usize, Spanned<DeValue<'a>>)| {
            let line = source.line(item.span().start);
            Node { source, path: format!("{path}[{n}]"), line, value: item.into_inner() }
        };
        Ok(items.into_iter().enumerate().map(node).collect())
    }

    pub(super) fn section(self) -> Result<Section<'a>, Error> {
        match self.value {
            DeValue::Table(table) => Ok(self.source.section(self.path, self.line, table)),
            _ => Err(self.want("a table")),
        }
    }

    fn want(&self, what: &str) -> Error {
        self.error(format!("expected {what}, found {}", self.value.type_str()))
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        Error {
            file: self.source.file.into(),
            line: Some(self.line),
            key: Some(self.path.clone()),
            problem: problem.into(),
        }
    }

    /// Path and line, for a message about another value that conflicts with this one.
    pub(super) fn place(&self) -> String {
        format!("{} (line {})", self.path, self.line)
    }

    pub(super) fn warning(&self, text: &str) -> String {
        format!("{}:{}: {}: {text}", self.source.file.display(), self.line, self.path)
    }
}
