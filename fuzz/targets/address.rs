//! Input: 16 bytes, an IPv6 and an IPv4 address. An address that the oracle knows as internal is not global, and a policy that allows every
//! name does not permit it.
#![no_main]

use std::net::IpAddr;

use fuzz::oracle;
use libfuzzer_sys::fuzz_target;
use wasi_http_host_egress::{AllowList, Policy, Reach};

fuzz_target!(|bytes: [u8; 16]| {
    let policy = Policy::new(AllowList::parse(&["*://*:*"]).unwrap(), Vec::new());
    let target = policy.decide(&"http://name.test/".parse().unwrap()).unwrap().target;
    let v4: [u8; 4] = bytes[..4].try_into().unwrap();
    for address in [IpAddr::from(bytes), IpAddr::from(v4)] {
        if oracle::is_inside(address) {
            assert_ne!(Reach::of(address), Reach::Global, "{address}");
            assert!(policy.permits(&target, address).is_err(), "{address}");
        }
    }
});
