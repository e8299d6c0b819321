//! The widest private address ranges that the flags of a host may open.

use std::{fmt, str::FromStr};

use ipnet::IpNet;

/// No range at all.
const NONE: &str = "none";

/// Ranges that contain every range that the host opens. The operator of a node sets them for all pods (the shim's
/// `WASI_HTTP_SHIM_OUTBOUND_CIDR_CEILING`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrCeiling(Vec<IpNet>);

impl CidrCeiling {
    /// The first range that none of the ceiling's ranges contains.
    pub(crate) fn exceeded_by<'a>(&self, opened: &'a [IpNet]) -> Option<&'a IpNet> {
        opened.iter().find(|opened| !self.0.iter().any(|range| range.contains(*opened)))
    }
}

impl FromStr for CidrCeiling {
    type Err = String;

    /// Parses ranges with commas between them, or `none`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NONE {
            return Ok(Self(Vec::new()));
        }
        let range = |part: &str| {
            let part = part.trim();
            part.parse()
                .map_err(|_| format!("'{part}': want ranges such as 10.0.0.0/8,fd00::/8, or '{NONE}'"))
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for CidrCeiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [] => f.write_str(NONE),
            ranges => f.write_str(&ranges.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceeded(ceiling: &str, opened: &[&str]) -> Option<String> {
        let opened: Vec<IpNet> = opened.iter().map(|range| range.parse().unwrap()).collect();
        ceiling.parse::<CidrCeiling>().unwrap().exceeded_by(&opened).map(IpNet::to_string)
    }

    #[test]
    fn a_range_must_lie_within_one_range_of_the_ceiling() {
        assert_eq!(exceeded("10.0.0.0/8,fd00::/8", &["10.1.0.0/16", "fd00:1::/32", "10.0.0.0/8"]), None);
        assert_eq!(exceeded("10.0.0.0/8", &["10.1.0.0/16", "0.0.0.0/0"]).unwrap(), "0.0.0.0/0");
        assert_eq!(exceeded("10.0.0.0/8", &["169.254.169.254/32"]).unwrap(), "169.254.169.254/32");
        // IPv4 in IPv6 is not in the range of IPv4.
        assert_eq!(exceeded("10.0.0.0/8", &["::ffff:10.0.0.0/104"]).unwrap(), "::ffff:10.0.0.0/104");
        assert_eq!(exceeded("none", &[]), None);
        assert_eq!(exceeded("none", &["10.0.0.0/8"]).unwrap(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_not_a_range_is_named() {
        for text in ["", "10.0.0.0", "10.0.0.0/8,", "all", "10.0.0.0/33"] {
            let error = text.parse::<CidrCeiling>().unwrap_err();
            assert!(error.contains("want ranges such as"), "{text}: {error}");
        }
        for text in ["none", "10.0.0.0/8,fd00::/8"] {
            assert_eq!(text.parse::<CidrCeiling>().unwrap().to_string(), text);
        }
    }
}
