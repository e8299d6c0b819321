//! Reads the expiry time of an X.509 certificate. TLS does not need this time, but the operator does.

use crate::der::{SEQUENCE, after_issuer, element, first};

/// Returns the end of a certificate's validity in seconds since 1970 (RFC 5280, 4.1.2.5). `None`: the bytes are not
/// a valid certificate.
pub(crate) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (validity, _) = element(after_issuer(certificate)?, SEQUENCE)?;
    let after_not_before = first(validity)?.rest;
    let not_after = first(after_not_before)?;
    time(not_after.tag, not_after.content)
}

/// Parses a `UTCTime` (years from 1950 to 2049) or a `GeneralizedTime`, both in UTC with seconds.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = text.strip_suffix(b"Z").filter(|text| text.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year);
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year), rest)
        }
        _ => return None,
    };
    let fields: &[u8; 10] = rest.try_into().ok()?;
    let mut pairs = fields.chunks_exact(2).map(number);
    let mut next = |least, most| pairs.next().filter(|n| (least..=most).contains(n));
    let (month, day) = (next(1, 12)?, next(1, 31)?);
    let (hour, minute, second) = (next(0, 23)?, next(0, 59)?, next(0, 60)?);
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Returns the number of days from 1970 to a Gregorian date. The calculation uses years that begin in March, so
/// that a leap day is the last day of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(["name.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificates_end_is_found_in_either_notation() {
        assert_eq!(not_after(&made((2031, 2, 28))), Some(1_930_003_200));
        // From 2050 on, the notation has years of four digits.
        assert_eq!(not_after(&made((2100, 3, 1))), Some(4_107_542_400));
        assert_eq!(time(0x17, b"700101000000Z"), Some(0));
        assert_eq!(time(0x17, b"000229235959Z"), Some(951_868_799));
        assert_eq!(time(0x18, b"20240301000000Z"), Some(1_709_251_200));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            &b""[..],
            b"Z",
            b"700101000000",
            b"701301000000Z",
            b"70010100000Z",
            b"7001010000000Z",
            b"70x101000000Z",
        ] {
            assert_eq!(time(0x17, text), None, "{:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(time(0x0c, b"700101000000Z"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            not_after(&bytes);
        }

        #[test]
        fn a_certificate_that_is_cut_or_spoilt_is_read_without_harm(at in 0usize..300, byte: u8) {
            static MADE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| made((2031, 2, 28)));
            let mut certificate = MADE.clone();
            not_after(certificate.get(..at.min(certificate.len())).unwrap());
            if let Some(place) = certificate.get_mut(at) {
                *place = byte;
            }
            not_after(&certificate);
        }
    }
}
