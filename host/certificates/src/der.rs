//! Reads elements of DER (X.690). Bytes that are not valid are `None`, never a panic.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// An element of DER, and the bytes after it.
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) rest: &'a [u8],
}

/// Returns the content of the first element and the bytes after the element. `None`: the element does not have this
/// tag.
pub(crate) fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    first(der).filter(|found| found.tag == tag).map(|found| (found.content, found.rest))
}

/// Parses the first element. A length of more than four bytes is refused.
pub(crate) fn first(der: &[u8]) -> Option<Element<'_>> {
    let (&[tag, size], rest) = der.split_first_chunk()?;
    let (length, rest) = match size {
        0..=0x7f => (usize::from(size), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(size & 0x7f))?;
            let length = digits.iter().try_fold(0usize, |n, digit| {
                n.checked_mul(256).and_then(|n| n.checked_add(usize::from(*digit)))
            })?;
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

/// Returns the elements up to the end, or up to the first one that is not valid.
pub(crate) fn elements(mut der: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::from_fn(move || {
        let element = first(der)?;
        der = element.rest;
        Some(element)
    })
}

/// Returns the fields of an X.509 certificate after the issuer (RFC 5280, 4.1): validity, subject, public key,
/// extensions.
pub(crate) fn after_issuer(certificate: &[u8]) -> Option<&[u8]> {
    const VERSION: u8 = 0xa0;
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    // Version 1 of X.509 has no version field.
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // Skip the serial number, the signature algorithm and the issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields = element(fields, tag)?.1;
    }
    Some(fields)
}
