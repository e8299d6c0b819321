//! The page that shows the OpenAPI document to people.

/// The page: one HTML file that loads nothing. `build.rs` makes it of the template and the OpenAPI document.
pub const PAGE: &str = include_str!(concat!(env!("OUT_DIR"), "/docs.html"));

/// The page's media type.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// The page may run its own script, use its own style, and send requests to this host. The policy names script and style
/// by their hashes. A nonce would have to be new in every response, and `unsafe-inline` would let injected markup run. A
/// test says the new hash when the template has changed.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
     script-src 'sha256-DHxuQhmhQHExzVjAaKXZxoMwJO2mOJQS2R/XSxebLEk='; \
     style-src 'sha256-raymCTbBkq77ZYJO+RIfW+5ZcU/wENfpIbK8ZVqUUw4='; \
     img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use super::{CONTENT_SECURITY_POLICY, PAGE};
    use crate::response::openapi::DOCUMENT;

    /// The content of the page's only `<tag>` element.
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
        assert!(PAGE.contains("fetch(url, "));
    }

    #[test]
    fn the_page_has_every_operation_parameter_and_schema_of_the_document() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
        for (path, methods) in members(&document["paths"]) {
            for (method, operation) in members(&methods) {
                let form = format!("<form data-method=\"{}\" data-path=\"{path}\">", method.to_uppercase());
                let (_, rest) = PAGE.split_once(&form).expect(&form);
                let (fields, responses) = rest.split_once("</form>").unwrap();
                let (responses, _) = responses.split_once("</details>").unwrap();
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let reference = parameter["$ref"].as_str().unwrap().trim_start_matches('#');
                    let parameter = document.pointer(reference).unwrap();
                    let field = format!("name={} data-in={}", parameter["name"], parameter["in"]);
                    assert!(fields.contains(&field), "{path}: {field}");
                }
                for (status, _) in members(&operation["responses"]) {
                    assert!(
                        responses.contains(&format!("<tr><th scope=\"row\">{status}<td>")),
                        "{path}: {status}"
                    );
                }
            }
        }
        for (schema, _) in members(&document["components"]["schemas"]) {
            assert!(PAGE.contains(&format!("<details id=\"schema-{schema}\">")), "{schema}");
        }
        assert!(!PAGE.contains("<!--"), "a place of the template was not filled in");
    }
}
