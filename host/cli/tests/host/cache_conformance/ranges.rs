//! Ranges of stored responses (RFC 9110, section 14).

use super::{
    Case, run,
    step::{cached, origin},
};

const TAGGED: &str = "etag: \"one\"\ncache-control: max-age=60";

const CASES: &[Case] = &[
    (
        "a range is a part of the stored response",
        &[
            origin(TAGGED).body("0123456789"),
            cached()
                .with("range: bytes=0-0")
                .client_gets(206)
                .text("0")
                .has("content-range: bytes 0-0/10\ncontent-length: 1"),
            cached()
                .with("range: bytes=4-6")
                .client_gets(206)
                .text("456")
                .has("content-range: bytes 4-6/10\netag: \"one\""),
            cached().with("range: bytes=7-").client_gets(206).text("789").has("content-range: bytes 7-9/10"),
            cached().with("range: bytes=-2").client_gets(206).text("89").has("content-range: bytes 8-9/10"),
            cached().with("range: BYTES=9-9").client_gets(206).text("9"),
        ],
    ),
    (
        "a range may reach beyond the end",
        &[
            origin(TAGGED).body("0123456789"),
            cached()
                .with("range: bytes=8-99999999999999999999")
                .client_gets(206)
                .text("89")
                .has("content-range: bytes 8-9/10"),
            cached()
                .with("range: bytes=-99")
                .client_gets(206)
                .text("0123456789")
                .has("content-range: bytes 0-9/10"),
        ],
    ),
    (
        "a range behind the end cannot be satisfied",
        &[
            origin(TAGGED).body("0123456789"),
            cached().with("range: bytes=10-").client_gets(416).text("").has("content-range: bytes */10"),
            cached().with("range: bytes=-0").client_gets(416).text(""),
            cached(),
        ],
    ),
    (
        "a range that is none is ignored",
        &[
            origin(TAGGED).body("0123456789"),
            cached().with("range: bytes=5-4"),
            cached().with("range: bytes=a-b"),
            cached().with("range: lines=1-2"),
            cached().with("range: bytes="),
        ],
    ),
    (
        "a range of another version is the whole",
        &[
            origin(TAGGED).body("0123456789"),
            cached().with("range: bytes=0-1\nif-range: \"one\"").client_gets(206).text("01"),
            cached().with("range: bytes=0-1\nif-range: \"two\""),
            cached().with("range: bytes=0-1\nif-range: W/\"one\""),
        ],
    ),
    (
        "a condition is decided before the range",
        &[
            origin(TAGGED).body("0123456789"),
            cached().with("range: bytes=0-1\nif-none-match: \"one\"").client_gets(304),
        ],
    ),
    (
        "a HEAD has no range",
        &[
            origin(TAGGED).body("0123456789"),
            cached().method("HEAD").with("range: bytes=0-1").has("content-length: 10").lacks("content-range"),
        ],
    ),
];

#[tokio::test]
async fn a_range_is_answered_from_the_whole() {
    run(CASES).await;
}
