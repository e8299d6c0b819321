//! Values that may hold a secret: what is wrong with one is told without it.

use std::{ffi::OsStr, fmt::Display, marker::PhantomData, str::FromStr};

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};

/// Reads a value as its type does, and shows a part of it when it is wrong, where clap would repeat it all.
pub(super) struct Unshown<T> {
    /// That part.
    shown: fn(&str) -> String,
    read: PhantomData<fn() -> T>,
}

impl<T> Unshown<T> {
    pub(super) fn but(shown: fn(&str) -> String) -> Self {
        Self { shown, read: PhantomData }
    }
}

impl<T> Clone for Unshown<T> {
    fn clone(&self) -> Self {
        Self::but(self.shown)
    }
}

/// Of `NAME=VALUE` the name.
pub(super) fn name(assignment: &str) -> String {
    assignment.split_once('=').map_or_else(|| assignment.to_owned(), |(name, _)| format!("{name}=…"))
}

impl<T> TypedValueParser for Unshown<T>
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
        Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
    }
}
