//! What the operator removes.

/// What the operator purges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purge<'a> {
    /// Only what this component has answered.
    pub component: Option<&'a str>,
    /// Only the responses of this group (RFC 9875).
    pub group: Option<&'a str>,
    /// Only the responses for this address: an authority, and a path with its query.
    pub address: Option<(&'a str, &'a str)>,
}
