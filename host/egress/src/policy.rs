use super::address::Reach;
use super::allow::{AllowList, contains};
use super::target::{Host, InvalidTarget, Target};
use ipnet::IpNet;
use std::net::IpAddr;

/// What a component may reach. Pure: it decides, and does nothing.
///
/// Two questions, both of which have to be answered with yes: may the URL be asked for ([`Policy::decide`]), and
/// may a connection go to the address that its host resolved to ([`Policy::permits`])? The second is asked
/// of the very address that is then connected to, so that a name that changes its mind gains nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    list: AllowList,
    networks: Vec<IpNet>,
}

/// A request that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Where to.
    pub target: Target,
    /// The index of the entry that allows it.
    pub entry: usize,
}

/// A request that must not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its target cannot be told beyond doubt.
    #[error(transparent)]
    Invalid(#[from] InvalidTarget),
    /// No entry allows it.
    #[error("{0} is not in allowed_outbound_hosts")]
    NotListed(Target),
    /// Its host is an IP address that an entry allows only by a pattern.
    #[error(transparent)]
    Address(#[from] Prohibited),
}

/// An address that must not be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{target} leads to {address}, a {reach} address: list it as an IP address or CIDR in allowed_outbound_hosts, or in the host's --outbound-allow-cidr"
)]
pub struct Prohibited {
    /// Where the request goes.
    pub target: Target,
    /// The address that its host is or resolves to.
    pub address: IpAddr,
    /// Why not.
    pub reach: Reach,
}

impl Policy {
    /// The component's allow-list, and the networks that the host's operator opens to names (the cluster's ranges).
    #[must_use]
    pub fn new(list: AllowList, networks: Vec<IpNet>) -> Self {
        Self { list, networks }
    }

    /// The texts of the allow-list's entries, by index.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.list.texts()
    }

    /// Whether requests may go to components of the same application.
    #[must_use]
    pub fn chains(&self) -> bool {
        self.list.has_components()
    }

    /// Whether requests may go to the component `id` of the same application.
    #[must_use]
    pub fn permits_component(&self, id: &str) -> bool {
        self.list.lists_component(id)
    }

    /// Whether `uri` may be asked for.
    ///
    /// # Errors
    /// When it may not.
    pub fn decide(&self, uri: &http::Uri) -> Result<Allowed, Denied> {
        let target = Target::of(uri)?;
        let Some(entry) = self.list.find(&target) else { return Err(Denied::NotListed(target)) };
        if let Host::Ip(address) = target.host {
            self.permits(&target, address)?;
        }
        Ok(Allowed { target, entry })
    }

    /// Whether a connection for `target` may go to `address`: a public one may; another only where an entry for
    /// this scheme and port or a network of the host's names it, however the name that led here is listed.
    ///
    /// # Errors
    /// When it may not.
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
