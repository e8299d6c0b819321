//! Tells what is compiled for tests only.

use syn::{Attribute, Meta, Token, punctuated::Punctuated};

/// Whether a `#[cfg(…)]` or `#[test]` among the attributes keeps the item out of every build but that of the tests.
pub(crate) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Meta>()
                    .is_ok_and(|condition| without_tests(&condition) == Some(false)))
    })
}

/// What the condition is in a build that is not for tests; `None` where that depends on something else.
fn without_tests(condition: &Meta) -> Option<bool> {
    match condition {
        Meta::Path(path) => path.is_ident("test").then_some(false),
        Meta::NameValue(_) => None,
        Meta::List(list) => {
            let parts: Vec<Option<bool>> = list
                .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .ok()?
                .iter()
                .map(without_tests)
                .collect();
            if list.path.is_ident("not") {
                parts.first().copied().flatten().map(|known| !known)
            } else if list.path.is_ident("all") {
                decided(&parts, false)
            } else {
                decided(&parts, true)
            }
        }
    }
}

/// `all` is false as soon as one part is, `any` is true as soon as one part is: `by` is that value.
fn decided(parts: &[Option<bool>], by: bool) -> Option<bool> {
    if parts.contains(&Some(by)) {
        Some(by)
    } else if parts.iter().all(Option::is_some) {
        Some(!by)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_for_tests(attribute: &str) -> bool {
        let item: syn::ItemFn = syn::parse_str(&format!("{attribute} fn f() {{}}")).unwrap();
        is_test_only(&item.attrs)
    }

    #[test]
    fn conditions_that_only_tests_meet() {
        for attribute in
            ["#[test]", "#[cfg(test)]", "#[cfg(all(unix, test))]", "#[cfg(any(test, not(not(test))))]"]
        {
            assert!(is_for_tests(attribute), "{attribute}");
        }
        for attribute in [
            "#[cfg(unix)]",
            "#[cfg(any(test, unix))]",
            "#[cfg(not(test))]",
            "#[cfg(feature = \"test\")]",
            "#[inline]",
        ] {
            assert!(!is_for_tests(attribute), "{attribute}");
        }
    }
}
