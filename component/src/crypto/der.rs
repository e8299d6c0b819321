//! RSA private keys in DER (X.690), in the two forms that PEM files have.

/// The tags of the types that occur.
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// The content of an `AlgorithmIdentifier` for RSA: `rsaEncryption` (RFC 8017, A.1) and its parameters, NULL.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The numbers of an RSA private key that a signature needs, big-endian, without zeros in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers<'a> {
    /// The modulus n.
    pub(super) modulus: &'a [u8],
    /// The public exponent e.
    pub(super) public: &'a [u8],
    /// The private exponent d.
    pub(super) private: &'a [u8],
}

/// Reads `PrivateKeyInfo` (PKCS#8, RFC 5208); `None` if it holds something other than an RSA key.
pub(super) fn pkcs8(der: &[u8]) -> Option<Numbers<'_>> {
    let mut info = Reader(Reader(der).element(SEQUENCE)?);
    let version = info.element(INTEGER)?;
    let algorithm = info.element(SEQUENCE)?;
    let key = info.element(OCTET_STRING)?;
    pkcs1(key).filter(|_| matches!(version, [0 | 1]) && algorithm == RSA)
}

/// Reads `RSAPrivateKey` (PKCS#1, RFC 8017, A.1.2); `None` if it has more than two primes.
pub(super) fn pkcs1(der: &[u8]) -> Option<Numbers<'_>> {
    let mut key = Reader(Reader(der).element(SEQUENCE)?);
    let version = key.element(INTEGER)?;
    let numbers = Numbers { modulus: key.number()?, public: key.number()?, private: key.number()? };
    (version == [0]).then_some(numbers)
}

/// The part of a sequence that is not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, which must have this tag and at most 65,535 bytes.
    fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, length], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (length.into(), rest),
            0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
            0x82 => rest
                .split_first_chunk()
                .map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (found == tag).then_some(content)
    }

    /// The next element, a positive number.
    fn number(&mut self) -> Option<&'a [u8]> {
        let number = self.element(INTEGER)?;
        let start = number.iter().position(|byte| *byte != 0)?;
        let is_negative = number.first().is_some_and(|byte| *byte > 0x7f);
        number.get(start..).filter(|_| !is_negative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &[u8] = &[0x30, 13, 2, 1, 0, 2, 2, 0, 0xaf, 2, 1, 3, 2, 1, 7];

    #[test]
    fn both_forms_hold_the_same_numbers() {
        let numbers = Numbers { modulus: &[0xaf], public: &[3], private: &[7] };
        assert_eq!(pkcs1(KEY), Some(numbers));
        let algorithm = [&[SEQUENCE, 13], RSA].concat();
        let inner = [&[INTEGER, 1, 0], algorithm.as_slice(), &[OCTET_STRING, 15], KEY].concat();
        let length = u8::try_from(inner.len()).unwrap();
        assert_eq!(pkcs8(&[&[SEQUENCE, length], inner.as_slice()].concat()), Some(numbers));
        let other = inner.iter().map(|byte| if *byte == 0x86 { 0x87 } else { *byte });
        assert_eq!(pkcs8(&[SEQUENCE, length].into_iter().chain(other).collect::<Vec<_>>()), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for cut in 0..KEY.len() {
            assert_eq!(pkcs1(&KEY[..cut]), None, "{cut}");
        }
        for (at, byte) in [(0, 0x31), (1, 0x80), (1, 0x84), (4, 1), (7, 0xff), (8, 0)] {
            let mut key = KEY.to_vec();
            key[at] = byte;
            assert_eq!(pkcs1(&key), None, "{at} {byte}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (pkcs1(&bytes), pkcs8(&bytes));
        }
    }
}
