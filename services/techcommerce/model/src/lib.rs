//! The messages between the services of TechCommerce, with the bounds that each service checks.

mod id;
mod line;
mod money;
mod order;
mod product;
mod reservation;

pub use id::{CustomerId, InvalidId, OrderId, ProductId};
pub use line::{InvalidLines, Line, Lines, MAX_LINES, MAX_QUANTITY, Quantity};
pub use money::{Currency, InvalidCurrency, MAX_AMOUNT, Money};
pub use order::{NewOrder, Order, OrderLine, OrderPage, OrderStatus};
pub use product::{Product, ProductPage};
pub use reservation::{
    Hold, HoldPage, MAX_STALE, Outcome, PricedLine, Refusal, Reservation, Reserve, Settlement, total,
};
