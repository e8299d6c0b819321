//! How long a response is fresh (RFC 9111, sections 4.2 and 5).

use super::{
    Case, run,
    step::{cached, origin, validated},
};

const LIFETIMES: &[Case] = &[
    ("s-maxage is for shared caches", &[origin("cache-control: max-age=0, s-maxage=60"), cached()]),
    ("s-maxage outranks a longer max-age", &[origin("cache-control: max-age=60, s-maxage=0"), origin("")]),
    (
        "max-age outranks Expires",
        &[origin("cache-control: max-age=60\nexpires: Mon, 30 Nov 2020 08:00:00 GMT"), cached()],
    ),
    (
        "max-age of 0 outranks Expires",
        &[origin("cache-control: max-age=0\nexpires: Mon, 02 Jan 2090 08:00:00 GMT"), origin("")],
    ),
    ("a response is fresh until it expires", &[origin("expires: Mon, 02 Jan 2090 08:00:00 GMT"), cached()]),
    (
        "Expires is compared with Date",
        &[origin("date: Sun, 01 Jan 2090 08:00:00 GMT\nexpires: Sun, 01 Jan 2090 08:00:00 GMT"), origin("")],
    ),
    (
        "a date that is none is in the past",
        &[
            origin("expires: 0\nlast-modified: Mon, 30 Nov 2020 08:00:00 GMT"),
            validated("if-modified-since: Mon, 30 Nov 2020 08:00:00 GMT", ""),
        ],
    ),
    (
        "a date has one spelling for each form",
        &[
            origin("expires: Mon, 2 Jan 2090 08:00:00 GMT"),
            origin("expires: Mon, 02 Jan 2090 08:00:00 UTC"),
            origin("expires: Mon, 02 Jan 90 08:00:00 GMT"),
            origin("expires: Mon 02 Jan 2090 08:00:00 GMT"),
            origin("expires: Mon, 02 Jan 2090 8:00:00 GMT"),
            origin(""),
        ],
    ),
    ("a date may have its older forms", &[origin("expires: Mon Jan  2 08:00:00 2090"), cached()]),
    (
        "a number that is too large is a long time",
        &[origin("cache-control: max-age=99999999999999999999"), cached()],
    ),
    ("a negative number is stale", &[origin("cache-control: max-age=-1"), origin("")]),
    (
        "a number that is none is stale",
        &[origin("cache-control: max-age=a"), origin("cache-control: max-age="), origin("")],
    ),
    ("a number may be quoted", &[origin("cache-control: max-age=\"60\""), cached()]),
    ("unknown directives say nothing", &[origin("cache-control: a, b=1, max-age=60, c=\"d\""), cached()]),
];

const AGES: &[Case] = &[
    ("the origin's Age counts", &[origin("cache-control: max-age=60\nage: 60"), origin("")]),
    (
        "the first Age counts",
        &[
            origin("cache-control: max-age=60\nage: 90, 0"),
            origin("cache-control: max-age=60\nage: 0, 90"),
            cached().body_of(1),
        ],
    ),
    ("an Age that is none is ignored", &[origin("cache-control: max-age=60\nage: 90.5"), cached()]),
    ("a negative Age is ignored", &[origin("cache-control: max-age=60\nage: -90"), cached()]),
    (
        "an Age that is too large is old",
        &[origin("cache-control: max-age=999999\nage: 99999999999999999999"), origin("")],
    ),
    (
        "an old Date is an age",
        &[origin("date: Mon, 30 Nov 2020 08:00:00 GMT\ncache-control: max-age=60"), origin("")],
    ),
    (
        "a Date in the future is no negative age",
        &[origin("date: Sun, 01 Jan 2090 08:00:00 GMT\ncache-control: max-age=60\nage: 60"), origin("")],
    ),
];

const HEURISTICS: &[Case] = &[
    (
        "a response that changed long ago is fresh for a while",
        &[origin("last-modified: Mon, 30 Nov 2020 08:00:00 GMT"), cached()],
    ),
    (
        "a redirect for good and a page that is gone are fresh for a while",
        &[origin("last-modified: Mon, 30 Nov 2020 08:00:00 GMT").status(410), cached().status(410)],
    ),
    (
        "other statuses are not",
        &[
            origin("last-modified: Mon, 30 Nov 2020 08:00:00 GMT").status(201),
            origin("last-modified: Mon, 30 Nov 2020 08:00:00 GMT").status(403),
            origin("last-modified: Mon, 30 Nov 2020 08:00:00 GMT").status(500),
            origin(""),
        ],
    ),
    (
        "public makes any status cacheable",
        &[
            origin("cache-control: public\nlast-modified: Mon, 30 Nov 2020 08:00:00 GMT").status(403),
            cached().status(403),
        ],
    ),
];

#[tokio::test]
async fn a_lifetime_is_explicit_and_the_most_specific_one_counts() {
    run(LIFETIMES).await;
}

#[tokio::test]
async fn an_age_counts_from_the_origin() {
    run(AGES).await;
}

#[tokio::test]
async fn without_a_lifetime_the_last_change_gives_one() {
    run(HEURISTICS).await;
}

#[tokio::test]
async fn a_hit_has_an_age_that_grows_from_the_origins() {
    let cache = super::Cache::start(&[]).await;
    let step = origin("cache-control: max-age=600\nage: 30");
    cache.send("/aged", &step, step.answer("aged")).await;
    let hit = cache.send("/aged", &step, step.answer("other")).await;
    let age: u64 = hit.header("age").unwrap().parse().unwrap();
    assert!(age >= 30 && hit.text() == "aged", "{age}");
    testkit::until("the age of a hit grows", async || {
        let hit = cache.send("/aged", &step, step.answer("other")).await;
        (hit.header("age").unwrap().parse::<u64>().unwrap() > age).then_some(())
    })
    .await;
}
