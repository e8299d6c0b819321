//! GitHub's redirects. The client follows those to the same scheme, host and port; any other could send the token
//! elsewhere.

use crate::github::answer;
use crate::ports::FetchResponse;
use crate::settings::Origin;

/// How many redirects in a row the client follows.
pub const MAX_REDIRECTS: u32 = 2;

/// The longest `Location` that the client follows, in bytes.
const MAX_LENGTH: usize = 2048;

/// The path and query that `response` redirects to; `None` if it is not a redirect, or leads to another origin. `path`
/// is the path and query of the request.
pub fn target(origin: &Origin, path: &str, response: &FetchResponse) -> Option<String> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer::header(response, "location")?;
    resolve(origin, path, location)
}

/// Resolves a reference against the path of the request (RFC 3986, 5.2); `None` if it leads to another origin.
fn resolve(origin: &Origin, path: &str, location: &str) -> Option<String> {
    // Refuse all characters that two parsers may read differently: the checked URL must be the requested one.
    let plain = location.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>'));
    if location.is_empty() || location.len() > MAX_LENGTH || !plain {
        return None;
    }
    let reference = location.split('#').next().unwrap_or_default();
    let relative = match (scheme(reference), reference.strip_prefix("//")) {
        (Some((scheme, rest)), _) => {
            let same = if origin.https { "https" } else { "http" };
            let rest = rest.strip_prefix("//").filter(|_| scheme.eq_ignore_ascii_case(same))?;
            within(origin, rest)?
        }
        (None, Some(rest)) => within(origin, rest)?,
        // The first segment of a relative reference has no colon (RFC 3986, 4.2).
        (None, None) => {
            reference.split(['/', '?']).next().filter(|first| !first.contains(':')).and(Some(reference))?
        }
    };
    let asked = path.split('?').next().unwrap_or_default();
    Some(match relative.as_bytes().first() {
        Some(b'/') => relative.to_owned(),
        // An absolute URL without a path, such as `https://host?query`, has the path `/`.
        Some(b'?') if relative.len() < reference.len() => format!("/{relative}"),
        None if relative.len() < reference.len() => "/".to_owned(),
        Some(b'?') => format!("{asked}{relative}"),
        Some(_) => format!("{}/{relative}", asked.rsplit_once('/').map_or("", |(folder, _)| folder)),
        // The reference is only a fragment: the same path and query.
        None => path.to_owned(),
    })
}

/// The scheme of a reference and the text after its colon; `None` if it has no scheme.
fn scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let mut bytes = scheme.bytes();
    let fits = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    fits.then_some((scheme, rest))
}

/// The text after the authority that `text` starts with; `None` if that is not the origin's authority.
fn within<'a>(origin: &Origin, text: &'a str) -> Option<&'a str> {
    let end = text.find(['/', '?']).unwrap_or(text.len());
    let (authority, rest) = text.split_at(end);
    (host_and_port(authority, origin.https)? == host_and_port(&origin.authority, origin.https)?)
        .then_some(rest)
}

/// The host in lower case and the port; without a port, the scheme's default. `None` if there is user information.
fn host_and_port(authority: &str, https: bool) -> Option<(String, u16)> {
    let standard = if https { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        // A colon in brackets is part of an IPv6 address.
        Some((_, port)) if port.ends_with(']') => (authority, standard),
        Some((host, "")) => (host, standard),
        Some((host, port)) => (host, port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?),
        None => (authority, standard),
    };
    (!host.is_empty() && !host.contains('@')).then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Origin, resolve, target};
    use crate::ports::FetchResponse;

    const PATH: &str = "/api/v3/users/octocat/gists?page=2&per_page=30";

    fn origin(https: bool, authority: &str) -> Origin {
        Origin { https, authority: authority.to_owned() }
    }

    #[test]
    fn follows_within_the_origin() {
        let github = origin(true, "api.github.com");
        for (location, expected) in [
            ("https://api.github.com/user/1/gists?page=2", "/user/1/gists?page=2"),
            ("HTTPS://API.GitHub.com:443/x", "/x"),
            ("https://api.github.com:/x#fragment", "/x"),
            ("https://api.github.com", "/"),
            ("https://api.github.com?page=2", "/?page=2"),
            ("https://api.github.com#x", "/"),
            ("//api.github.com/x", "/x"),
            ("/user/1/gists", "/user/1/gists"),
            ("?page=3", "/api/v3/users/octocat/gists?page=3"),
            ("repos", "/api/v3/users/octocat/repos"),
            ("#top", PATH),
        ] {
            assert_eq!(resolve(&github, PATH, location).as_deref(), Some(expected), "{location}");
        }
        let local = origin(false, "127.0.0.1:8099");
        assert_eq!(resolve(&local, PATH, "http://127.0.0.1:8099/x").as_deref(), Some("/x"));
        let six = origin(false, "[::1]");
        assert_eq!(resolve(&six, PATH, "http://[::1]:80/x").as_deref(), Some("/x"));
    }

    #[test]
    fn leads_nowhere_else() {
        let github = origin(true, "api.github.com");
        for location in [
            "",
            "http://api.github.com/x",
            "https://api.github.com:444/x",
            "https://api.github.com.evil.example/x",
            "https://api.github.com@evil.example/x",
            "https://user@api.github.com/x",
            "https://evil.example/x",
            "https:///x",
            "https:/x",
            "https:api.github.com/x",
            "//evil.example",
            "///x",
            "/\\evil.example",
            "https://api.github.com\\@evil.example/x",
            "https://api.github.com:4 43/x",
            "https://api.github.com:+443/x",
            "https://api.github.com:65979/x",
            "/x y",
            "/x\r\nhost: y",
            "/é",
            "ftp://api.github.com/x",
            "javascript:alert(1)",
            "x:y/z",
            "::::",
            ":/x",
        ] {
            assert_eq!(resolve(&github, PATH, location), None, "{location}");
        }
        assert_eq!(resolve(&github, PATH, &format!("/{}", "x".repeat(2048))), None);
        assert_eq!(resolve(&origin(false, "localhost:80"), PATH, "http://localhost:8080/"), None);
    }

    #[test]
    fn only_a_redirect_redirects() {
        let github = origin(true, "api.github.com");
        let headers = vec![("Location".to_owned(), b"/x".to_vec())];
        for status in 0..600 {
            let fetched = FetchResponse { status, headers: headers.clone(), body: Vec::new() };
            let followed = matches!(status, 301 | 302 | 303 | 307 | 308);
            assert_eq!(target(&github, PATH, &fetched).is_some(), followed, "{status}");
            assert_eq!(target(&github, PATH, &FetchResponse { headers: Vec::new(), ..fetched }), None);
        }
    }

    proptest! {
        #[test]
        fn a_target_is_a_path_of_plain_characters(
            location in "(https:|http:|//|/|\\\\|@|:|[?#]|api\\.github\\.com|evil|443|\\.\\.|%2F|\\PC){0,10}",
        ) {
            let Some(target) = resolve(&origin(true, "api.github.com"), PATH, &location) else { return Ok(()) };
            prop_assert!(target.starts_with('/'), "{}", target);
            prop_assert!(target.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'#'), "{}", target);
        }

        #[test]
        fn another_host_is_never_followed(host in "[a-z.@:0-9\\[\\]-]{1,20}", path in "[a-z/?]{0,8}") {
            let resolved = resolve(&origin(true, "api.github.com"), PATH, &format!("https://{host}/{path}"));
            let same = ["api.github.com", "api.github.com:", "api.github.com:443"].contains(&host.as_str());
            prop_assert_eq!(resolved.is_some(), same);
        }
    }
}
