//! The units of settings: times (`500ms`, `10s`, `2m`) and sizes (`64MiB`).

use std::{fmt, str::FromStr, time::Duration};

/// A length of time of at most a year, written as a whole number with the unit `ms`, `s`, `m` or `h`. `0` needs no
/// unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// Creates a period of `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// Creates a period of `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// Returns the period as the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = split(text);
        let n: u64 = digits
            .parse()
            .map_err(|_| format!("{text:?} is not a duration: write it as 500ms, 10s, 2m or 1h"))?;
        let millis = match unit {
            "ms" => Some(n),
            "s" => n.checked_mul(1_000),
            "m" => n.checked_mul(60_000),
            "h" => n.checked_mul(3_600_000),
            "" if n == 0 => Some(0),
            "" => return Err(format!("{text:?} has no unit: write {n}ms, {n}s, {n}m or {n}h")),
            _ => return Err(format!("{text:?} has an unknown unit {unit:?}: it may be ms, s, m or h")),
        };
        // The bound of a year keeps sums of a few periods well within the range of clocks.
        const LONGEST_MS: u64 = 365 * 24 * 3_600_000;
        millis
            .filter(|ms| *ms <= LONGEST_MS)
            .map(Self::millis)
            .ok_or_else(|| format!("{text:?} is longer than a year"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => write!(f, "0s"),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

/// A number of bytes, written without a unit, with `KiB`, `MiB` or `GiB` (powers of 1024), or with `kB`, `MB` or
/// `GB` (powers of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Creates a size of `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// Creates a size of `n` times 1024 bytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// Creates a size of `n` times 1024² bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// Returns the number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the number of bytes for use as a size in memory. A size beyond the address space becomes
    /// `usize::MAX`.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = split(text);
        let n: u64 = digits
            .parse()
            .map_err(|_| format!("{text:?} is not a size: write it as 65536, 64KiB or 16MiB"))?;
        let scale: u64 = match unit {
            "" | "B" => 1,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => {
                return Err(format!(
                    "{text:?} has an unknown unit {unit:?}: it may be B, kB, MB, GB, KiB, MiB or GiB"
                ));
            }
        };
        n.checked_mul(scale).map(Self).ok_or_else(|| format!("{text:?} does not fit into 64 bits"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "0"),
            n if n.is_multiple_of(1 << 30) => write!(f, "{}GiB", n >> 30),
            n if n.is_multiple_of(1 << 20) => write!(f, "{}MiB", n >> 20),
            n if n.is_multiple_of(1 << 10) => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

/// Splits `text` into its leading digits and the rest.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn periods() {
        let ms = |text: &str| text.parse::<Period>().map(|p| p.get().as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("10s"), Ok(10_000));
        assert_eq!(ms("2m"), Ok(120_000));
        assert_eq!(ms("1h"), Ok(3_600_000));
        assert_eq!(ms("0"), Ok(0));
        for bad in ["", "s", "10", "-1s", "1.5s", "10 s", "10sec", "99999999999999999999s", "9999999999h"] {
            assert!(ms(bad).unwrap_err().contains(&format!("{bad:?}")), "{bad} is named");
        }
    }

    #[test]
    fn sizes() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(ByteSize::get);
        assert_eq!(bytes("65536"), Ok(65_536));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(bytes("1GB"), Ok(1_000_000_000));
        for bad in ["", "MiB", "1 MiB", "1mib", "-1", "1.5MiB", "99999999999GiB"] {
            assert!(bytes(bad).unwrap_err().contains(&format!("{bad:?}")), "{bad} is named");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in 0u64..1_000_000_000, n in any::<u64>()) {
            prop_assert_eq!(Period::millis(ms).to_string().parse(), Ok(Period::millis(ms)));
            prop_assert_eq!(ByteSize::bytes(n).to_string().parse(), Ok(ByteSize::bytes(n)));
        }
    }
}
