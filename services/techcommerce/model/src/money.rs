//! Amounts of money: integers in the currency's minor unit, never fractions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The largest amount, in minor units. Sums are checked against the same bound, which JSON's numbers hold exactly.
pub const MAX_AMOUNT: u64 = 1_000_000_000_000;

/// The currencies of ISO 4217 by their number of decimal places.
const PLACES: [(&str, usize); 4] = [
    ("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF", 0),
    ("BHD IQD JOD KWD LYD OMR TND", 3),
    ("CLF UYW", 4),
    (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP \
         CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR \
         IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN \
         NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP \
         STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG",
        2,
    ),
];

/// A currency of ISO 4217, by its three letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: [u8; 3],
    places: u8,
}

/// A text is no currency of ISO 4217.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCurrency;

impl fmt::Display for InvalidCurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a currency must be a code of ISO 4217, such as EUR")
    }
}

impl std::error::Error for InvalidCurrency {}

impl Currency {
    /// The three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        let code = <[u8; 3]>::try_from(text.as_bytes()).map_err(|_| InvalidCurrency)?;
        let places = PLACES.iter().find(|(codes, _)| codes.split(' ').any(|known| known == text));
        let places = places.and_then(|(_, places)| u8::try_from(*places).ok()).ok_or(InvalidCurrency)?;
        Ok(Self { code, places })
    }
}

impl TryFrom<String> for Currency {
    type Error = InvalidCurrency;

    fn try_from(text: String) -> Result<Self, InvalidCurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// In the currency's minor unit: cents, where the currency is EUR.
    pub amount: u64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// This amount `count` times; `None` if that is more than [`MAX_AMOUNT`].
    #[must_use]
    pub fn times(self, count: u32) -> Option<Self> {
        bounded(self.amount.checked_mul(u64::from(count))?, self.currency)
    }

    /// The sum; `None` if the currencies differ, or the sum is more than [`MAX_AMOUNT`].
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        bounded(self.amount.checked_add(other.amount)?, self.currency)
    }
}

fn bounded(amount: u64, currency: Currency) -> Option<Money> {
    (amount <= MAX_AMOUNT).then_some(Money { amount, currency })
}

/// With the currency's decimal places: `129.99 EUR`, `1500 JPY`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.currency.places);
        let digits = format!("{:0>width$}", self.amount, width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let point = if places == 0 { "" } else { "." };
        write!(f, "{whole}{point}{fraction} {}", self.currency.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(amount: u64, currency: &str) -> Money {
        Money { amount, currency: currency.parse().unwrap() }
    }

    #[test]
    fn an_amount_shows_the_places_of_its_currency() {
        for (amount, currency, text) in [
            (12_999, "EUR", "129.99 EUR"),
            (5, "USD", "0.05 USD"),
            (0, "GBP", "0.00 GBP"),
            (1500, "JPY", "1500 JPY"),
            (1, "KWD", "0.001 KWD"),
            (12_345, "CLF", "1.2345 CLF"),
        ] {
            assert_eq!(money(amount, currency).to_string(), text);
        }
    }

    #[test]
    fn a_currency_is_one_of_iso_4217() {
        for bad in ["", "EU", "eur", "EURO", "XYZ", "E R", "R E", "€"] {
            assert_eq!(bad.parse::<Currency>(), Err(InvalidCurrency), "{bad:?}");
        }
        assert_eq!(serde_json::to_string(&money(5, "EUR")).unwrap(), r#"{"amount":5,"currency":"EUR"}"#);
        assert!(serde_json::from_str::<Money>(r#"{"amount":0.5,"currency":"EUR"}"#).is_err());
        assert!(serde_json::from_str::<Money>(r#"{"amount":-5,"currency":"EUR"}"#).is_err());
    }

    #[test]
    fn sums_stay_in_one_currency_and_in_bounds() {
        assert_eq!(money(3, "EUR").plus(money(4, "EUR")), Some(money(7, "EUR")));
        assert_eq!(money(3, "EUR").plus(money(4, "USD")), None);
        assert_eq!(money(MAX_AMOUNT, "EUR").plus(money(1, "EUR")), None);
        assert_eq!(money(u64::MAX, "EUR").plus(money(1, "EUR")), None);
        assert_eq!(money(u64::MAX, "EUR").times(2), None);
    }

    proptest! {
        #[test]
        fn arithmetic_is_exact_or_refused(a in any::<u64>(), b in any::<u64>(), count in any::<u32>()) {
            let sum = u128::from(a) + u128::from(b);
            let expected = (sum <= u128::from(MAX_AMOUNT)).then_some(sum);
            prop_assert_eq!(money(a, "EUR").plus(money(b, "EUR")).map(|sum| u128::from(sum.amount)), expected);
            let product = u128::from(a) * u128::from(count);
            let expected = (product <= u128::from(MAX_AMOUNT)).then_some(product);
            prop_assert_eq!(money(a, "EUR").times(count).map(|product| u128::from(product.amount)), expected);
        }

        #[test]
        fn what_is_shown_is_the_amount(amount in 0..=MAX_AMOUNT) {
            let digits: String = money(amount, "EUR").to_string().chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(digits.parse::<u64>().unwrap(), amount);
        }
    }
}
