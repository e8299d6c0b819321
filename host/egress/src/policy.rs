//! The egress policy of a component.

use super::address::Reach;
use super::allow::{AllowList, contains};
use super::target::{Host, InvalidTarget, Target};
use ipnet::IpNet;
use std::net::IpAddr;

/// The egress policy of one component. The policy only decides; it opens no connection.
///
/// The host asks two questions, and both must be answered with yes. [`Policy::decide`] tells whether a URL may be
/// requested. [`Policy::permits`] tells whether a connection may go to an address that the URL's host resolved to.
/// The host connects to exactly the address that was checked, so a DNS record that changes between two look-ups
/// cannot bypass the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    list: AllowList,
    networks: Vec<IpNet>,
}

/// A request that the policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The target of the request.
    pub target: Target,
    /// The index of the entry that allows the request.
    pub entry: usize,
}

/// The reason why the policy denies a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The URL has no valid target.
    #[error(transparent)]
    Invalid(#[from] InvalidTarget),
    /// No entry allows the target.
    #[error("{0} is not in allowed_outbound_hosts")]
    NotListed(Target),
    /// The host is an IP address that [`Policy::permits`] forbids.
    #[error(transparent)]
    Address(#[from] Prohibited),
}

/// An error: the policy forbids a connection to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{target} resolves to {address}, a {reach} address: list it as an IP address or CIDR in allowed_outbound_hosts, or in the host's --outbound-allow-cidr"
)]
pub struct Prohibited {
    /// The target of the request.
    pub target: Target,
    /// The address that the target's host is or resolves to.
    pub address: IpAddr,
    /// The class of the address, which is the reason.
    pub reach: Reach,
}

impl Policy {
    /// Creates a policy from the component's allow-list and `networks`. `networks` are addresses that names may
    /// resolve to although the addresses are private. The host's operator sets them (`--outbound-allow-cidr`), for
    /// example to the cluster's ranges.
    #[must_use]
    pub fn new(list: AllowList, networks: Vec<IpNet>) -> Self {
        Self { list, networks }
    }

    /// Returns the texts of the allow-list's entries, in the order of their indexes.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.list.texts()
    }

    /// Whether the component may call a component of the same application.
    #[must_use]
    pub fn chains(&self) -> bool {
        self.list.has_components()
    }

    /// Whether the component may call the component `id` of the same application.
    #[must_use]
    pub fn permits_component(&self, id: &str) -> bool {
        self.list.lists_component(id)
    }

    /// Decides whether `uri` may be requested.
    ///
    /// # Errors
    /// When `uri` is not valid, no entry allows it, or its host is a forbidden IP address.
    pub fn decide(&self, uri: &http::Uri) -> Result<Allowed, Denied> {
        let target = Target::of(uri)?;
        let Some(entry) = self.list.find(&target) else { return Err(Denied::NotListed(target)) };
        if let Host::Ip(address) = target.host {
            self.permits(&target, address)?;
        }
        Ok(Allowed { target, entry })
    }

    /// Decides whether a connection for `target` may go to `address`. A public address is permitted. Another
    /// address is permitted only if it is in the host's networks, or if an entry for the target's scheme and port
    /// lists the address itself. The entry that allows the name which resolved to the address plays no part here.
    ///
    /// # Errors
    /// When `address` is not permitted.
    pub fn permits(&self, target: &Target, address: IpAddr) -> Result<(), Prohibited> {
        let reach = Reach::of(address);
        let permitted = reach == Reach::Global
            || self.networks.iter().any(|net| contains(net, address))
            || self.list.lists_address(target, address);
        if permitted { Ok(()) } else { Err(Prohibited { target: target.clone(), address, reach }) }
    }
}

#[cfg(test)]
mod tests;
