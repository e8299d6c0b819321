//! What GitHub last said about its limits, as the metrics show it.

/// What GitHub last said about its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GitHubLimits {
    /// How many requests are left in the rate-limit window; `None` if GitHub did not say it.
    pub remaining: Option<u64>,
    /// When GitHub ends the API version, in seconds since the Unix epoch; `None` if GitHub named no date.
    pub sunset: Option<u64>,
}

impl GitHubLimits {
    /// Stands for `None`.
    const UNKNOWN: u64 = u64::MAX;

    /// The stored form.
    #[must_use]
    pub fn encode(self) -> [u8; 16] {
        let mut value = [0; 16];
        for (field, number) in value.chunks_exact_mut(8).zip([self.remaining, self.sunset]) {
            field.copy_from_slice(&number.unwrap_or(Self::UNKNOWN).to_le_bytes());
        }
        value
    }

    /// The limits whose stored form is `value`; `None` if `value` has another form.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (remaining, sunset) = value.split_at_checked(8)?;
        let known = |bytes: &[u8]| {
            let number = u64::from_le_bytes(bytes.try_into().ok()?);
            Some((number != Self::UNKNOWN).then_some(number))
        };
        Some(Self { remaining: known(remaining)?, sunset: known(sunset)? })
    }
}

#[cfg(test)]
mod tests {
    use super::GitHubLimits;

    #[test]
    fn each_form_comes_back_and_others_are_refused() {
        for remaining in [None, Some(0), Some(57)] {
            for sunset in [None, Some(1_836_259_200)] {
                let limits = GitHubLimits { remaining, sunset };
                assert_eq!(GitHubLimits::decode(&limits.encode()), Some(limits));
            }
        }
        for length in [0, 7, 8, 15, 17] {
            assert_eq!(GitHubLimits::decode(&vec![0; length]), None, "{length}");
        }
    }
}
