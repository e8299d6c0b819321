//! The shop of TechCommerce: pages for people, from the answers of the product API and the order API.
//!
//! The pages work without a script. The basket is a cookie, and so is the customer's ID: this service stores nothing.

mod api;
mod assets;
mod basket;
mod encoding;
mod form;
mod origin;
mod pages;
mod routes;
mod visit;

pub use routes::router;

#[cfg(target_family = "wasm")]
web::export!(router);
