//! The node's policy: a directory with `policy.toml`, public keys, and what is needed to reach private registries.
//!
//! ```toml
//! unlisted = "allow"                          # images that no entry names: "allow" or "refuse"
//!
//! [[image]]
//! repository = "registry.example.com/gists"   # this repository, and all below it
//! keys = ["release.pub"]                      # files beside this one; one of them must have signed
//!
//! [[registry]]                                # only if the registry needs it
//! host = "registry.example.com"
//! authorities = "ca.pem"                      # trusted in place of the system's
//! login = "login.json"                        # in the form of Docker's config.json
//! ```

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    key::Key,
    reference::{Reference, is_host},
};

/// Where the installer puts a node's policy.
pub const DIRECTORY: &str = "/etc/wasi-http-image-policy";
/// The policy's main file.
pub const FILE: &str = "policy.toml";
/// Bytes of a file of the policy.
const FILE_MAX: u64 = 256 << 10;
/// Entries of a policy, and keys of an entry.
const ENTRIES_MAX: usize = 256;

/// What happens to images that no entry lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unlisted {
    Allow,
    Refuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    unlisted: Unlisted,
    #[serde(default)]
    image: Vec<ImageEntry>,
    #[serde(default)]
    registry: Vec<RegistryEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageEntry {
    repository: String,
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryEntry {
    host: String,
    authorities: Option<String>,
    login: Option<String>,
}

/// The keys for the images of a repository and below it.
#[derive(Debug)]
struct Scope {
    repository: String,
    keys: Vec<Key>,
}

/// How a registry is reached.
#[derive(Debug, Default)]
pub struct Access {
    /// Host and port.
    pub host: String,
    /// Certificates in PEM form that are trusted in place of the system's.
    pub authorities: Option<String>,
    /// User and password.
    pub login: Option<Login>,
}

/// The user of a registry.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password or token.
    pub password: String,
}

/// Does not show the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Login({:?})", self.user)
    }
}

/// A policy with the content of its files.
#[derive(Debug)]
pub struct Policy {
    unlisted: Unlisted,
    scopes: Vec<Scope>,
    registries: Vec<Access>,
    files: Vec<String>,
}

/// What the policy says about an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Rule<'a> {
    /// One of these keys must have signed it.
    Signed(&'a [Key]),
    /// It may be pulled without a signature.
    Allowed,
    /// It may not be pulled.
    Refused,
}

impl Policy {
    /// Reads a policy and all files that it names.
    ///
    /// # Errors
    /// When a file is missing, too long or wrong: with its path and what is expected.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let wrong = |reason: String| Error::Policy { path: path.clone(), reason };
        let document: Document = toml::from_str(&read(&path)?).map_err(|error| wrong(error.to_string()))?;
        if document.image.len().max(document.registry.len()) > ENTRIES_MAX {
            return Err(wrong(format!("more than {ENTRIES_MAX} entries")));
        }
        let mut policy = Self {
            unlisted: document.unlisted,
            scopes: Vec::new(),
            registries: Vec::new(),
            files: vec![FILE.to_owned()],
        };
        for entry in document.image {
            let scope = policy.scope(directory, entry, &wrong)?;
            policy.scopes.push(scope);
        }
        // The first scope that has an image is the nearest one.
        policy.scopes.sort_by_key(|scope| std::cmp::Reverse(scope.repository.len()));
        for entry in document.registry {
            let access = policy.access(directory, entry, &wrong)?;
            policy.registries.push(access);
        }
        policy.files.sort();
        policy.files.dedup();
        Ok(policy)
    }

    /// The rule for an image: that of the nearest entry.
    #[must_use]
    pub fn rule(&self, image: &Reference) -> Rule<'_> {
        match (self.scopes.iter().find(|scope| image.is_within(&scope.repository)), self.unlisted) {
            (Some(scope), _) => Rule::Signed(&scope.keys),
            (None, Unlisted::Allow) => Rule::Allowed,
            (None, Unlisted::Refuse) => Rule::Refused,
        }
    }

    /// How a registry is reached; `None` for the system's certificates and no login.
    #[must_use]
    pub fn access_to(&self, registry: &str) -> Option<&Access> {
        self.registries.iter().find(|access| access.host == registry)
    }

    /// Names of the files that the policy consists of.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    fn scope(
        &mut self,
        directory: &Path,
        entry: ImageEntry,
        wrong: &dyn Fn(String) -> Error,
    ) -> Result<Scope> {
        let repository = entry.repository;
        // A registry alone is a scope too. A tag or a digest would say something that is not checked.
        let parsed = Reference::parse(&repository).is_ok_and(|parsed| parsed.to_string() == repository);
        if !parsed && (repository.contains('/') || !is_host(&repository)) {
            return Err(wrong(format!(
                "repository = {repository:?}: expected REGISTRY or REGISTRY/PATH, without a tag"
            )));
        }
        if self.scopes.iter().any(|scope| scope.repository == repository) {
            return Err(wrong(format!("repository = {repository:?} is listed twice")));
        }
        if entry.keys.is_empty() || entry.keys.len() > ENTRIES_MAX {
            return Err(wrong(format!("repository = {repository:?}: expected 1 to {ENTRIES_MAX} keys")));
        }
        let keys = entry.keys.iter().map(|name| {
            let (path, pem) = self.file(directory, name, wrong)?;
            Key::parse(name, &pem).map_err(|reason| Error::Policy { path, reason })
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        Ok(Scope { repository, keys })
    }

    fn access(
        &mut self,
        directory: &Path,
        entry: RegistryEntry,
        wrong: &dyn Fn(String) -> Error,
    ) -> Result<Access> {
        if !is_host(&entry.host) || self.registries.iter().any(|access| access.host == entry.host) {
            return Err(wrong(format!("host = {:?}: expected HOST or HOST:PORT, listed once", entry.host)));
        }
        let authorities = entry
            .authorities
            .map(|name| self.file(directory, &name, wrong).map(|(_, text)| text))
            .transpose()?;
        let login = match entry.login {
            None => None,
            Some(name) => {
                let (path, text) = self.file(directory, &name, wrong)?;
                Some(
                    login(&text, &entry.host)
                        .map_err(|reason| Error::Policy { path, reason: reason.to_owned() })?,
                )
            }
        };
        Ok(Access { host: entry.host, authorities, login })
    }

    /// Reads a file beside `policy.toml`.
    fn file(
        &mut self,
        directory: &Path,
        name: &str,
        wrong: &dyn Fn(String) -> Error,
    ) -> Result<(PathBuf, String)> {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        if !plain {
            return Err(wrong(format!("{name:?}: expected the name of a file beside {FILE}")));
        }
        let path = directory.join(name);
        let text = read(&path)?;
        self.files.push(name.to_owned());
        Ok((path, text))
    }
}

/// Reads a text file of bounded length.
///
/// # Errors
/// When it cannot be read, is not UTF-8, or is too long.
fn read(path: &Path) -> Result<String> {
    let kind = fs::metadata(path).map_err(Error::file(path))?;
    if !kind.is_file() {
        return Err(Error::file(path)(io::Error::other("not a regular file")));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(Error::file(path))?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(Error::file(path))?;
    if text.len() as u64 > FILE_MAX {
        return Err(Error::file(path)(io::Error::other(format!("more than {FILE_MAX} bytes"))));
    }
    Ok(text)
}

/// The login of a registry in Docker's `config.json`. No message has the text, which is secret.
fn login(text: &str, host: &str) -> std::result::Result<Login, &'static str> {
    use base64ct::{Base64, Encoding as _};
    #[derive(Deserialize)]
    struct Entry {
        username: Option<String>,
        password: Option<String>,
        auth: Option<String>,
    }
    let document: serde_json::Value = serde_json::from_str(text).map_err(|_| "not JSON")?;
    let entry = document
        .get("auths")
        .and_then(|auths| auths.get(host))
        .ok_or("no login of the registry under `auths`")?;
    let entry: Entry = serde_json::from_value(entry.clone())
        .map_err(|_| "the registry's entry under `auths` is not an object of texts")?;
    if let (Some(user), Some(password)) = (entry.username, entry.password) {
        return Ok(Login { user, password });
    }
    let auth = entry
        .auth
        .ok_or("the registry's entry under `auths` has neither `auth` nor `username` and `password`")?;
    let decoded = Base64::decode_vec(&auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (user, password) = pair.ok_or("the registry's `auth` is not USER:PASSWORD in Base64")?;
    Ok(Login { user: user.to_owned(), password: password.to_owned() })
}
