//! Runs components: the engine and its compiled code, the queue and the instances, and the interfaces that a
//! component imports.
//!
//! ```text
//! request ─▶ Admission (a permit, or a bounded wait) ─▶ Dispatch (queue, instances) ─▶ component
//!                 │  wasi:http client ─▶ hooks ─▶ outbound | Siblings
//!                 │  wasi:keyvalue ─▶ keyvalue
//!                 └─ wasi:config   ─▶ settings
//! ```

mod admission;
mod cause;
mod component;
mod config;
pub mod engine;
mod footprint;
mod guest;
mod guest_output;
mod hooks;
mod host_bytes;
mod interim;
mod keyvalue;
mod metrics;
mod needs;
mod open_files;
mod refusal;
mod reuse;
mod service;
mod settings;
mod tasks;
mod traced;
mod turns;

pub use admission::{Admission, Permit};
pub use cause::{Cause, MAX_DEPTH, inherit, is_request_id, passes, was_passed_on};
pub use component::{ComponentError, Import, Inspection, Kind, Linked, check_binary};
pub use config::{CodeConfig, InstanceConfig, RequestConfig};
pub use footprint::{Footprint, FootprintError};
pub use guest::Template;
pub use guest_output::GuestOutput;
pub use hooks::{ChainedRequest, Siblings, names_component};
pub use host_bytes::MOST_RESPONSE_BYTES;
pub use interim::InterimRelay;
pub use metrics::{ComponentMetrics, EndReason, MetricsRegistry, Rejection, WorkerMetrics};
pub use needs::Needs;
pub use open_files::{OpenFiles, most_open_files};
pub use refusal::Unserved;
pub use service::{Call, CallError, Content, Dispatch, DispatchContext, GuestBody, Limits, Reply};
