//! Orders as the order API takes and shows them.

use serde::{Deserialize, Serialize};

use crate::{CustomerId, Lines, Money, OrderId, PricedLine};

/// What a client wants to order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Who orders.
    pub customer: CustomerId,
    /// What.
    pub lines: Lines,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The ID.
    pub id: OrderId,
    /// Who ordered.
    pub customer: CustomerId,
    /// The status.
    pub status: OrderStatus,
    /// When the client first sent the order, in milliseconds since the Unix epoch.
    pub created: u64,
    /// What was ordered. An order that is not confirmed has no prices.
    pub lines: Vec<OrderLine>,
    /// The sum of a confirmed order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
}

/// The status of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// It is not decided yet. A retry with the same key continues the order.
    Pending,
    /// The items are the customer's.
    Confirmed,
    /// There are too few items, or no such product.
    Refused,
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OrderLine {
    /// A line of a confirmed order.
    Priced(PricedLine),
    /// A line of any other order.
    Plain(crate::Line),
}

/// One page of a customer's orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPage {
    /// The orders, the newest first.
    pub data: Vec<Order>,
    /// The `page` that has older orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}
