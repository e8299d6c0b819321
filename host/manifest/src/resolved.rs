//! Renders a manifest's templates with the values of its variables.

use super::{Component, Manifest};
use crate::settings::{Name, Snapshot, SourceError, Sources, UnknownVariable, Variables};
use std::sync::Arc;
use wasi_http_host_egress::{AllowList, InvalidEntry};

/// One component's templates, rendered with the values of the variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The component's `wasi:config`.
    pub settings: Arc<Snapshot>,
    /// The hosts that the component may send requests to.
    pub allowed_outbound_hosts: AllowList,
}

/// A variable of the manifest has no value, or a value that does not fit.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says itself what it is")]
pub enum ResolveError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Outbound(#[from] InvalidEntry),
    #[error(transparent)]
    Variable(#[from] UnknownVariable),
}

impl Manifest {
    /// Reads the variables and renders the templates of each component, in the components' order.
    ///
    /// A name that an assignment gives a value becomes a key of every component, even if the manifest does not list
    /// the key.
    ///
    /// # Errors
    /// A variable has no value, or an outbound host is not valid after its variables are filled in.
    pub fn resolve(&self, sources: &Sources) -> Result<Vec<Resolved>, ResolveError> {
        let variables = sources.read(&self.variables)?;
        self.components.iter().map(|component| self.fill(component, sources, &variables)).collect()
    }

    fn fill(
        &self,
        component: &Component,
        sources: &Sources,
        variables: &Variables,
    ) -> Result<Resolved, ResolveError> {
        let mut values = std::collections::BTreeMap::new();
        for (key, template) in &component.variables {
            values.insert(key.clone(), template.render(variables)?);
        }
        let undeclared = |name: &&Name| !self.variables.contains_key(*name);
        for name in sources.assigned().filter(undeclared) {
            if let Some(value) = variables.get(name) {
                values.insert(name.clone(), value.clone());
            }
        }
        let hosts = component.allowed_outbound_hosts.iter().map(|template| template.render(variables));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let hosts: Vec<&str> = hosts.iter().map(|host| &**host.expose()).collect();
        Ok(Resolved {
            settings: Arc::new(Snapshot::new(values)),
            allowed_outbound_hosts: AllowList::parse(&hosts)?,
        })
    }
}
