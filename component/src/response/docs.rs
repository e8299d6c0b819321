//! The page that shows the OpenAPI document to people.

/// The page: one file, and nothing from outside.
pub const PAGE: &str = include_str!("../../assets/docs.html");

/// Its media type.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// What the page may do: run the script and the style that are in it, and ask this host. They are named by their
/// hashes because the page never changes: a nonce would have to be new in every answer, and `unsafe-inline` would let
/// injected markup run.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
     script-src 'sha256-q725CjT5kEDublNWBgKSWEuOVVjP8pvqgjE038Il6OQ='; \
     style-src 'sha256-aiRq00gz3qiqKDSpa7pyFzKWRUyVsN0B67fJSB2pS4s='; \
     img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{CONTENT_SECURITY_POLICY, PAGE};

    /// What stands between the only `<tag>` and its end.
    fn inline(tag: &str) -> &'static str {
        let (before, rest) = PAGE.split_once(&format!("<{tag}>")).unwrap();
        let (content, behind) = rest.split_once(&format!("</{tag}>")).unwrap();
        assert!(!before.contains(&format!("<{tag}")) && !behind.contains(&format!("<{tag}")));
        content
    }

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits =
                chunk.iter().chain([&0; 2]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
            for place in 0..4 {
                let digit = char::from(ALPHABET[bits >> (18 - 6 * place) & 63]);
                text.push(if place <= chunk.len() { digit } else { '=' });
            }
        }
        text
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_of_the_page() {
        assert_eq!(base64(b"light work."), "bGlnaHQgd29yay4=");
        for tag in ["script", "style"] {
            let source = format!("{tag}-src 'sha256-{}'", base64(&Sha256::digest(inline(tag))));
            assert!(CONTENT_SECURITY_POLICY.contains(&source), "the policy needs {source}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_outside_and_no_more_than_the_policy_allows() {
        for forbidden in ["http:", "https:", "src=", "style=", "onclick", "innerHTML", "eval(", "import"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        assert!(PAGE.contains("fetch(\"openapi.json\")"));
    }
}
