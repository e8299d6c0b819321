//! The egress policy.

#[path = "../../host/cli/src/outbound/address.rs"]
mod address;
#[path = "../../host/cli/src/outbound/allow.rs"]
mod allow;
#[path = "../../host/cli/src/outbound/policy.rs"]
mod policy;
#[path = "../../host/cli/src/outbound/target.rs"]
mod target;

pub use address::Reach;
pub use allow::{AllowList, InvalidEntry};
pub use policy::{Allowed, Denied, Policy, Prohibited};
pub use target::{InvalidTarget, Scheme, Target};
