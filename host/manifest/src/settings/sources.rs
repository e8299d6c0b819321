//! The sources of variables' values and their order of precedence.

use super::files::{self, FileError};
use super::{InvalidName, Name, ReservedName, Value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A variable that the manifest declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variable {
    /// The value that is used when no other source has one. `None` for a required variable.
    pub default: Option<String>,
    /// Whether the value must not appear in a log.
    pub secret: bool,
}

/// The values of all declared variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables(BTreeMap<Name, Value>);

impl Variables {
    /// The value of a declared variable. `None` if no source sets the variable.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Value> {
        self.0.get(name)
    }
}

impl FromIterator<(Name, Value)> for Variables {
    fn from_iter<I: IntoIterator<Item = (Name, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// `--var NAME=VALUE` or `--var NAME`. Both declare a setting. The short form leaves the value to the other sources.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name in lower case; the flag accepts any case.
    pub name: Name,
    /// `None` if the assignment only declares the name.
    pub value: Option<String>,
}

/// The value of one `--var` or of its environment variable: one [`Assignment`], or several names with commas between
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignments(pub Vec<Assignment>);

/// The text is not an [`Assignment`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAssignment {
    /// The name is no variable's name.
    #[error("expected NAME=VALUE, NAME, or NAME,NAME…: {0}")]
    Name(#[from] InvalidName),
    /// The host reads the variable for itself.
    #[error(transparent)]
    Reserved(#[from] ReservedName),
}

impl FromStr for Assignment {
    type Err = InvalidAssignment;

    fn from_str(text: &str) -> Result<Self, InvalidAssignment> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let name: Name = name.to_ascii_lowercase().parse()?;
        name.check_reserved()?;
        Ok(Self { name, value })
    }
}

impl FromStr for Assignments {
    type Err = InvalidAssignment;

    fn from_str(text: &str) -> Result<Self, InvalidAssignment> {
        // A value may contain commas, so only a list of names is split.
        let names = if text.contains('=') { vec![text] } else { text.split(',').map(str::trim).collect() };
        names.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=<hidden>", self.name)
    }
}

type Environment = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// All sources of values except the manifest.
pub struct Sources {
    environment: Environment,
    directory: Option<PathBuf>,
    assignments: Vec<Assignment>,
}

/// A variable has no usable value.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A required variable is not set in any source.
    #[error(
        "variable {name} is required: set {}, a file {name} in the settings directory, or --var {name}=VALUE",
        name.environment()[1]
    )]
    Missing {
        /// The variable.
        name: Name,
    },
    /// The environment variable is not UTF-8.
    #[error("environment variable {0} is not UTF-8")]
    Environment(String),
    /// The settings directory or a file in it cannot be used.
    #[error("invalid value for --settings-dir: {0}")]
    File(#[from] FileError),
}

impl Sources {
    /// The process's environment, a settings directory (if any), and the assignments of the command line. If two
    /// assignments have the same name, the last one is used.
    #[must_use]
    pub fn new(directory: Option<PathBuf>, assignments: Vec<Assignment>) -> Self {
        Self { environment: Box::new(|name| std::env::var_os(name)), directory, assignments }
    }

    /// Replaces the process's environment by a function, for tests.
    #[must_use]
    pub fn with_environment(
        self,
        environment: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Self {
        Self { environment: Box::new(environment), ..self }
    }

    /// The names that assignments declare, with or without a value.
    pub fn assigned(&self) -> impl Iterator<Item = &Name> {
        self.assignments.iter().map(|assignment| &assignment.name)
    }

    /// Reads all variables that the manifest or an assignment declares. A variable that only an assignment declares
    /// counts as secret, because nothing says otherwise. Such a variable stays unset if the assignment has no value
    /// and no source sets the variable.
    ///
    /// # Errors
    /// A required variable is missing, or a value cannot be read. The message never contains a value.
    pub fn read(&self, declared: &BTreeMap<Name, Variable>) -> Result<Variables, SourceError> {
        let undeclared = self.assigned().filter(|name| !declared.contains_key(*name));
        let names = declared.keys().chain(undeclared);
        let mut files = match &self.directory {
            Some(directory) => files::read(directory, |name| {
                declared.contains_key(name) || self.assigned().any(|assigned| assigned.as_str() == name)
            })?,
            None => BTreeMap::new(),
        };
        let mut values = BTreeMap::new();
        for name in names {
            let variable = declared.get(name);
            let assigned = self.assignments.iter().rev().find(|assignment| assignment.name == *name);
            let value = match assigned.and_then(|assignment| assignment.value.clone()) {
                Some(value) => Some(value),
                None => match files.remove(name.as_str()) {
                    Some(value) => Some(value),
                    None => self.environment(name)?,
                },
            };
            let value = value.or_else(|| variable.and_then(|variable| variable.default.clone()));
            let secret = variable.is_none_or(|variable| variable.secret);
            match value {
                Some(value) => drop(values.insert(name.clone(), Value::new(value, secret))),
                None if variable.is_some() => return Err(SourceError::Missing { name: name.clone() }),
                None => {}
            }
        }
        Ok(Variables(values))
    }

    fn environment(&self, name: &Name) -> Result<Option<String>, SourceError> {
        for key in name.environment() {
            if let Some(value) = (self.environment)(&key) {
                return value.into_string().map(Some).map_err(|_| SourceError::Environment(key));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("directory", &self.directory)
            .field("assignments", &self.assignments)
            .finish_non_exhaustive()
    }
}
