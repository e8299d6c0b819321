//! The address of a stored response: the component that answered, and the target as the component sees it.

use std::hash::{Hash, Hasher};

/// The most bytes of an authority together with a path and a query. Longer addresses are not stored.
pub(crate) const MAX_BYTES: usize = 8 << 10;

/// The address that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address<'a> {
    /// The number of the component's space.
    pub(crate) space: u64,
    pub(crate) https: bool,
    pub(crate) authority: &'a str,
    /// With the query.
    pub(crate) path: &'a str,
}

/// An owned [`Address`].
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) space: u64,
    pub(crate) https: bool,
    authority: Box<str>,
    path: Box<str>,
}

impl Address<'_> {
    pub(crate) fn to_key(self) -> Key {
        let Self { space, https, authority, path } = self;
        Key { space, https, authority: authority.into(), path: path.into() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.authority.len() + self.path.len()
    }
}

impl Key {
    pub(crate) fn address(&self) -> Address<'_> {
        Address { space: self.space, https: self.https, authority: &self.authority, path: &self.path }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.authority.len() + self.path.len()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}
