//! The lines of a basket and of an order.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ProductId;

/// The most lines of an order.
pub const MAX_LINES: usize = 20;
/// The most items of one product in an order.
pub const MAX_QUANTITY: u32 = 99;

/// A number of items: 1 to [`MAX_QUANTITY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Quantity(u32);

impl Quantity {
    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Quantity {
    type Error = InvalidLines;

    fn try_from(count: u32) -> Result<Self, InvalidLines> {
        if (1..=MAX_QUANTITY).contains(&count) { Ok(Self(count)) } else { Err(InvalidLines::Quantity(count)) }
    }
}

impl From<Quantity> for u32 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

/// So many items of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// How many items.
    pub quantity: Quantity,
}

/// Lines in the order of their products, one for each product: 1 to [`MAX_LINES`].
///
/// The order makes equal orders equal, and lets all orders reserve products in the same sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

/// Lines that cannot be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidLines {
    /// There is none.
    Empty,
    /// There are this many.
    TooMany(usize),
    /// One has this many items, or all lines of one product have them together.
    Quantity(u32),
}

impl fmt::Display for InvalidLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an order must have a line"),
            Self::TooMany(count) => write!(f, "an order has at most {MAX_LINES} lines, not {count}"),
            Self::Quantity(count) => write!(f, "a quantity must be 1 to {MAX_QUANTITY}, not {count}"),
        }
    }
}

impl std::error::Error for InvalidLines {}

impl Lines {
    /// The lines.
    #[must_use]
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }
}

impl TryFrom<Vec<Line>> for Lines {
    type Error = InvalidLines;

    fn try_from(lines: Vec<Line>) -> Result<Self, InvalidLines> {
        if lines.len() > MAX_LINES {
            return Err(InvalidLines::TooMany(lines.len()));
        }
        let mut merged = BTreeMap::<ProductId, u32>::new();
        for line in lines {
            *merged.entry(line.product).or_default() += line.quantity.get();
        }
        if merged.is_empty() {
            return Err(InvalidLines::Empty);
        }
        let line = |(product, count)| Ok(Line { product, quantity: Quantity::try_from(count)? });
        merged.into_iter().map(line).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str) -> Result<Lines, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_of_a_product_become_one_and_stand_in_order() {
        let read = lines(
            r#"[{"product":"b","quantity":1},{"product":"a","quantity":2},{"product":"b","quantity":3}]"#,
        );
        let text = serde_json::to_string(&read.unwrap()).unwrap();
        assert_eq!(text, r#"[{"product":"a","quantity":2},{"product":"b","quantity":4}]"#);
    }

    #[test]
    fn lines_have_bounds_that_the_error_names() {
        let many: Vec<_> = (0..=MAX_LINES).map(|n| format!(r#"{{"product":"p{n}","quantity":1}}"#)).collect();
        for (json, why) in [
            ("[]", "must have a line"),
            (&*format!("[{}]", many.join(",")), "at most 20 lines, not 21"),
            (r#"[{"product":"a","quantity":0}]"#, "1 to 99, not 0"),
            (r#"[{"product":"a","quantity":100}]"#, "1 to 99, not 100"),
            (r#"[{"product":"a","quantity":99},{"product":"a","quantity":1}]"#, "1 to 99, not 100"),
            (r#"[{"product":"a","quantity":-1}]"#, "-1"),
            (r#"[{"product":"a","quantity":1.5}]"#, "1.5"),
            (r#"[{"product":"A","quantity":1}]"#, "a product's ID"),
            (r#"[{"product":"a","quantity":1,"price":0}]"#, "price"),
        ] {
            let error = lines(json).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
