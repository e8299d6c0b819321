//! How the order API takes stock from the product API.
//!
//! - A reservation moves items from a product's stock to a hold of one order. A settlement ends the hold: the items are sold, or go back
//!   to the stock.
//! - Both requests may be repeated: a hold is named by its order, and is made and ended once.
//! - An order may be attempted again, after a crash or by a retry of the client. Attempts are numbered. A hold belongs to the latest
//!   attempt that reserved; an older attempt neither makes nor ends it.

use serde::{Deserialize, Serialize};

use crate::{Lines, Money, OrderId, ProductId, Quantity};

/// The most holds in one answer that asks for them to be settled.
pub const MAX_STALE: usize = 16;

/// `POST /reservations`: reserve all lines or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// The order.
    pub order: OrderId,
    /// Which attempt of the order asks, from 1.
    pub attempt: u32,
    /// What to reserve.
    pub lines: Lines,
    /// A hold older than this many milliseconds counts as stale.
    pub stale_after: u64,
}

/// The result of [`Reserve`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Reservation {
    /// All lines are reserved.
    Reserved {
        /// The lines with their prices.
        lines: Vec<PricedLine>,
    },
    /// The order is refused.
    Refused {
        /// Why.
        reason: Refusal,
    },
    /// Too few items are free now, but orders that are not settled hold more.
    Contended {
        /// The product.
        product: ProductId,
        /// Holds of the product that may be settled first, the oldest first: at most [`MAX_STALE`].
        stale: Vec<Hold>,
    },
    /// A later attempt of the order has reserved.
    Superseded,
}

/// Why an order is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// There are too few items.
    OutOfStock {
        /// The product.
        product: ProductId,
        /// How many were asked for.
        requested: Quantity,
        /// How many there were.
        available: u32,
    },
    /// There is no such product.
    UnknownProduct {
        /// The product.
        product: ProductId,
    },
    /// The prices have more than one currency, or their sum is out of bounds.
    NoTotal,
}

/// A line with the price at which it was reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    /// The product.
    pub product: ProductId,
    /// Its name at that time.
    pub name: String,
    /// How many items.
    pub quantity: Quantity,
    /// The price of one item.
    pub unit_price: Money,
}

/// `POST /reservations/settlements`: end an order's hold of these products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// The order.
    pub order: OrderId,
    /// Ends the hold of this attempt; [`Outcome::Released`] also one of an older attempt.
    pub attempt: u32,
    /// The products.
    pub lines: Lines,
    /// What becomes of the items.
    pub outcome: Outcome,
}

/// What becomes of reserved items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// They are the customer's.
    Sold,
    /// They go back to the stock.
    Released,
}

/// Items that an order has reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The product.
    pub product: ProductId,
    /// The order.
    pub order: OrderId,
    /// The attempt that reserved last.
    pub attempt: u32,
    /// How many items.
    pub quantity: Quantity,
    /// When the items were reserved, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// `GET /reservations`: holds that are stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPage {
    /// The holds.
    pub data: Vec<Hold>,
    /// Whether there are more.
    pub more: bool,
}

/// The sum of the lines; `None` if their currencies differ, or the sum is more than [`MAX_AMOUNT`](crate::MAX_AMOUNT).
#[must_use]
pub fn total(lines: &[PricedLine]) -> Option<Money> {
    let prices = lines.iter().map(|line| line.unit_price.times(line.quantity.get()));
    prices.reduce(|sum, price| sum?.plus(price?))?
}
