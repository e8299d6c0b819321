//! A failed validation, in the words and the JSON of FastAPI.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::request::username;

/// The parameter that a violation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The path parameter `username`.
    Username,
    /// The query parameter `page`.
    Page,
    /// The query parameter `per_page`.
    PerPage,
    /// The query parameter `use_cache`.
    UseCache,
}

impl Parameter {
    /// The parameter's place and name: `loc` in the body.
    pub const fn location(self) -> [&'static str; 2] {
        match self {
            Self::Username => ["path", "username"],
            Self::Page => ["query", "page"],
            Self::PerPage => ["query", "per_page"],
            Self::UseCache => ["query", "use_cache"],
        }
    }
}

/// The kinds of violations that FastAPI distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// A name has more than 39 characters.
    TooLong,
    /// The text does not have the form of an integer.
    NoInteger,
    /// An integer has more than 4300 digits.
    IntegerTooLong,
    /// An integer is below 1.
    TooLow,
    /// An integer is above 100.
    TooHigh,
    /// The text is not a boolean.
    NoBoolean,
}

/// The bound that a value violates: name and value of the only member of `ctx` in the body.
struct Bound(&'static str, usize);

impl ViolationKind {
    /// All kinds, in the order of the variants.
    pub const ALL: [Self; 6] =
        [Self::TooLong, Self::NoInteger, Self::IntegerTooLong, Self::TooLow, Self::TooHigh, Self::NoBoolean];

    /// pydantic's name of the kind, its message and the violated bound.
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

    /// pydantic's name of the kind: `type` in the body.
    pub const fn name(self) -> &'static str {
        self.wording().0
    }
}

/// A violation: one parameter of the request is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The parameter that is invalid.
    pub parameter: Parameter,
    /// The rule that it violates.
    pub kind: ViolationKind,
    /// The value, decoded. Its length is bounded by the host's limit of a request's head.
    pub input: String,
}

impl Violation {
    /// A violation of `parameter`, whose value is `input`.
    pub fn new(parameter: Parameter, kind: ViolationKind, input: &str) -> Self {
        Self { parameter, kind, input: input.to_owned() }
    }
}

/// `{"type":…,"loc":[…],"msg":…,"input":…}`, with `ctx` if a bound is violated.
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
