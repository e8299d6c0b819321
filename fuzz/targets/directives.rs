//! Input: lines of `Cache-Control`, which are also read as `CDN-Cache-Control`. A directive that forbids is never lost, an
//! argument that is not valid never makes a response fresh, and what was read reads as itself once it is written down.
#![no_main]

use fuzz::fields::{naive_members, values};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use wasi_http_host_cache::{
    directives::{Directives, MAX_SECONDS},
    targeted::{Applicable, CDN_CACHE_CONTROL},
};

/// The most field names in arguments.
const MAX_FIELDS: usize = 32;

/// The directives as the standard writes them.
fn written(directives: &Directives) -> HeaderValue {
    let flags = [
        ("no-store", directives.no_store),
        ("no-cache", directives.no_cache),
        ("private", directives.private),
        ("public", directives.public),
        ("must-revalidate", directives.must_revalidate),
        ("proxy-revalidate", directives.proxy_revalidate),
        ("must-understand", directives.must_understand),
        ("only-if-cached", directives.only_if_cached),
    ];
    let times = [
        ("max-age", directives.max_age),
        ("s-maxage", directives.s_maxage),
        ("stale-while-revalidate", directives.stale_while_revalidate),
        ("stale-if-error", directives.stale_if_error),
        ("max-stale", directives.max_stale),
        ("min-fresh", directives.min_fresh),
    ];
    let flags = flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (*name).to_owned());
    let times = times.iter().filter_map(|(name, seconds)| seconds.map(|seconds| format!("{name}={seconds}")));
    let names: Vec<_> = directives.unstored_fields.iter().map(http::HeaderName::as_str).collect();
    let names = (!names.is_empty()).then(|| format!("private=\"{}\"", names.join(", ")));
    HeaderValue::try_from(flags.chain(times).chain(names).collect::<Vec<_>>().join(", ")).expect("plain text")
}

/// Whether each directive of `one` that restricts is one of `both`, too.
fn restricts(both: &Directives, one: &Directives) -> bool {
    let less =
        |both: Option<u64>, one: Option<u64>| one.is_none_or(|one| both.is_some_and(|both| both <= one));
    let kept = |both: bool, one: bool| both || !one;
    kept(both.no_store, one.no_store)
        && kept(both.no_cache, one.no_cache)
        && kept(both.private, one.private)
        && kept(both.must_revalidate, one.must_revalidate)
        && kept(both.proxy_revalidate, one.proxy_revalidate)
        && less(both.max_age, one.max_age)
        && less(both.s_maxage, one.s_maxage)
        && less(both.stale_while_revalidate, one.stale_while_revalidate)
        && less(both.stale_if_error, one.stale_if_error)
        && less(both.max_stale, one.max_stale)
        && both.min_fresh >= one.min_fresh
}

fn check_bounds(directives: &Directives) {
    let times = [
        directives.max_age,
        directives.s_maxage,
        directives.stale_while_revalidate,
        directives.stale_if_error,
        directives.max_stale,
        directives.min_fresh,
    ];
    assert!(times.into_iter().flatten().all(|seconds| seconds <= MAX_SECONDS), "{directives:?}");
    assert!(directives.unstored_fields.len() <= MAX_FIELDS, "{directives:?}");
    assert_eq!(&Directives::parse([&written(directives)]), directives);
}

/// What a reader finds in a line that knows nothing of quoted strings.
fn check_forbidding(value: &HeaderValue, directives: &Directives) {
    let line = value.as_bytes();
    // A quoted string may hide a directive, unless the string has no end: then the line may have any directive.
    let mut quotes = 0;
    let mut is_escaped = false;
    for byte in line {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if quotes % 2 == 1 => is_escaped = true,
            b'"' => quotes += 1,
            _ => {}
        }
    }
    if quotes % 2 == 1 {
        assert!(directives.no_store, "{value:?}");
    }
    if quotes > 0 {
        return;
    }
    for member in naive_members(line) {
        let name = member.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        match name {
            b"no-store" => assert!(directives.no_store, "{value:?}"),
            b"private" => assert!(directives.private || !directives.unstored_fields.is_empty(), "{value:?}"),
            b"no-cache" => {
                assert!(directives.no_cache || !directives.unstored_fields.is_empty(), "{value:?}")
            }
            b"max-age" => {
                let digits = member.strip_prefix(b"max-age=").unwrap_or_default();
                let number =
                    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                // A number that is too large for the type is one of the largest.
                let most = match number {
                    None | Some("") => 0,
                    Some(number) => number.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS),
                };
                assert!(directives.max_age.is_some_and(|seconds| seconds <= most), "{value:?}");
            }
            _ => {}
        }
    }
}

/// The same lines as the targeted field, beside a `Cache-Control` that forbids everything.
fn check_targeted(lines: &[HeaderValue], plain: &Directives) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for line in lines {
        headers.append(CDN_CACHE_CONTROL, line.clone());
    }
    let Applicable { directives, is_targeted } = Applicable::of(&headers);
    if !is_targeted {
        assert!(directives.no_store, "a field that is not valid counts for nothing: {lines:?}");
        return;
    }
    check_bounds(&directives);
    // Without strings, lists, parameters and `?0`, the field means what `Cache-Control` means. Of two values, the last counts.
    let text: Vec<_> = lines.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    let is_plain =
        text.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-=, ".contains(byte));
    let members: Vec<_> = naive_members(&text).collect();
    let name = |member: &Vec<u8>| member.split(|byte| *byte == b'=').next().unwrap_or_default().to_vec();
    let mut names: Vec<_> = members.iter().map(name).collect();
    names.sort_unstable();
    let once = names.windows(2).all(|pair| pair[0] != pair[1]);
    if is_plain && once {
        assert!(kept_from(plain, &directives), "{lines:?}: {directives:?}, {plain:?}");
    }
}

/// Whether `targeted` forbids what `plain` forbids.
fn kept_from(plain: &Directives, targeted: &Directives) -> bool {
    (targeted.no_store || !plain.no_store)
        && (targeted.private || !plain.private)
        && (targeted.no_cache || !plain.no_cache)
        && plain.max_age.is_none_or(|most| targeted.max_age.is_some_and(|seconds| seconds <= most))
        && plain.s_maxage.is_none_or(|most| targeted.s_maxage.is_some_and(|seconds| seconds <= most))
}

fuzz_target!(|input: &[u8]| {
    let lines = values(input);
    let all = Directives::parse(&lines);
    check_bounds(&all);
    for line in &lines {
        let one = Directives::parse([line]);
        check_bounds(&one);
        check_forbidding(line, &one);
        assert!(restricts(&all, &one), "{lines:?}");
        // A directive that forbids is found before and behind any member.
        for with in [[b"no-store, ", line.as_bytes()].concat(), [line.as_bytes(), b", no-store"].concat()] {
            let with = HeaderValue::from_bytes(&with).expect("two values are one");
            assert!(Directives::parse([&with]).no_store, "{with:?}");
        }
    }
    check_targeted(&lines, &all);
});
