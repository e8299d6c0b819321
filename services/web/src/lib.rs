//! What the services of this folder share.
//!
//! A service is a function from a [`Platform`] to an axum router. Its tests call the router natively, on a
//! [`Fake`](fake::Fake) system. [`export!`] makes a WASI 0.3 component of the router.
//!
//! ```
//! use axum::{Router, routing::get};
//! use web::{Platform, Service};
//!
//! pub fn router(platform: &Platform) -> Router {
//!     let routes = Router::new().route("/", get(async || "hello"));
//!     Service::new("example", platform).routes(routes)
//! }
//!
//! #[cfg(target_family = "wasm")]
//! web::export!(router);
//! # let fake = web::fake::Fake::new();
//! # let answer = web::fake::get(&router(&fake.platform()), "/");
//! # assert_eq!((answer.status, answer.text()), (200, "hello"));
//! ```
//!
//! [`Service`] adds what is the same everywhere:
//!
//! - `/health`, `/ready`, `/metrics`, `/openapi.json`;
//! - every error as a problem document (RFC 9457), also those that axum answers itself;
//! - security headers, unless the response has its own;
//! - the setting `base_path`, where several services share an address;
//! - a log line for each response with a status of 500 or more.

mod base_path;
mod bearer;
mod body;
mod client;
mod log;
mod metrics;
mod platform;
mod problem;
mod query;
mod secret;
mod service;
mod settings;
mod store;
mod system;

#[cfg(not(target_family = "wasm"))]
pub mod fake;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasi;

pub use axum;
pub use base_path::BasePath;
pub use bearer::authorize;
pub use body::{Json, MAX_BODY, read_body};
pub use client::{FetchError, Fetched, Outgoing, join};
pub use log::Level;
pub use platform::Platform;
pub use problem::Problem;
pub use query::Query;
pub use secret::Secret;
pub use service::Service;
pub use settings::{InvalidSetting, Setting};
pub use store::{Store, StoreError, replace_with};
pub use system::{BoxFuture, System};
