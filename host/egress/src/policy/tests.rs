//! Tests of allow-lists and of the policy's decisions.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn policy(entries: &[&str]) -> Policy {
    Policy::new(AllowList::parse(entries).unwrap(), Vec::new())
}

fn allows(policy: &Policy, uri: &str) -> bool {
    policy.decide(&uri.parse().unwrap()).is_ok()
}

#[test]
fn nothing_is_allowed_by_default() {
    assert!(!allows(&Policy::default(), "https://api.github.com/"));
}

#[test]
fn an_entry_allows_its_scheme_host_and_port() {
    let one = policy(&["https://api.github.com"]);
    for uri in ["https://api.github.com/users/x", "https://API.github.com./", "https://api.github.com:443/"] {
        assert!(allows(&one, uri), "{uri}");
    }
    for uri in [
        "http://api.github.com/",
        "http://api.github.com:443/",
        "https://api.github.com:8443/",
        "https://github.com/",
        "https://xapi.github.com/",
        "https://api.github.com.evil.example/",
        "https://api.github.community/",
    ] {
        assert!(!allows(&one, uri), "{uri}");
    }
}

#[test]
fn localhost_is_the_one_name_that_lists_an_address() {
    let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
    let private: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
    for (entry, address, permitted) in [
        ("http://localhost:8099", loopback, true),
        ("http://localhost:8099", "::1".parse().unwrap(), true),
        ("http://localhost:8099", "::ffff:127.0.0.1".parse().unwrap(), true),
        ("http://localhost:8099", private, false),
        ("http://localhost:8098", loopback, false),
        ("http://*:8099", loopback, false),
    ] {
        let policy = policy(&[entry]);
        let target = Target::of(&"http://LocalHost.:8099/".parse().unwrap()).unwrap();
        assert_eq!(policy.permits(&target, address).is_ok(), permitted, "{entry} and {address}");
    }
    let policy = policy(&["http://localhost.example:8099"]);
    let target = Target::of(&"http://localhost.example:8099/".parse().unwrap()).unwrap();
    assert!(policy.permits(&target, loopback).is_err());
}

#[test]
fn patterns() {
    for (entry, yes, no) in [
        ("*://example.com:*", "http://example.com:81/", "http://a.example.com/"),
        ("https://*.example.com", "https://a.b.example.com/", "https://example.com/"),
        ("https://*.example.com", "https://a.example.com/", "https://badexample.com/"),
        ("http://example.com:8000..8002", "http://example.com:8001/", "http://example.com:8002/"),
        ("https://*", "https://anything.example/", "https://anything.example:444/"),
        ("*://*:*", "http://anything.example:1/", "http://127.0.0.1/"),
        ("https://*:*", "https://8.8.8.8/", "https://10.0.0.1/"),
        ("http://127.0.0.1:8099", "http://127.0.0.1:8099/", "http://127.0.0.2:8099/"),
        ("http://127.0.0.1:8099", "http://0x7f.1:8099/", "http://127.0.0.1:8098/"),
        ("http://127.0.0.1:8099", "http://[::ffff:127.0.0.1]:8099/", "http://localhost:8098/"),
        ("http://10.0.0.0/8", "http://10.1.2.3/", "http://11.0.0.1/"),
        ("http://10.9.9.9/8:8080", "http://10.1.2.3:8080/", "http://10.1.2.3/"),
        ("http://[fd00::]/8:80", "http://[fd12::1]/", "http://[fe80::1]/"),
        ("http://[::1]:8099/", "http://[::1]:8099/", "http://[::2]:8099/"),
        ("https://bücher.example", "https://xn--bcher-kva.example/", "https://bucher.example/"),
        ("HTTPS://Example.COM/", "https://example.com/", "https://example.com:80/"),
    ] {
        let policy = policy(&[entry]);
        assert!(allows(&policy, yes), "{entry} allows {yes}");
        assert!(!allows(&policy, no), "{entry} does not allow {no}");
    }
}

#[test]
fn what_is_no_entry_is_named() {
    for entry in [
        "",
        "example.com",
        "example.com:80",
        "*://example.com",
        "insecure:allow-all",
        "https://example.com/path",
        "https://exa*mple.com",
        "https://*.*.example.com",
        "https://*.10.0.0.1",
        "https://example.com:0",
        "https://example.com:+443",
        "https://example.com:+80..90",
        "https://example.com:x",
        "https://example.com:90..80",
        "https://example.com:70000",
        "https://",
        "https:///",
        "https://:443",
        "https://10.0.0.0/33",
        "https://exam%70le.com",
        "{http,https}://example.com",
    ] {
        let error = AllowList::parse(&[entry]).unwrap_err();
        assert!(error.to_string().contains(&format!("{entry:?}")), "{error}");
    }
}

#[test]
fn a_password_in_an_entry_is_not_repeated() {
    for entry in ["https://me:hush@example.com", "https://hush@example.com:443", "me:hush@example.com"] {
        let error = AllowList::parse(&[entry]).unwrap_err().to_string();
        assert!(error.contains("…@example.com") && !error.contains("hush"), "{error}");
    }
    let list = AllowList::parse(&["redis://:hush@cache:6379"]).unwrap();
    assert_eq!(list.unsupported(), ["redis://…@cache:6379"]);
}

#[test]
fn what_has_no_use_here_is_kept_apart() {
    let entries = ["redis://127.0.0.1:6379", "http://self", "https://other.spin.internal"];
    let list = AllowList::parse(&entries).unwrap();
    assert_eq!(list.unsupported(), entries);
    assert!(!allows(&Policy::new(list, Vec::new()), "http://other.spin.internal/"));
}

#[test]
fn a_name_does_not_open_what_it_resolves_to() {
    let named = policy(&["http://internal.example:*", "http://localhost:*", "*://*:*"]);
    let target = named.decide(&"http://internal.example/".parse().unwrap()).unwrap().target;
    for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:10.0.0.1"] {
        let refused = named.permits(&target, address.parse().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("internal.example"), "{refused}");
    }
    assert_eq!(named.permits(&target, "140.82.121.6".parse().unwrap()), Ok(()));
}

#[test]
fn a_listed_address_is_open_to_names_on_its_port() {
    let policy = policy(&["http://internal.example:*", "http://10.0.0.0/8:8080"]);
    let target = |uri: &str| policy.decide(&uri.parse().unwrap()).unwrap().target;
    let address = "10.0.0.1".parse().unwrap();
    assert!(policy.permits(&target("http://internal.example:8080/"), address).is_ok());
    assert!(policy.permits(&target("http://internal.example/"), address).is_err());
}

#[test]
fn the_hosts_networks_open_addresses_and_no_names() {
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    let policy = Policy::new(AllowList::parse(&["http://internal.example"]).unwrap(), networks);
    let target = policy.decide(&"http://internal.example/".parse().unwrap()).unwrap().target;
    assert!(policy.permits(&target, "10.0.0.1".parse().unwrap()).is_ok());
    assert!(policy.permits(&target, "::ffff:10.0.0.1".parse().unwrap()).is_ok());
    assert!(policy.permits(&target, "192.168.0.1".parse().unwrap()).is_err());
    assert!(!allows(&policy, "http://10.0.0.1/"), "not listed by the component");
}

/// The ways to write an IPv4 address that some resolver understands.
fn spellings(v4: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = v4.octets();
    let n = u32::from(v4);
    let last = n & 0x00ff_ffff;
    vec![
        v4.to_string(),
        format!("{v4}."),
        n.to_string(),
        format!("{n:#x}"),
        format!("0{n:o}"),
        format!("{a}.{last}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("[::ffff:{v4}]"),
        format!("[::ffff:{:x}:{:x}]", n >> 16, n & 0xffff),
        format!("[64:ff9b::{v4}]"),
        format!("[2002:{:x}:{:x}::]", n >> 16, n & 0xffff),
    ]
}

fn inner() -> impl Strategy<Value = Ipv4Addr> {
    let within = |a: [u8; 4], bits: u32| {
        let mask = u32::MAX >> bits;
        any::<u32>().prop_map(move |n| Ipv4Addr::from(u32::from_be_bytes(a) | (n & mask)))
    };
    prop_oneof![
        within([10, 0, 0, 0], 8),
        within([127, 0, 0, 0], 8),
        within([169, 254, 0, 0], 16),
        within([172, 16, 0, 0], 12),
        within([192, 168, 0, 0], 16),
        within([100, 64, 0, 0], 10),
        within([224, 0, 0, 0], 3),
        within([0, 0, 0, 0], 8),
    ]
}

proptest! {
    /// A wildcard does not allow an address that is not public, however the address is written.
    #[test]
    fn no_spelling_gets_inside(v4 in inner(), port in 1..=u16::MAX) {
        let policy = policy(&["*://*:*"]);
        for host in spellings(v4) {
            let uri = format!("http://{host}:{port}/");
            prop_assert!(!allows(&policy, &uri), "{}", uri);
        }
    }

    /// A name that is not listed stays denied, whatever surrounds a listed name in the URL.
    #[test]
    fn a_lookalike_is_another_host(before in "[a-z0-9.-]{0,8}", after in "[a-z0-9.@:-]{0,8}") {
        let policy = policy(&["https://api.github.com"]);
        if let Ok(uri) = format!("https://{before}api.github.com{after}/").parse()
            && let Ok(allowed) = policy.decide(&uri)
        {
            prop_assert_eq!(allowed.target.to_string(), "https://api.github.com");
        }
    }

    #[test]
    fn any_text_is_an_entry_or_an_error(entry in "\\PC{0,40}") {
        let _ = AllowList::parse(&[entry]);
    }

    #[test]
    fn anything_near_an_entry_is_an_entry_or_an_error(entry in "(http|https|\\*)://[a-z0-9.*:/\\[\\]@-]{0,30}") {
        let _ = AllowList::parse(&[entry]);
    }
}

#[test]
fn components_are_listed_by_their_names_and_by_no_other_pattern() {
    let permits = |entries: &[&str], id| {
        Policy::new(AllowList::parse(entries).unwrap(), Vec::new()).permits_component(id)
    };
    assert!(
        permits(&["http://back.spin.internal"], "back") && permits(&["http://back.spin.internal/"], "Back")
    );
    assert!(permits(&["http://*.spin.internal"], "back"));
    for entry in ["http://other.spin.internal", "http://*:*", "*://*:*", "https://back.spin.internal"] {
        assert!(!permits(&[entry], "back"), "{entry}");
    }
}
