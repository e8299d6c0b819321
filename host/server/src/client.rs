//! Who sends a request: the client's address, which the socket or a trusted proxy names, and the certificate that the
//! client showed in the TLS handshake.
//!
//! A client can write any header. Therefore the host believes a header only if the connection comes from a proxy that
//! `--trusted-proxies` lists, and only what such proxies have added. Each proxy adds the address of its own client at
//! the end, so the host reads from the end, and the first address that is not a trusted proxy is the client.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use wasi_http_host_core::forwarded::{self, MAX_HOPS};

use super::{config::ForwardedBy, tls::ClientCertificate};

/// The client's address as Spin gives it to a component.
const SPIN_CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");
/// The client's certificate (RFC 9440, 2.1).
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// The certificates above the client's certificate (RFC 9440, 2.2). The host does not write it.
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that the host believes.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedProxies {
    pub(super) addresses: Vec<IpNet>,
    pub(super) header: ForwardedBy,
}

/// The sender of a request.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The address. The port is 0 if a proxy did not say it.
    pub(super) address: SocketAddr,
    spin: HeaderValue,
    forwarded: HeaderValue,
    /// The verified certificate of the connection's peer.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

impl Client {
    /// The client at `address`.
    pub(super) fn new(address: SocketAddr) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        // RFC 7239, 4 and 6: an IPv6 address is in brackets, and a colon needs quotation marks.
        let forwarded = match address {
            SocketAddr::V4(v4) if v4.port() == 0 => format!("for={}", v4.ip()),
            SocketAddr::V6(v6) if v6.port() == 0 => format!("for=\"[{}]\"", v6.ip()),
            address => format!("for=\"{address}\""),
        };
        let value = |text: &str| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { spin: value(&address.to_string()), forwarded: value(&forwarded), address, certificate: None }
    }

    /// The same client with the certificate that the connection's peer showed.
    pub(super) fn with_certificate(self, certificate: Option<Arc<ClientCertificate>>) -> Self {
        Self { certificate, ..self }
    }

    /// The client that the peer, a trusted proxy, names. The certificate stays that of the peer.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self::new(address).with_certificate(self.certificate.clone())
    }

    /// Replaces what the client says of itself.
    pub(super) fn inject(&self, headers: &mut HeaderMap) {
        headers.insert(SPIN_CLIENT_ADDR, self.spin.clone());
        headers.insert(header::FORWARDED, self.forwarded.clone());
        // RFC 9440, 4: what arrives under these names is removed, also where the host asks for no certificate.
        headers.remove(CLIENT_CERT_CHAIN);
        match &self.certificate {
            Some(certificate) => drop(headers.insert(CLIENT_CERT, certificate.header.clone())),
            None => drop(headers.remove(CLIENT_CERT)),
        }
    }
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The client that `headers` name, if `peer` is a trusted proxy. `None`: the peer itself is the client.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<SocketAddr> {
        if !self.trusts(peer.ip()) {
            return None;
        }
        let name = match self.header {
            ForwardedBy::XForwardedFor => X_FORWARDED_FOR,
            ForwardedBy::Forwarded => header::FORWARDED,
        };
        // Bytes, not text: a client may have written anything before what the proxies added.
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let hops = lines.iter().rev().flat_map(|line| match self.header {
            ForwardedBy::XForwardedFor => forwarded::x_forwarded_for(line),
            ForwardedBy::Forwarded => forwarded::forwarded(line),
        });
        let mut client = None;
        for address in hops.take(MAX_HOPS) {
            // What cannot be read has been added by a trusted proxy. What is before that, anybody may have written.
            let Some(address) = address else { break };
            client = Some(address);
            if !self.trusts(address.ip()) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use wasi_http_host_certificates::Names;

    use super::*;

    fn client(
        trusted: &[&str],
        by: ForwardedBy,
        peer: &str,
        lines: &[(&'static str, &'static str)],
    ) -> String {
        let addresses = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let proxies = TrustedProxies { addresses, header: by };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer: SocketAddr = peer.parse().unwrap();
        proxies.client(peer, &headers).map_or("peer".to_owned(), |address| address.to_string())
    }

    #[test]
    fn only_what_trusted_proxies_have_added_is_believed() {
        let by = ForwardedBy::XForwardedFor;
        let from = |trusted: &[&str], peer: &str, value: &'static str| {
            client(trusted, by, peer, &[("x-forwarded-for", value)])
        };
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(from(&[], "10.0.0.1:5", "192.0.2.1"), "peer", "nobody is trusted");
        assert_eq!(from(&proxies, "192.0.2.9:5", "192.0.2.1"), "peer", "the client writes it itself");
        assert_eq!(from(&proxies, "10.0.0.1:5", "192.0.2.1"), "192.0.2.1:0");
        assert_eq!(from(&proxies, "[::ffff:10.0.0.1]:5", "192.0.2.1"), "192.0.2.1:0");
        assert_eq!(from(&proxies, "[fd00::1]:5", "2001:db8::1"), "[2001:db8::1]:0");
        // The client wrote the first address, the proxies added the others.
        assert_eq!(from(&proxies, "10.0.0.1:5", "203.0.113.7, 192.0.2.1, 10.9.9.9"), "192.0.2.1:0");
        assert_eq!(from(&proxies, "10.0.0.1:5", "10.1.1.1, 10.9.9.9"), "10.1.1.1:0", "a client inside");
        assert_eq!(from(&proxies, "10.0.0.1:5", "203.0.113.7, unknown, 10.9.9.9"), "10.9.9.9:0");
        assert_eq!(from(&proxies, "10.0.0.1:5", "203.0.113.7, unknown"), "peer");
        assert_eq!(
            from(&proxies, "10.0.0.1:5", "é, 203.0.113.7"),
            "203.0.113.7:0",
            "a client writes any bytes"
        );
        assert_eq!(
            from(&proxies, "10.0.0.1:5", "\", 203.0.113.7"),
            "203.0.113.7:0",
            "there are no quoted strings"
        );
        let lines = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "192.0.2.1:99")];
        assert_eq!(client(&proxies, by, "10.0.0.1:5", &lines), "192.0.2.1:99", "lines are one list");
        let other = [("forwarded", "for=203.0.113.7")];
        assert_eq!(client(&proxies, by, "10.0.0.1:5", &other), "peer", "the proxies write the other header");
    }

    #[test]
    fn forwarded_is_read_by_its_standard() {
        for (value, address) in [
            ("for=192.0.2.43", "192.0.2.43:0"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60:0"),
            ("proto=https; for=\"192.0.2.60:80\"", "192.0.2.60:80"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17:0"),
            ("for=_hidden", "peer"),
            ("for=\"_SEVKISEK\", for=unknown", "peer"),
            ("proto=http", "peer"),
            ("", "peer"),
            // Separators in a quoted string are text, which a client may choose: `Host`, for example.
            ("for=203.0.113.9;host=\"a,for=198.51.100.1;b\"", "203.0.113.9:0"),
            ("host=\"a;for=198.51.100.1;b\";for=203.0.113.9", "203.0.113.9:0"),
            (r#"for=203.0.113.9;host="a\",for=198.51.100.1;b=\"""#, "203.0.113.9:0"),
            (r#"for="203.0.113.9\:80""#, "203.0.113.9:80"),
            ("for=192.0.2.1;host=\"é\"", "192.0.2.1:0"),
            ("for=é, for=192.0.2.1", "192.0.2.1:0"),
            // A client may have opened a quoted string before what the proxy added.
            ("for=\", for=203.0.113.9", "203.0.113.9:0"),
            ("\", for=203.0.113.9;host=\"a\"", "203.0.113.9:0"),
            // Without its beginning or end, a quoted string may contain anything.
            ("for=203.0.113.9;host=\"a", "peer"),
            (r#"for="203.0.113.9\""#, "peer"),
            (r#"for=203.0.113.9;x=\""#, "peer"),
            ("host=\"a;for=203.0.113.9", "peer"),
            ("for=\"203.0.113.9\"0\"\"", "peer"),
            ("for=203.0.113.9, for=10.0.0.2;host=\"a", "peer"),
        ] {
            let by = ForwardedBy::Forwarded;
            assert_eq!(
                client(&["10.0.0.0/8"], by, "10.0.0.1:5", &[("forwarded", value)]),
                address,
                "{value}"
            );
        }
    }

    #[test]
    fn a_component_has_the_address_in_both_forms() {
        for (address, spin, forwarded) in [
            ("192.0.2.1:80", "192.0.2.1:80", "for=\"192.0.2.1:80\""),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80", "for=\"192.0.2.1:80\""),
            ("192.0.2.1:0", "192.0.2.1:0", "for=192.0.2.1"),
            ("[2001:db8::1]:0", "[2001:db8::1]:0", "for=\"[2001:db8::1]\""),
            ("[2001:db8::1]:80", "[2001:db8::1]:80", "for=\"[2001:db8::1]:80\""),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("spin-client-addr", HeaderValue::from_static("203.0.113.7:1"));
            headers.append(header::FORWARDED, HeaderValue::from_static("for=203.0.113.7"));
            headers.append(header::FORWARDED, HeaderValue::from_static("for=203.0.113.8"));
            Client::new(address.parse().unwrap()).inject(&mut headers);
            assert_eq!(
                (&headers["spin-client-addr"], &headers["forwarded"]),
                (&HeaderValue::from_static(spin), &HeaderValue::from_static(forwarded))
            );
            assert_eq!(headers.len(), 2);
        }
    }

    #[test]
    fn the_certificate_is_that_of_the_connection_whoever_the_client_is() {
        let names = Names { subject: "CN=a".to_owned(), alternative: Vec::new() };
        let certificate = ClientCertificate { header: HeaderValue::from_static(":YQ==:"), names };
        let peer = Client::new("10.0.0.1:5".parse().unwrap());
        let shown = peer.clone().with_certificate(Some(Arc::new(certificate)));
        for (client, header) in [
            (peer, None),
            (shown.clone(), Some(":YQ==:")),
            (shown.at("192.0.2.1:0".parse().unwrap()), Some(":YQ==:")),
        ] {
            let mut headers = HeaderMap::new();
            for name in ["client-cert", "client-cert-chain"] {
                headers.append(name, HeaderValue::from_static(":AAAA:"));
                headers.append(name, HeaderValue::from_static(":BBBB:"));
            }
            client.inject(&mut headers);
            let values: Vec<_> = headers.get_all("client-cert").iter().collect();
            assert_eq!(values, header.as_slice());
            assert!(!headers.contains_key("client-cert-chain"));
        }
    }
}
