//! The product API of TechCommerce: the catalogue, and the stock of each product. Only this service changes stock.
//!
//! - `catalogue` (one key) has the products; `stock/ID` (a key for each product) has its stock and the holds of orders that are not
//!   settled. One compare-and-swap changes both, so the stock stays exact after a crash at any moment.
//! - The routes of reservations are for the order API: see [`shop_model::Reserve`].

mod catalogue;
mod holds;
mod pages;
mod repository;
mod routes;
mod seed;

pub use routes::router;

#[cfg(target_family = "wasm")]
web::export!(router);
