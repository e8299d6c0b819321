//! The `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) and what follows from it.

use axum::http::HeaderMap;
use sha2::{Digest as _, Sha256};
use shop_model::{CustomerId, NewOrder, OrderId};
use web::Problem;

/// The header's name.
pub(crate) const HEADER: &str = "idempotency-key";
const MAX_KEY: usize = 128;

/// The key of a request: a string of structured fields (RFC 9651), or the same text without quotation marks.
pub(crate) fn of(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        let why = "the header Idempotency-Key is missing: send a new random value with each order, and the same value \
                   with a retry of the order";
        return Err(Problem::bad_request(why));
    };
    if values.next().is_some() {
        return Err(Problem::bad_request("the header Idempotency-Key must occur once"));
    }
    let key = value.to_str().ok().and_then(parse);
    key.filter(|key| (1..=MAX_KEY).contains(&key.len())).ok_or_else(|| {
        let rule =
            format!("the header Idempotency-Key must be a quoted string of 1 to {MAX_KEY} ASCII characters");
        Problem::bad_request(rule)
    })
}

fn parse(value: &str) -> Option<String> {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/=@".contains(&b);
    let value = value.trim();
    let Some(quoted) = value.strip_prefix('"') else {
        return value.bytes().all(is_bare).then(|| value.to_owned());
    };
    let (mut key, mut characters) = (String::new(), quoted.chars());
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(key),
            '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            c @ ' '..='~' => key.push(c),
            _ => return None,
        }
    }
}

/// The ID of the customer's order with this key.
pub(crate) fn order_id(customer: &CustomerId, key: &str) -> Option<OrderId> {
    // A customer's ID has no slash, so no two pairs make the same text.
    hex(format!("{customer}/{key}").as_bytes()).get(..32)?.parse().ok()
}

/// Tells whether two requests order the same: the hash of the parsed order, however it was written.
pub(crate) fn digest(order: &NewOrder) -> Result<String, Problem> {
    serde_json::to_vec(order)
        .map(|order| hex(&order))
        .map_err(|error| Problem::invalid(format!("the order cannot be stored: {error}")))
}

fn hex(input: &[u8]) -> String {
    Sha256::digest(input).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        of(&headers).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_key_is_a_string_with_or_without_quotation_marks() {
        for (value, key) in [
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (r#""a \"b\" \\""#, r#"a "b" \"#),
        ] {
            assert_eq!(read(&[value]), Ok(key.to_owned()));
        }
        for values in [
            &["\"\""][..],
            &[""],
            &["\"a"],
            &["\"a\"b"],
            &["\"a\";b"],
            &[r#""\a""#],
            &["a b"],
            &["\"ä\""],
            &[&"a".repeat(129)],
        ] {
            assert!(read(values).unwrap_err().contains("1 to 128 ASCII characters"), "{values:?}");
        }
        assert!(read(&[]).unwrap_err().contains("is missing"));
        assert!(read(&["a", "a"]).unwrap_err().contains("must occur once"));
    }

    #[test]
    fn an_id_is_of_one_customer_and_one_key() {
        let [a, b] = ["a", "b"].map(|customer| customer.parse().unwrap());
        let id = order_id(&a, "key").unwrap();
        assert_eq!(order_id(&a, "key"), Some(id.clone()));
        assert_ne!(order_id(&b, "key"), Some(id.clone()));
        assert_ne!(order_id(&a, "Key"), Some(id));
    }

    proptest! {
        #[test]
        fn any_header_is_a_key_or_an_error(value in "[ -~]{0,140}") {
            if let Ok(key) = read(&[&value]) {
                prop_assert!((1..=MAX_KEY).contains(&key.len()));
            }
        }
    }
}
