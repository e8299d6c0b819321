//! The addresses that proxies write into a request, in `Forwarded` (RFC 7239) and `X-Forwarded-For`, and the proxies that
//! `CDN-Loop` (RFC 8586) names.
//!
//! A proxy writes at the end. A client may have written any bytes before that, which must not change how the end reads.

use std::net::{IpAddr, SocketAddr};

/// The most addresses of a header that the host reads.
pub const MAX_HOPS: usize = 32;

/// The last [`MAX_HOPS`] addresses of a line of `X-Forwarded-For`, from its end. `None` for what is no address.
#[must_use]
pub fn x_forwarded_for(line: &[u8]) -> Vec<Option<SocketAddr>> {
    line.rsplit(|byte| *byte == b',').take(MAX_HOPS).map(|hop| text(hop).and_then(node)).collect()
}

/// The addresses of the last [`MAX_HOPS`] elements of a line of `Forwarded`, from its end. `None` for an element without
/// an address. The port is 0 if an element has none.
#[must_use]
pub fn forwarded(line: &[u8]) -> Vec<Option<SocketAddr>> {
    split_unquoted(line, b',').0.into_iter().map(forwarded_for).collect()
}

/// How often a line of `CDN-Loop` names the proxy `id`.
#[must_use]
pub fn cdn_loop_passes(line: &[u8], id: &str) -> usize {
    let infos = line.split(|byte| *byte == b',');
    let ids = infos.filter_map(|info| info.split(|byte| *byte == b';').next()).map(<[u8]>::trim_ascii);
    ids.filter(|named| *named == id.as_bytes()).count()
}

/// The node of `for=` in one element of `Forwarded`. `None` if there is none, or if a quoted string has no end.
fn forwarded_for(element: &[u8]) -> Option<SocketAddr> {
    let (pairs, is_open) = split_unquoted(element, b';');
    if is_open {
        return None;
    }
    let value = pairs.into_iter().rev().find_map(|pair| {
        let (name, value) = text(pair)?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    })?;
    node(&unquoted(value)?)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(str::trim)
}

/// The last [`MAX_HOPS`] parts of `text` between the separators that are not in a quoted string (RFC 9110, 5.6.4), from the
/// end; and whether a quoted string has no beginning or no end.
///
/// Quoted strings are recognised from the end, where the trusted proxies wrote: a client may have written a quotation mark
/// without its partner before that.
fn split_unquoted(text: &[u8], separator: u8) -> (Vec<&[u8]>, bool) {
    let (mut parts, mut rest, mut is_quoted) = (Vec::new(), text, false);
    for (at, byte) in text.iter().enumerate().rev() {
        let Some((before, from_here)) = rest.split_at_checked(at) else { continue };
        // A mark that ends a quoted string is never escaped.
        let is_escaped =
            || is_quoted && before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        if *byte == b'"' && !is_escaped() {
            is_quoted = !is_quoted;
        } else if *byte == separator && !is_quoted {
            parts.extend(from_here.get(1..));
            rest = before;
            if parts.len() == MAX_HOPS {
                return (parts, false);
            }
        }
    }
    parts.push(rest);
    (parts, is_quoted)
}

/// The text of a token or of a quoted string. `None` if the text is neither.
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut characters = quoted.strip_suffix('"')?.chars();
    let mut text = String::with_capacity(quoted.len());
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => characters.next()?,
            '"' => return None,
            other => other,
        });
    }
    Some(text)
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
fn node(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
    let address = ip.or_else(|| text.parse().ok())?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The fuzz target `forwarded` checks the same with the bytes that it finds.
        #[test]
        fn what_a_proxy_adds_reads_as_it_was_written_whatever_was_there_before(
            written in prop::collection::vec(prop_oneof![
                Just(b'"'), Just(b'\\'), Just(b','), Just(b';'), Just(b'='), any::<u8>()
            ], 0..60),
        ) {
            let with = |added: &str| [&written[..], b", ", added.as_bytes()].concat();
            let added = Some("192.0.2.1:80".parse().unwrap());
            let quoted = forwarded(&with(r#"by="_a, \"b"; For="192.0.2.1:80";proto=https"#));
            let listed = x_forwarded_for(&with("192.0.2.1:80"));
            for (read, before) in [(quoted, forwarded(&written)), (listed, x_forwarded_for(&written))] {
                prop_assert_eq!(read[0], added);
                prop_assert_eq!(&read[1..], &before[..before.len().min(MAX_HOPS - 1)]);
            }
            prop_assert_eq!(cdn_loop_passes(&with("a-host"), "a-host"), cdn_loop_passes(&written, "a-host") + 1);
        }
    }
}
