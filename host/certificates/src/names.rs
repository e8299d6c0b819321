//! The names in an X.509 certificate as text, for log lines. TLS does not need them.

use std::{
    fmt::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
};

use wasi_http_host_core::bounded;

use crate::der::{Element, OBJECT_IDENTIFIER, SEQUENCE, SET, after_issuer, element, elements, first};

/// Maximum number of bytes of a subject or of an alternative name. The rest is left out.
const MAX_NAME: usize = 256;
/// Maximum number of alternative names. Further names are left out.
const MAX_ALTERNATIVE_NAMES: usize = 8;

/// The names of a certificate's owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The subject's distinguished name in the notation of RFC 4514: `CN=client,O=Example`. It may be empty.
    pub subject: String,
    /// The alternative names (RFC 5280, 4.2.1.6), each with its kind: `DNS:name.example`, `URI:spiffe://…`,
    /// `IP:192.0.2.1`, `email:me@name.example`. Other kinds are left out.
    pub alternative: Vec<String>,
}

impl Names {
    /// Returns the names in a certificate (DER). What is not valid is left out.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let Some(fields) = after_issuer(certificate) else { return Self::default() };
        // After the issuer: validity, subject, public key, optional fields.
        let mut fields = elements(fields).skip(1);
        let subject = fields.next().filter(|subject| subject.tag == SEQUENCE);
        let subject = subject.map(|name| distinguished_name(name.content)).unwrap_or_default();
        let alternative = fields.find_map(|field| alternative_names(&field)).unwrap_or_default();
        Self { subject: bounded(&subject, MAX_NAME).to_owned(), alternative }
    }
}

/// Returns a distinguished name in the notation of RFC 4514, which begins with the last part.
fn distinguished_name(name: &[u8]) -> String {
    let parts: Vec<String> = elements(name)
        .take_while(|part| part.tag == SET)
        .map(|part| elements(part.content).filter_map(|pair| attribute(&pair)).collect::<Vec<_>>().join("+"))
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

/// Returns `TYPE=VALUE`.
fn attribute(pair: &Element<'_>) -> Option<String> {
    let (kind, value) = element(pair.content, OBJECT_IDENTIFIER)?;
    let value_der = value;
    let value = first(value)?;
    // A type without a short name has its value in hexadecimal digits (RFC 4514, 2.4).
    let text = short_name(kind).zip(text(&value));
    Some(match text {
        Some((name, text)) => format!("{name}={}", Escaped(&text)),
        None => format!("{}=#{}", Dotted(kind), Hex(value_der)),
    })
}

/// Returns the short name of an attribute's type (RFC 4514, 3).
fn short_name(kind: &[u8]) -> Option<&'static str> {
    // `2.5.4.N`, and two others.
    Some(match kind {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        _ => return None,
    })
}

/// Returns the text of a `DirectoryString` or an `IA5String`.
fn text(value: &Element<'_>) -> Option<String> {
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    const BMP: u8 = 0x1e;
    match value.tag {
        UTF8 | PRINTABLE | IA5 => std::str::from_utf8(value.content).ok().map(str::to_owned),
        // Issuers write Latin-1 in it.
        TELETEX => Some(value.content.iter().copied().map(char::from).collect()),
        BMP => {
            let (units, []) = value.content.as_chunks::<2>() else { return None };
            char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)))
                .collect::<Result<_, _>>()
                .ok()
        }
        _ => None,
    }
}

/// Returns the alternative names if `field` has the extensions of a certificate.
fn alternative_names(field: &Element<'_>) -> Option<Vec<String>> {
    const EXTENSIONS: u8 = 0xa3;
    const OCTET_STRING: u8 = 0x04;
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    if field.tag != EXTENSIONS {
        return None;
    }
    let (extensions, _) = element(field.content, SEQUENCE)?;
    let names = elements(extensions).find_map(|extension| {
        let (kind, rest) = element(extension.content, OBJECT_IDENTIFIER)?;
        // Between the two is an optional flag: critical.
        let value = elements(rest).find(|field| field.tag == OCTET_STRING)?;
        (kind == SUBJECT_ALT_NAME).then_some(value.content)
    })?;
    let (names, _) = element(names, SEQUENCE)?;
    Some(elements(names).filter_map(|name| alternative_name(&name)).take(MAX_ALTERNATIVE_NAMES).collect())
}

/// Returns an alternative name with its kind.
fn alternative_name(name: &Element<'_>) -> Option<String> {
    const EMAIL: u8 = 0x81;
    const DNS: u8 = 0x82;
    const URI: u8 = 0x86;
    const IP: u8 = 0x87;
    let written = match name.tag {
        IP => match *name.content {
            [a, b, c, d] => format!("IP:{}", Ipv4Addr::new(a, b, c, d)),
            ref bytes => format!("IP:{}", Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        },
        EMAIL | DNS | URI => {
            let kind = match name.tag {
                EMAIL => "email",
                DNS => "DNS",
                _ => "URI",
            };
            // An `IA5String` is ASCII.
            let text = std::str::from_utf8(name.content).ok().filter(|text| text.is_ascii())?;
            format!("{kind}:{text}")
        }
        _ => return None,
    };
    Some(bounded(&written, MAX_NAME).to_owned())
}

/// Displays a value with the escapes of RFC 4514, 2.4. Control characters are escaped too.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.chars().count().saturating_sub(1);
        for (at, character) in self.0.chars().enumerate() {
            match character {
                '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{character}")?,
                ' ' if at == 0 || at == last => f.write_str("\\ ")?,
                '#' if at == 0 => f.write_str("\\#")?,
                character if character.is_control() => {
                    let mut bytes = [0; 4];
                    for byte in character.encode_utf8(&mut bytes).bytes() {
                        write!(f, "\\{byte:02x}")?;
                    }
                }
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Displays an object identifier (X.690, 8.19).
struct Dotted<'a>(&'a [u8]);

impl fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut is_first) = (0u64, true);
        for byte in self.0 {
            number = number.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
            if byte & 0x80 != 0 {
                continue;
            }
            if is_first {
                let root = (number / 40).min(2);
                write!(f, "{root}.{}", number - root * 40)?;
            } else {
                write!(f, ".{number}")?;
            }
            (number, is_first) = (0, false);
        }
        Ok(())
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn made(names: &[(DnType, &str)], alternative: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = alternative;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn subject(names: &[(DnType, &str)]) -> String {
        Names::of(&made(names, Vec::new())).subject
    }

    #[test]
    fn the_subject_is_written_as_its_standard_says() {
        use DnType::{CommonName, CountryName, OrganizationName, OrganizationalUnitName};
        assert_eq!(
            subject(&[(CountryName, "DE"), (OrganizationName, "Ex, \"A\"+B"), (CommonName, "client")]),
            r#"CN=client,O=Ex\, \"A\"\+B,C=DE"#
        );
        assert_eq!(subject(&[(CommonName, " #a "), (OrganizationalUnitName, "#x")]), r"OU=\#x,CN=\ #a\ ");
        assert_eq!(subject(&[(CommonName, "a\nb\u{85}é")]), r"CN=a\0ab\c2\85é");
        assert_eq!(subject(&[(DnType::CustomDnType(vec![1, 2, 840, 5]), "x")]), "1.2.840.5=#0c0178");
        assert_eq!(subject(&[]), "");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(CommonName, DnValue::BmpString("Zoë".try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Names::of(certificate.der()).subject, "CN=Zoë");
    }

    #[test]
    fn alternative_names_have_their_kinds() {
        let names = vec![
            SanType::URI("spiffe://example/a".try_into().unwrap()),
            SanType::DnsName("name.test".try_into().unwrap()),
            SanType::Rfc822Name("me@name.test".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
        ];
        let names = Names::of(&made(&[], names));
        assert_eq!(
            names.alternative,
            [
                "URI:spiffe://example/a",
                "DNS:name.test",
                "email:me@name.test",
                "IP:192.0.2.1",
                "IP:2001:db8::1"
            ]
        );
        assert_eq!(names.subject, "");
    }

    #[test]
    fn names_are_bounded() {
        let many = (0..100).map(|n| SanType::DnsName(format!("n{n}.test").try_into().unwrap())).collect();
        let names = Names::of(&made(&[(DnType::CommonName, &"x".repeat(5_000))], many));
        assert_eq!((names.subject.len(), names.alternative.len()), (MAX_NAME, MAX_ALTERNATIVE_NAMES));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Names::of(&bytes);
        }

        #[test]
        fn a_certificate_that_is_cut_or_spoilt_is_read_without_harm(at in 0usize..500, byte: u8) {
            static MADE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                made(&[(DnType::CommonName, "a")], vec![SanType::IpAddress([192, 0, 2, 1].into())])
            });
            let mut certificate = MADE.clone();
            let _ = Names::of(certificate.get(..at.min(certificate.len())).unwrap());
            if let Some(place) = certificate.get_mut(at) {
                *place = byte;
            }
            let _ = Names::of(&certificate);
        }
    }
}
