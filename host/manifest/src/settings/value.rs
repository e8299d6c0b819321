//! Values of settings, which may be secret.

use std::fmt;
use std::sync::Arc;

/// A setting's value. `Debug` hides a secret value; only [`Value::expose`] returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    text: Arc<str>,
    secret: bool,
}

impl Value {
    /// A value. Set `secret` if the text must not appear in a log.
    pub fn new(text: impl Into<Arc<str>>, secret: bool) -> Self {
        Self { text: text.into(), secret }
    }

    /// The text, secret or not. Before you log it, check [`Value::is_secret`].
    #[must_use]
    pub fn expose(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether the text must not appear in a log.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("<secret>") } else { self.text.fmt(f) }
    }
}
