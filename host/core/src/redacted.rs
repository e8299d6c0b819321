//! Parsing of flags whose value may hold a secret. An error names the flag and the reason, without the secret.

use std::{ffi::OsStr, fmt::Display, marker::PhantomData, str::FromStr};

use clap::{
    Arg, Command,
    builder::TypedValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Parses a flag's value as `T` does. An error shows only the part of the value that `shown` returns. Without this
/// parser, clap would print the whole value.
pub struct Redacted<T> {
    /// Returns the part of a value that errors may show.
    shown: fn(&str) -> String,
    read: PhantomData<fn() -> T>,
}

impl<T> Redacted<T> {
    /// Creates a parser. Its errors show what `shown` returns for the value.
    #[must_use]
    pub fn but(shown: fn(&str) -> String) -> Self {
        Self { shown, read: PhantomData }
    }
}

impl<T> Clone for Redacted<T> {
    fn clone(&self) -> Self {
        Self::but(self.shown)
    }
}

/// Returns the name in `NAME=VALUE`, without the value. For [`Redacted::but`].
#[must_use]
pub fn assigned_name(assignment: &str) -> String {
    assignment.split_once('=').map_or_else(|| assignment.to_owned(), |(name, _)| format!("{name}=…"))
}

impl<T> TypedValueParser for Redacted<T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let reason = match value.to_str().map(str::parse) {
            Some(Ok(value)) => return Ok(value),
            Some(Err::<T, _>(error)) => error.to_string(),
            None => "it is not UTF-8".to_owned(),
        };
        let name = arg.map(ToString::to_string).unwrap_or_default();
        let value = value.to_str().map(self.shown).unwrap_or_default();
        let message = format!("invalid value '{value}' for '{name}': {reason}\n");
        let mut error = clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command);
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
        Err(error)
    }
}
