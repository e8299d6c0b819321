//! The host's certificates and the private authorities of outbound connections, by patterns of servers.

use super::allow::TlsPattern;
use super::target::Target;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use std::cmp::Reverse;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;
use wasi_http_host_certificates::{AuthorityFile, Change, Pair, PairFiles, Source, Watched};
use wasi_http_host_core::{Exposition, MetricKind, labelled_counters};

/// The value of a flag: the certificate and key that the host shows to the servers of a pattern.
#[derive(Debug, Clone)]
pub struct ClientCertificateSetting(TlsPattern, PairFiles);

/// The value of a flag: the authorities that the host trusts for the servers of a pattern, in place of all others.
#[derive(Debug, Clone)]
pub struct AuthoritySetting(TlsPattern, AuthorityFile);

/// An error: a file cannot be used, or a pattern has two values.
#[derive(Debug, thiserror::Error)]
#[error("{pattern}: {reason}")]
pub struct InvalidIdentity {
    /// The pattern.
    pub pattern: TlsPattern,
    /// The path of the file, and what is wrong.
    pub reason: String,
}

labelled_counters! {
    /// The outcome of a reload of a file.
    Reload, ReloadCounters {
        /// New connections use the new contents.
        Ok = "ok",
        /// The new contents are not valid. The previous contents stay in use.
        Failed = "failed",
    }
}

/// What outbound connections show and trust, by patterns of servers. The files are read again by
/// [`Identities::check_files`].
///
/// For each server, the closest pattern counts: a name, an address or a range before subdomains, subdomains before `*`;
/// the longer domain and the smaller range first; then the fewer ports. Of patterns that are equally close, the first
/// one counts. Certificates and authorities are looked up separately.
#[derive(Debug, Default)]
pub struct Identities {
    certificates: ByPattern<PairFiles>,
    authorities: ByPattern<AuthorityFile>,
    /// The identities in use. A change of a file removes those that the file is part of.
    in_use: RwLock<Vec<Arc<Identity>>>,
    reloads: ReloadCounters,
}

/// What a connection shows and trusts. Two connections have the same identity if they have the same `Arc`: a change of
/// a file makes another one.
#[derive(Debug)]
pub struct Identity {
    key: Key,
    certificate: Option<Arc<Pair>>,
    authorities: Option<Arc<RootCertStore>>,
    config: OnceCell<Arc<ClientConfig>>,
}

/// The indexes of an identity's certificate and authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    certificate: Option<usize>,
    authorities: Option<usize>,
}

/// The files of each pattern, the closest pattern first.
#[derive(Debug)]
struct ByPattern<S: Source>(Vec<(TlsPattern, Watched<S>)>);

impl FromStr for ClientCertificateSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pattern, files) = pattern(text, "PATTERN=CERT,KEY")?;
        match files.split(',').map(PathBuf::from).collect::<Vec<_>>().as_slice() {
            [cert, key] if ![cert, key].iter().any(|path| path.as_os_str().is_empty()) => {
                Ok(Self(pattern, PairFiles { cert: cert.clone(), key: key.clone() }))
            }
            _ => Err("want PATTERN=CERT,KEY: two files after the pattern".to_owned()),
        }
    }
}

impl FromStr for AuthoritySetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match pattern(text, "PATTERN=FILE")? {
            (_, "") => Err("want PATTERN=FILE: a file after the pattern".to_owned()),
            (pattern, file) => Ok(Self(pattern, AuthorityFile(file.into()))),
        }
    }
}

/// Splits `PATTERN=FILES`.
fn pattern<'a>(text: &'a str, wanted: &str) -> Result<(TlsPattern, &'a str), String> {
    let (pattern, files) = text.split_once('=').ok_or_else(|| format!("want {wanted}"))?;
    Ok((TlsPattern::parse(pattern)?, files))
}

impl Identities {
    /// Reads the certificates and keys.
    ///
    /// # Errors
    /// When a file cannot be used, or a pattern has two certificates.
    pub fn with_certificates(self, settings: &[ClientCertificateSetting]) -> Result<Self, InvalidIdentity> {
        let certificates = ByPattern::load(settings.iter().map(|ClientCertificateSetting(p, f)| (p, f)))?;
        for (pattern, watched) in &certificates.0 {
            log_certificate(pattern, watched.source(), &watched.current());
        }
        Ok(Self { certificates, ..self })
    }

    /// Reads the authorities.
    ///
    /// # Errors
    /// When a file cannot be used, or a pattern has two files.
    pub fn with_authorities(self, settings: &[AuthoritySetting]) -> Result<Self, InvalidIdentity> {
        let authorities = ByPattern::load(settings.iter().map(|AuthoritySetting(p, f)| (p, f)))?;
        Ok(Self { authorities, ..self })
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.0.is_empty() && self.authorities.0.is_empty()
    }

    /// Returns the identity of connections to `target`. `None`: no pattern describes `target`.
    pub fn of(&self, target: &Target) -> Option<Arc<Identity>> {
        let (certificate, authorities) = (self.certificates.find(target), self.authorities.find(target));
        let key = Key { certificate, authorities };
        if key == (Key { certificate: None, authorities: None }) {
            return None;
        }
        let known = |all: &[Arc<Identity>]| all.iter().find(|identity| identity.key == key).cloned();
        if let Some(identity) = known(&self.in_use.read().unwrap_or_else(PoisonError::into_inner)) {
            return Some(identity);
        }
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        let identity = known(&in_use).unwrap_or_else(|| {
            // Under the lock: `forget` removes the identity if one of its files changes now.
            let identity = Arc::new(Identity {
                key,
                certificate: self.certificates.current(key.certificate),
                authorities: self.authorities.current(key.authorities),
                config: OnceCell::new(),
            });
            in_use.push(identity.clone());
            identity
        });
        Some(identity)
    }

    /// Reads all files, and replaces what has new and valid contents. Logs each failure once. Blocks on the file system.
    pub fn check_files(&self) {
        for (at, (pattern, watched)) in self.certificates.0.iter().enumerate() {
            let files = watched.source();
            match watched.check() {
                Change::None => {}
                Change::Replaced(pair) => {
                    self.replaced(|key| key.certificate == Some(at));
                    log_certificate(pattern, files, &pair);
                }
                Change::Failed(error) => self.failed("--outbound-client-cert", pattern, &error),
            }
        }
        for (at, (pattern, watched)) in self.authorities.0.iter().enumerate() {
            match watched.check() {
                Change::None => {}
                Change::Replaced(_) => {
                    self.replaced(|key| key.authorities == Some(at));
                    let file = watched.source().0.display();
                    tracing::info!(%pattern, %file, "outbound TLS: authorities loaded");
                }
                Change::Failed(error) => self.failed("--outbound-ca", pattern, &error),
            }
        }
    }

    /// Forgets the identities that a changed file is part of.
    fn replaced(&self, is_part: impl Fn(Key) -> bool) {
        self.reloads.count(Reload::Ok);
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|identity| !is_part(identity.key));
    }

    fn failed(&self, flag: &str, pattern: &TlsPattern, error: &str) {
        self.reloads.count(Reload::Failed);
        tracing::error!(
            flag,
            %pattern,
            error,
            "outbound TLS: cannot use the new contents: the previous ones stay active"
        );
    }

    /// Writes the metrics.
    pub fn expose(&self, to: &mut Exposition) {
        let name = "wasi_http_host_outbound_client_certificate_not_after_seconds";
        let help = "Unix time at which the first certificate of a chain of --outbound-client-cert expires, by pattern.";
        to.family(name, MetricKind::Gauge, help);
        for (pattern, watched) in &self.certificates.0 {
            to.sample(name, &[("pattern", &pattern.to_string())], watched.current().not_after);
        }
        let name = "wasi_http_host_outbound_certificate_reloads_total";
        let help = "Reloads of the files of --outbound-client-cert and --outbound-ca, by outcome. failed: the previous contents stay active.";
        to.family(name, MetricKind::Counter, help);
        for (outcome, count) in self.reloads.all() {
            to.sample(name, &[("outcome", outcome)], count);
        }
    }
}

impl Identity {
    /// Whether another identity has the same patterns. Of the two, one comes from files that have changed since.
    #[must_use]
    pub fn has_same_patterns(&self, other: &Self) -> bool {
        self.key == other.key
    }

    pub(super) fn certificate(&self) -> Option<&Arc<CertifiedKey>> {
        self.certificate.as_ref().map(|pair| &pair.certified)
    }

    pub(super) fn authorities(&self) -> Option<&Arc<RootCertStore>> {
        self.authorities.as_ref()
    }

    pub(super) fn config(&self) -> &OnceCell<Arc<ClientConfig>> {
        &self.config
    }
}

impl<S: Source<Error: fmt::Display> + Clone> ByPattern<S> {
    fn load<'a>(settings: impl Iterator<Item = (&'a TlsPattern, &'a S)>) -> Result<Self, InvalidIdentity>
    where
        S: 'a,
    {
        let mut all: Vec<(TlsPattern, Watched<S>)> = Vec::new();
        for (pattern, files) in settings {
            let invalid = |reason| InvalidIdentity { pattern: pattern.clone(), reason };
            if let Some((known, _)) = all.iter().find(|(known, _)| known.is_same(pattern)) {
                return Err(invalid(format!("{known} has a value already")));
            }
            let watched = Watched::load(files.clone()).map_err(|error| invalid(error.to_string()))?;
            all.push((pattern.clone(), watched));
        }
        all.sort_by_key(|(pattern, _)| Reverse(pattern.specificity()));
        Ok(Self(all))
    }
}

impl<S: Source> ByPattern<S> {
    fn find(&self, target: &Target) -> Option<usize> {
        self.0.iter().position(|(pattern, _)| pattern.matches(target))
    }

    fn current(&self, at: Option<usize>) -> Option<Arc<S::Value>> {
        at.and_then(|at| self.0.get(at)).map(|(_, watched)| watched.current())
    }
}

impl<S: Source> Default for ByPattern<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

fn log_certificate(pattern: &TlsPattern, files: &PairFiles, pair: &Pair) {
    let file = files.cert.display();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let left = pair.not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
    if left > 0 {
        tracing::info!(%pattern, %file, hours_left = left / 3_600, "outbound TLS: certificate loaded");
    } else {
        tracing::warn!(%pattern, %file, "outbound TLS: the certificate has expired");
    }
}

#[cfg(test)]
mod tests;
