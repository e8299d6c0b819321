//! The egress policy of components, name resolution, proxies, and the
//! certificates of connections. Every connection that the
//! host opens to another machine passes through this crate.
//!
//! ```text
//! URL ─ Target::of ─▶ Policy::decide (AllowList) ─▶ Resolve ─▶ Policy::permits, for each address ─▶ connection
//! ```

mod address;
mod allow;
mod identity;
mod policy;
mod proxy;
mod resolve;
mod target;
mod tls;

pub use address::Reach;
pub use allow::{AllowList, COMPONENTS, InvalidEntry, TlsPattern, without_password};
pub use identity::{AuthoritySetting, ClientCertificateSetting, Identities, Identity, InvalidIdentity};
pub use policy::{Allowed, Denied, Policy, Prohibited};
pub use proxy::{InvalidProxy, Proxies};
pub use resolve::{MAX_ADDRESSES, Resolve, Resolving, SystemResolver};
pub use target::{Host, InvalidTarget, Scheme, Target};
pub use tls::Tls;
pub use wasi_http_host_certificates::RootsError;
