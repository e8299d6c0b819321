//! Request smuggling: HTTP/1.1 that two servers could read as different requests. The host refuses each case or reads it as one
//! request. The hidden request never reaches the component.

use futures::future::join_all;

use testkit::http::raw;

use crate::harness::start_guest;

/// The request that is hidden behind the end of another.
const HIDDEN: &str = "GET /hello/hidden HTTP/1.1\r\nHost: a\r\n\r\n";

enum Expected {
    /// One response with one of these statuses. The component sees no request.
    Refused(&'static [u16]),
    /// One request whose body has this length, and one response.
    Body(usize),
    /// One request. The component gets an error while it reads the body.
    Broken,
    /// This number of responses, all 200: the hidden bytes are requests of their own.
    Answers(usize),
}
use Expected::{Answers, Body, Broken, Refused};

const BAD: Expected = Refused(&[400]);

/// A name, the bytes that are sent, and the expected result.
type Case = (&'static str, String, Expected);

/// A `POST` with these header lines, and what follows the head.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /count-body HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}")
}

fn chunked(rest: &str) -> String {
    post("Transfer-Encoding: chunked\r\nConnection: close\r\n", rest)
}

/// A `POST` with these header lines and the three bytes `abc`.
fn sized(lines: &str) -> String {
    post(&format!("{lines}\r\nConnection: close\r\n"), &format!("abc{HIDDEN}"))
}

/// The bytes `abc` in one chunk.
fn one_chunk() -> String {
    format!("3\r\nabc\r\n0\r\n\r\n{HIDDEN}")
}

/// A `POST` with these header lines and the bytes `abc` in one chunk.
fn encoded(lines: &str) -> String {
    post(&format!("{lines}\r\nConnection: close\r\n"), &one_chunk())
}

fn lengths_beside_encodings() -> Vec<Case> {
    let whole = one_chunk();
    vec![
        (
            "length, then encoding",
            post("Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", &whole),
            Body(3),
        ),
        (
            "encoding, then length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", &whole),
            Body(3),
        ),
        (
            "a bad length beside an encoding",
            post("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", &whole),
            Body(3),
        ),
        ("an underscore", sized("Transfer_Encoding: chunked\r\nContent-Length: 3"), Body(3)),
    ]
}

fn lengths() -> Vec<Case> {
    let longest = "9".repeat(40);
    vec![
        ("one length twice", sized("Content-Length: 3\r\nContent-Length: 3"), Body(3)),
        ("two lengths", sized("Content-Length: 3\r\nContent-Length: 60"), BAD),
        ("two lengths, the longer first", sized("Content-Length: 60\r\nContent-Length: 3"), BAD),
        ("a list of lengths", sized("Content-Length: 3, 3"), BAD),
        ("a list of two lengths", sized("Content-Length: 3, 60"), BAD),
        ("plus", sized("Content-Length: +3"), BAD),
        ("minus", sized("Content-Length: -3"), BAD),
        ("hexadecimal", sized("Content-Length: 0x3"), BAD),
        ("no length", sized("Content-Length:"), BAD),
        ("a length of two words", sized("Content-Length: 3 3"), BAD),
        ("a fraction", sized("Content-Length: 3.0"), BAD),
        ("zeros", sized("Content-Length: 003"), Body(3)),
        ("space around", sized("Content-Length: \t 3 \t"), Body(3)),
        ("over 64 bits", sized(&format!("Content-Length: {longest}")), BAD),
        ("digits of another script", sized("Content-Length: \u{663}"), BAD),
        ("an underscore in the name", sized("Content_Length: 60\r\nContent-Length: 3"), Body(3)),
        ("a carriage return in a value", sized("X: a\rTransfer-Encoding: chunked\r\nContent-Length: 3"), BAD),
    ]
}

fn encodings() -> Vec<Case> {
    vec![
        ("identity after", encoded("Transfer-Encoding: chunked, identity"), BAD),
        ("identity", encoded("Transfer-Encoding: identity"), BAD),
        ("another encoding", encoded("Transfer-Encoding: xchunked"), BAD),
        ("in quotes", encoded("Transfer-Encoding: \"chunked\""), BAD),
        ("with a parameter", encoded("Transfer-Encoding: chunked;q=1"), BAD),
        ("another before", encoded("Transfer-Encoding: gzip, chunked"), Refused(&[501])),
        ("twice in one", encoded("Transfer-Encoding: chunked, chunked"), Refused(&[501])),
        ("twice", encoded("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Refused(&[501])),
        (
            "identity, then chunked",
            encoded("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
            Refused(&[501]),
        ),
        ("chunked, then identity", encoded("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), BAD),
        ("no encoding", encoded("Transfer-Encoding:"), BAD),
        ("in capitals", encoded("TRANSFER-ENCODING: CHUNKED"), Body(3)),
        ("a tab before", encoded("Transfer-Encoding:\tchunked"), Body(3)),
        ("a vertical tab before", encoded("Transfer-Encoding:\x0bchunked"), BAD),
        ("a vertical tab behind", encoded("Transfer-Encoding: chunked\x0b"), BAD),
        ("a form feed", encoded("Transfer-Encoding: \x0cchunked"), BAD),
        ("a zero", encoded("Transfer-Encoding: chunked\0"), BAD),
        ("a space before the colon", encoded("Transfer-Encoding : chunked"), BAD),
        ("a space before the name", encoded(" Transfer-Encoding: chunked"), BAD),
        ("a folded line", encoded("Transfer-Encoding:\r\n chunked"), BAD),
        ("a line folded behind", encoded("Transfer-Encoding: chunked\r\n , identity"), BAD),
        (
            "an encoding in HTTP/1.0",
            encoded("Transfer-Encoding: chunked")
                .replace("HTTP/1.1\r\nHost: a\r\nT", "HTTP/1.0\r\nHost: a\r\nT"),
            BAD,
        ),
    ]
}

fn chunks() -> Vec<Case> {
    let extension = "x".repeat(40_000);
    let trailers: String = (0..3000).map(|at| format!("x-{at}: 1\r\n")).collect();
    vec![
        ("an extension", chunked(&format!("3;a=b\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Body(3)),
        ("an extension without end", chunked(&format!("3;{extension}\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("a prefix", chunked(&format!("0x3\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("a plus", chunked(&format!("+3\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("a minus", chunked(&format!("-3\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("no size", chunked(&format!("\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("over 64 bits", chunked(&format!("fffffffffffffffff\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        (
            "over 64 bits, and what is left is 3",
            chunked(&format!("10000000000000003\r\nabc\r\n0\r\n\r\n{HIDDEN}")),
            Broken,
        ),
        ("64 bits", chunked(&format!("ffffffffffffffff\r\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("a line feed behind the size", chunked(&format!("3\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("a line feed in an extension", chunked(&format!("3;a\nabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("a carriage return behind the size", chunked(&format!("3\rabc\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("no end behind the data", chunked(&format!("3\r\nabc0\r\n\r\n{HIDDEN}")), Broken),
        ("a line feed behind the data", chunked(&format!("3\r\nabc\n0\r\n\r\n{HIDDEN}")), Broken),
        ("more data than said", chunked(&format!("3\r\nabcd\r\n0\r\n\r\n{HIDDEN}")), Broken),
        ("trailers", chunked(&format!("3\r\nabc\r\n0\r\nX-After: 1\r\n\r\n{HIDDEN}")), Body(3)),
        ("trailers without end", chunked(&format!("3\r\nabc\r\n0\r\n{trailers}\r\n{HIDDEN}")), Broken),
    ]
}

fn heads() -> Vec<Case> {
    let get = |line: &str, lines: &str| format!("{line}\r\n{lines}Connection: close\r\n\r\n");
    let behind = |lines: &str| format!("{}{HIDDEN}", get("GET /count-body HTTP/1.1", lines));
    vec![
        ("a zero in a value", behind("Host: a\r\nX: a\0b\r\n"), BAD),
        ("a zero in a name", behind("Host: a\r\nX\0: b\r\n"), BAD),
        ("a zero in the target", get("GET /count-body\0 HTTP/1.1", "Host: a\r\n"), BAD),
        ("a space before the colon", behind("Host: a\r\nX : b\r\n"), BAD),
        ("a space before the first line", behind(" Host: a\r\n"), BAD),
        ("a tab before the first line", behind("\tX: b\r\nHost: a\r\n"), BAD),
        ("a folded line", behind("Host: a\r\nX: a\r\n b\r\n"), BAD),
        ("no name", behind("Host: a\r\n: b\r\n"), BAD),
        ("no colon", behind("Host: a\r\nX\r\n"), BAD),
        ("no host", behind(""), BAD),
        ("two hosts", behind("Host: a\r\nHost: b\r\n"), BAD),
        ("one host twice", behind("Host: a\r\nHost: a\r\n"), BAD),
        ("an empty host", behind("Host:\r\n"), BAD),
        ("a host with a user", behind("Host: u@a\r\n"), BAD),
        ("a host with a path", behind("Host: a/b\r\n"), BAD),
        ("a host with a bad port", behind("Host: a:b\r\n"), BAD),
        ("a host of two words", behind("Host: a b\r\n"), BAD),
        ("a user in the target", get("GET http://u:p@a/count-body HTTP/1.1", "Host: a\r\n"), BAD),
        ("two spaces", get("GET  /count-body HTTP/1.1", "Host: a\r\n"), BAD),
        ("a space in the target", get("GET /count-body x HTTP/1.1", "Host: a\r\n"), BAD),
        ("a tab in the line", get("GET\t/count-body\tHTTP/1.1", "Host: a\r\n"), BAD),
        ("a version to come", get("GET /count-body HTTP/1.2", "Host: a\r\n"), BAD),
        ("a version without number", get("GET /count-body HTTP/", "Host: a\r\n"), BAD),
        ("a method that is none", get("GE(T /count-body HTTP/1.1", "Host: a\r\n"), BAD),
        ("a target without slash", get("GET count-body HTTP/1.1", "Host: a\r\n"), BAD),
        (
            "a tunnel with a body",
            format!("{}{HIDDEN}", get("CONNECT a:1 HTTP/1.1", "Host: a:1\r\nContent-Length: 1\r\n")),
            Refused(&[501]),
        ),
        (
            "lines that end with a line feed",
            format!("{}{HIDDEN}", behind("Host: a\r\n").replace("\r\n", "\n")),
            Body(0),
        ),
        ("empty lines before", format!("\r\n\r\n{}", behind("Host: a\r\n")), Body(0)),
    ]
}

fn hidden() -> Vec<Case> {
    let length = HIDDEN.len();
    let body = |target: &str, lines: &str, rest: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{lines}\r\n{HIDDEN}{rest}")
    };
    let last = "GET /hello/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let in_chunk = format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    vec![
        ("in a body that is read", body("/count-body", "Connection: close\r\n", ""), Body(length)),
        ("in a body that is not read", body("/hello/unread", "", last), Answers(2)),
        ("in a body of GET", body("/hello/unread", "", last).replacen("POST", "GET", 1), Answers(2)),
        ("in a body of HEAD", body("/hello/unread", "", last).replacen("POST", "HEAD", 1), Answers(2)),
        ("in a chunk that is read", chunked(&in_chunk), Body(length)),
        ("behind an expectation", body("/hello/unread", "Expect: 100-continue\r\n", ""), Answers(1)),
        (
            "behind an upgrade",
            body(
                "/count-body",
                "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                "",
            ),
            Body(length),
        ),
        (
            "behind HTTP/1.0",
            body("/count-body", "", "").replace("HTTP/1.1\r\nHost: a\r\nC", "HTTP/1.0\r\nHost: a\r\nC"),
            Body(length),
        ),
        ("two at once", format!("GET /hello/first HTTP/1.1\r\nHost: a\r\n\r\n{last}"), Answers(2)),
        (
            "the preface of HTTP/2 behind",
            "GET /hello/first HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            Answers(1),
        ),
    ]
}

#[tokio::test]
async fn what_is_hidden_in_a_request_never_reaches_the_component() {
    // The host waits for the rest of an incomplete request. The limits keep that short.
    let host = start_guest(
        "service",
        &["--header-timeout", "5s", "--body-idle-timeout", "5s", "--keep-alive-timeout", "5s"],
    )
    .await;
    let cases: Vec<Case> = [lengths_beside_encodings(), lengths(), encodings(), chunks(), heads(), hidden()]
        .into_iter()
        .flatten()
        .collect();
    let answers = join_all(cases.iter().map(|(_, bytes, _)| raw(host.address(), bytes.as_bytes()))).await;
    for ((name, bytes, expected), answer) in cases.iter().zip(&answers) {
        let statuses: Vec<u16> = (answer.split("HTTP/1.1 ").skip(1))
            .chain(answer.split("HTTP/1.0 ").skip(1))
            .map(|answer| answer[..3].parse().unwrap())
            .collect();
        let wrong = || format!("{name}: {:?} → {answer:?}", &bytes[..bytes.len().min(400)]);
        assert!(!answer.contains("hello hidden"), "{}", wrong());
        match expected {
            Refused(refusals) => {
                assert!(statuses.len() == 1 && refusals.contains(&statuses[0]), "{}", wrong());
            }
            Body(length) => {
                assert!(statuses == [200] && answer.ends_with(&format!("\r\n\r\n{length}")), "{}", wrong());
            }
            Broken => assert!(
                statuses.len() <= 1 && (statuses != [200] || answer.contains("\r\n\r\nerror ")),
                "{}",
                wrong()
            ),
            Answers(count) => {
                assert!(statuses[..*count].iter().all(|status| *status == 200), "{}", wrong());
                assert!(statuses[*count..].iter().all(|status| *status == 400), "{}", wrong());
            }
        }
    }
    // The log shows that the component got no hidden request either.
    host.get("/hello/marker").await;
    host.wait_for_line(|line| line["path"] == "/hello/marker").await;
    let lines = host.lines();
    let requests = lines.iter().filter(|line| line["message"] == "request");
    for line in requests {
        let path = line["path"].as_str().unwrap();
        assert!(
            [
                "/count-body",
                "/hello/unread",
                "/hello/first",
                "/hello/last",
                "/hello/marker",
                "count-body",
                "a:1",
                ""
            ]
            .contains(&path)
                || line["status"] == 400,
            "{line}"
        );
    }
}
