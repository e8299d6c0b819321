//! One failed validation, as FastAPI words and renders it.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::request::username;

/// The parameter that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The user's name, in the path.
    Username,
    /// `page`, in the query.
    Page,
    /// `per_page`, in the query.
    PerPage,
    /// `use_cache`, in the query.
    UseCache,
}

impl Parameter {
    /// FastAPI's `loc`.
    pub const fn location(self) -> [&'static str; 2] {
        match self {
            Self::Username => ["path", "username"],
            Self::Page => ["query", "page"],
            Self::PerPage => ["query", "per_page"],
            Self::UseCache => ["query", "use_cache"],
        }
    }
}

/// How it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name of too many characters.
    TooLong,
    /// Not the form of an integer.
    NoInteger,
    /// An integer of too many digits.
    IntegerTooLong,
    /// An integer below 1.
    TooLow,
    /// An integer above 100.
    TooHigh,
    /// Not a boolean.
    NoBoolean,
}

/// The bound that a value missed: a member of pydantic's `ctx`.
struct Bound(&'static str, usize);

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::TooLong, Self::NoInteger, Self::IntegerTooLong, Self::TooLow, Self::TooHigh, Self::NoBoolean];

    /// pydantic's name of it, the message and the bound.
    const fn wording(self) -> (&'static str, &'static str, Option<Bound>) {
        match self {
            Self::TooLong => (
                "string_too_long",
                "String should have at most 39 characters",
                Some(Bound("max_length", username::MAX_CHARACTERS)),
            ),
            Self::NoInteger => {
                ("int_parsing", "Input should be a valid integer, unable to parse string as an integer", None)
            }
            Self::IntegerTooLong => (
                "int_parsing_size",
                "Unable to parse input string as an integer, exceeded maximum size",
                None,
            ),
            Self::TooLow => {
                ("greater_than_equal", "Input should be greater than or equal to 1", Some(Bound("ge", 1)))
            }
            Self::TooHigh => {
                ("less_than_equal", "Input should be less than or equal to 100", Some(Bound("le", 100)))
            }
            Self::NoBoolean => {
                ("bool_parsing", "Input should be a valid boolean, unable to interpret input", None)
            }
        }
    }

    /// pydantic's name of it, `type` in the body.
    pub const fn name(self) -> &'static str {
        self.wording().0
    }
}

/// A parameter, how it failed, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The parameter that failed.
    pub parameter: Parameter,
    /// How it failed.
    pub kind: Kind,
    /// What it was, decoded. Bounded by the size of a request's head.
    pub input: String,
}

impl Violation {
    /// That `parameter` was `input`, and failed as `kind` says.
    pub fn new(parameter: Parameter, kind: Kind, input: &str) -> Self {
        Self { parameter, kind, input: input.to_owned() }
    }
}

/// `{"type":…,"loc":[…],"msg":…,"input":…}`, and `ctx` where a bound was missed.
impl Serialize for Violation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, message, bound) = self.kind.wording();
        let mut map = serializer.serialize_map(Some(4 + usize::from(bound.is_some())))?;
        map.serialize_entry("type", name)?;
        map.serialize_entry("loc", &self.parameter.location())?;
        map.serialize_entry("msg", message)?;
        map.serialize_entry("input", &self.input)?;
        if let Some(bound) = bound {
            map.serialize_entry("ctx", &bound)?;
        }
        map.end()
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}
