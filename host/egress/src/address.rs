//! The class of an IP address: public, or one of the ranges that components may not reach by default.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The class of an IP address, by the network that the address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A public address.
    Global,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918, RFC 4193, deprecated site-local).
    Private,
    /// The local link (RFC 3927). Most clouds have their metadata service in this range.
    LinkLocal,
    /// A provider's network behind carrier-grade NAT (RFC 6598).
    Shared,
    /// The metadata service of a cloud at a public address.
    Metadata,
    /// Multicast or broadcast.
    Multicast,
    /// The unspecified address: `0.0.0.0` or `::`.
    Unspecified,
    /// Reserved for documentation, benchmarks, protocols or future use.
    Reserved,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Shared => "carrier-grade NAT",
            Self::Metadata => "cloud metadata",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
        })
    }
}

impl Reach {
    /// Returns the class of `address`. For an IPv6 address that embeds an IPv4 address, the IPv4 address counts.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    /// Source: <https://www.iana.org/assignments/iana-ipv4-special-registry/>.
    fn of_v4(v4: Ipv4Addr) -> Self {
        match v4.octets() {
            [0, 0, 0, 0] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [169, 254, ..] => Self::LinkLocal,
            [100, 64..=127, ..] => Self::Shared,
            // The address of Azure's platform services. Every virtual machine in Azure can reach it.
            [168, 63, 129, 16] => Self::Metadata,
            [224..=239, ..] | [255, 255, 255, 255] => Self::Multicast,
            [0 | 240..=255, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Reserved,
            _ => Self::Global,
        }
    }

    /// Source: <https://www.iana.org/assignments/iana-ipv6-special-registry/>. Only `2000::/3` has public
    /// addresses.
    fn of_v6(v6: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
        match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // IPv4-compatible, IPv4-translated and NAT64 addresses: a gateway connects to the embedded IPv4
            // address.
            [0, 0, 0, 0, 0, 0, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Self::of_gateway(embedded(high, low)),
            [0x2002, high, low, ..] => Self::of_gateway(embedded(high, low)),
            [0x64, 0xff9b, 1, ..] => Self::Private,
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xff00..=0xffff, ..] => Self::Multicast,
            // Protocol assignments, Teredo among them, benchmarks and documentation.
            [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Reserved,
            // ISATAP: under any prefix, the interface identifier may embed an IPv4 address.
            [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, high, low] => Self::of_gateway(embedded(high, low)),
            [0x2000..=0x3fff, ..] => Self::Global,
            _ => Self::Reserved,
        }
    }

    /// The class of an IPv6 address that a gateway translates to `v4`.
    fn of_gateway(v4: Ipv4Addr) -> Self {
        Self::of_v4(v4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_is_told() {
        use Reach::{
            Global, LinkLocal, Loopback, Metadata, Multicast, Private, Reserved, Shared, Unspecified,
        };
        for (address, reach) in [
            ("140.82.121.6", Global),
            ("1.1.1.1", Global),
            ("172.15.255.255", Global),
            ("172.32.0.0", Global),
            ("100.63.255.255", Global),
            ("100.128.0.0", Global),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Reserved),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("169.254.169.254", LinkLocal),
            ("100.64.0.1", Shared),
            ("100.100.100.200", Shared),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Reserved),
            ("192.0.2.1", Reserved),
            ("198.18.0.1", Reserved),
            ("198.51.100.1", Reserved),
            ("203.0.113.1", Reserved),
            ("224.0.0.1", Multicast),
            ("255.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("2606:50c0:8000::154", Global),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:140.82.121.6", Global),
            ("::127.0.0.1", Loopback),
            ("::ffff:0:10.0.0.1", Private),
            ("64:ff9b::169.254.169.254", LinkLocal),
            ("64:ff9b::8.8.8.8", Global),
            ("64:ff9b:1::8.8.8.8", Private),
            ("2002:a9fe:a9fe::1", LinkLocal),
            ("2002:0808:0808::1", Global),
            ("2001:0:53aa:64c::1", Reserved),
            ("2001:db8::1", Reserved),
            ("3fff::1", Reserved),
            ("2a00:1450:4001::5efe:10.0.0.1", Private),
            ("fd00:ec2::254", Private),
            ("fec0::1", Private),
            ("fe80::1", LinkLocal),
            ("ff02::1", Multicast),
            ("100::1", Reserved),
            ("4000::1", Reserved),
        ] {
            assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
        }
    }

    proptest! {
        /// An IPv4 address that is not public does not become public when an IPv6 address embeds it.
        #[test]
        fn embedding_hides_nothing(v4 in any::<u32>().prop_map(Ipv4Addr::from)) {
            let plain = Reach::of(v4.into());
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for v6 in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, high, low),
            ] {
                prop_assert_eq!(Reach::of(v6.into()), plain, "{}", v6);
            }
            let compatible = Reach::of(Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low).into());
            prop_assert!(compatible == plain || u32::from(v4) <= 1, "::{} is {}", v4, compatible);
        }
    }
}
