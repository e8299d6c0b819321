//! The order API of TechCommerce.
//!
//! An order is placed in four steps, each of which may be repeated:
//!
//! 1. The order API writes the record of the order as pending, with the number of the attempt and its lease. The ID follows from the
//!    customer and the `Idempotency-Key`, so a retry finds the record.
//! 2. The product API reserves the items for this attempt.
//! 3. The record becomes confirmed, if it is still this attempt's. Now the order is placed.
//! 4. The product API ends its hold: the items are sold.
//!
//! If an attempt stops in between, a retry of the client continues the order as the next attempt, when the lease has ended. If no retry
//! comes, the items go back to the stock when another order needs them, or by `POST /orders/settlements`.

mod customers;
mod key;
mod placing;
mod products;
mod record;
mod repository;
mod routes;
mod stale;

pub use routes::router;

#[cfg(target_family = "wasm")]
web::export!(router);
