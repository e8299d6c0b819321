//! Names of products, customers and orders. They are parts of keys and of paths, so their alphabet is small.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text is no ID of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.kind, self.rule)
    }
}

impl std::error::Error for InvalidId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidId { kind: $kind, rule: $rule }) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.to_owned().try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// The ID of a product, which people see in paths.
    ProductId,
    "a product's ID",
    "1 to 40 characters of a-z, 0-9 and -",
    |text| {
        (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);
id!(
    /// The ID of a customer. Whoever knows the ID may list the customer's orders.
    CustomerId,
    "a customer's ID",
    "1 to 64 characters of A-Z, a-z, 0-9, -, . and _",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    }
);
id!(
    /// The ID of an order: 128 bits in hexadecimal form. Whoever knows the ID may read the order.
    OrderId,
    "an order's ID",
    "32 characters of 0-9 and a-f",
    |text| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_length_and_alphabet() {
        let longest = "a".repeat(40);
        for good in ["a", "usb-c-hub-7", &longest] {
            assert_eq!(good.parse::<ProductId>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(41);
        for bad in ["", "A", "a/b", "ä", "a b", &too_long] {
            let error = bad.parse::<ProductId>().unwrap_err().to_string();
            assert_eq!(error, "a product's ID must be 1 to 40 characters of a-z, 0-9 and -");
        }
        assert!("0123456789abcdef0123456789abcdef".parse::<OrderId>().is_ok());
        assert!("0123456789ABCDEF0123456789ABCDEF".parse::<OrderId>().is_err());
        assert!("a.b_c-D9".parse::<CustomerId>().is_ok());
        assert!("a:b".parse::<CustomerId>().is_err());
        assert!(serde_json::from_str::<ProductId>("\"a/b\"").is_err());
    }
}
