//! Names of images: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, as containerd passes them.

use crate::error::{Error, Result};

/// Bytes of a name. The distribution specification allows 255 for registry and repository.
const NAME_MAX: usize = 512;

/// An image's registry and repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host and port of the registry.
    pub registry: String,
    /// Path of the repository in the registry, without a slash at its ends.
    pub repository: String,
}

impl Reference {
    /// Parses a name. The tag and the digest are dropped: containerd passes the digest that it pulls.
    ///
    /// # Errors
    /// [`Error::Name`] when the name has no registry, or a part has a character that it may not have.
    pub fn parse(name: &str) -> Result<Self> {
        let wrong = |reason| Error::Name { name: name.chars().take(NAME_MAX).collect(), reason };
        if name.len() > NAME_MAX {
            return Err(wrong("longer than 512 bytes"));
        }
        let (registry, path) = name.split_once('/').ok_or_else(|| wrong("it names no registry"))?;
        let path = path.split_once('@').map_or(path, |(path, _)| path);
        // A port stands before the first slash: a colon behind the last one begins the tag.
        let tag = path.rfind(':').filter(|colon| *colon > path.rfind('/').unwrap_or(0));
        let path = tag.and_then(|colon| path.get(..colon)).unwrap_or(path);
        if !is_host(registry) {
            return Err(wrong("its registry is not a host with or without a port"));
        }
        if !is_repository(path) {
            return Err(wrong(
                "its repository has a part that is empty or has other characters than a-z, 0-9, '.', '_' and '-'",
            ));
        }
        Ok(Self { registry: registry.to_owned(), repository: path.to_owned() })
    }

    /// Whether the image is in `repository` or below it: `registry.example.com/team` has `registry.example.com/team/api`, and not
    /// `registry.example.com/team-b`.
    #[must_use]
    pub fn is_within(&self, repository: &str) -> bool {
        let name = self.to_string();
        name.strip_prefix(repository).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)
    }
}

/// Whether a text is a host or an IP address, with or without a port. Only as strict as a URL needs it.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let (host, port) =
        text.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')).unwrap_or((text, "443"));
    // In a registry's name, capital letters would be another registry for the policy and the same one for DNS.
    !host.is_empty()
        && host.bytes().all(allowed)
        && !host.bytes().any(|byte| byte.is_ascii_uppercase())
        && (port.parse::<u16>().is_ok() || text.ends_with(']'))
}

fn is_repository(path: &str) -> bool {
    path.split('/').all(|part| {
        part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
            && part.starts_with(|first: char| first.is_ascii_alphanumeric())
            && part.ends_with(|last: char| last.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_split_at_the_registry_the_tag_and_the_digest() {
        for (name, registry, repository) in [
            ("docker.io/library/redis:8", "docker.io", "library/redis"),
            ("127.0.0.1:5000/api", "127.0.0.1:5000", "api"),
            ("[::1]:5000/api:1@sha256:0", "[::1]:5000", "api"),
            ("[::1]/api", "[::1]", "api"),
            ("registry.example.com/team/api@sha256:0", "registry.example.com", "team/api"),
            ("registry.example.com/a_b/c-d.e:v1.2", "registry.example.com", "a_b/c-d.e"),
        ] {
            let expected = Reference { registry: registry.to_owned(), repository: repository.to_owned() };
            assert_eq!(Reference::parse(name).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn a_name_that_could_be_read_in_two_ways_is_refused() {
        for name in [
            "",
            "redis",
            "/api",
            "registry.example.com/",
            "registry.example.com//api",
            "registry.example.com/../api",
            "registry.example.com/./api",
            "registry.example.com/team/%2e%2e/api",
            "registry.example.com/team/api?x",
            "registry.example.com/team/api#x",
            "Registry.example.com/api",
            "registry.example.com/API",
            "user@registry.example.com/api",
            "registry.example.com:x/api",
            "registry.example.com:99999/api",
            "registry.example.com/a:b/c",
            &format!("registry.example.com/{}", "a".repeat(600)),
        ] {
            assert!(Reference::parse(name).is_err(), "{name}: {:?}", Reference::parse(name));
        }
    }

    #[test]
    fn a_repository_has_what_is_below_it_by_whole_parts() {
        let image = Reference::parse("registry.example.com/team/api:1").unwrap();
        for within in ["registry.example.com", "registry.example.com/team", "registry.example.com/team/api"] {
            assert!(image.is_within(within), "{within}");
        }
        for other in
            ["registry.example.com/te", "registry.example.co", "registry.example.com/team/api/x", "team/api"]
        {
            assert!(!image.is_within(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_reads_the_same_again(name in "[a-z0-9.:/@_\\[\\]-]{0,60}") {
            if let Ok(reference) = Reference::parse(&name) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }
    }
}
