//! Tests of the fake over plain TCP.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::App;
use super::*;

/// Sends one request and reads to the end of the connection.
async fn ask(fake: &FakeGitHub, method: &str, target: &str, extra: &str) -> String {
    let mut stream = TcpStream::connect(fake.address()).await.unwrap();
    let head = format!("{method} {target} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\n{extra}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset ends the response, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(fake: &FakeGitHub, target: &str) -> String {
    ask(fake, "GET", target, "").await
}

/// Everything up to the end of the head, and after it.
fn split(answer: &str) -> (&str, &str) {
    answer.split_once("\r\n\r\n").unwrap()
}

#[tokio::test]
async fn a_list_has_pages_links_and_a_tag_that_saves_the_body() {
    let fake = FakeGitHub::start().await.unwrap();
    fake.add_user("Many", 7, 2);
    let answer = get(&fake, "/users/many/gists?page=2&per_page=3").await;
    let (head, body) = split(&answer);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let items: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
    assert_eq!(items.len(), 3);
    assert!(items.iter().all(|item| item["public"] == true && item["owner"]["login"] == "Many"));
    let link = head.lines().find_map(|line| line.strip_prefix("link: ")).unwrap();
    for rel in ["prev", "next", "last", "first"] {
        assert!(link.contains(&format!("rel=\"{rel}\"")), "{link}");
    }
    assert!(link.contains("/user/") && !link.contains("/users/"), "{link}");

    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again =
        ask(&fake, "GET", "/users/many/gists?page=2&per_page=3", &format!("if-none-match: {etag}\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 304 "), "{again}");
    let other = ask(
        &fake,
        "GET",
        "/users/many/gists?page=2&per_page=3",
        &format!("if-none-match: {etag}\r\nauthorization: Bearer x\r\n"),
    )
    .await;
    assert!(other.starts_with("HTTP/1.1 200 "), "another credential has another tag: {other}");
}

#[tokio::test]
async fn secret_gists_are_listed_to_a_credential_only() {
    let fake = FakeGitHub::start().await.unwrap();
    fake.add_user("two-faced", 3, 2);
    assert!(!get(&fake, "/users/two-faced/gists").await.contains("\"public\":false"));
    let answer = ask(&fake, "GET", "/users/two-faced/gists", "authorization: Bearer x\r\n").await;
    assert_eq!(answer.matches("\"public\":false").count(), 2);
}

#[tokio::test]
async fn numbered_users_unknown_ones_and_the_limit() {
    let fake = FakeGitHub::start().await.unwrap();
    let id = User::generate("octocat", 8, 0).id;
    assert!(get(&fake, &format!("/user/{id}/gists")).await.contains("octocat"));
    assert!(get(&fake, "/users/nobody/gists").await.starts_with("HTTP/1.1 404 "));
    assert_eq!(fake.journal().calls_for("octocat").len(), 1);
    fake.set_rate_limit(1);
    assert!(get(&fake, "/users/octocat/gists").await.contains("x-ratelimit-remaining: 0"));
    assert!(get(&fake, "/users/octocat/gists").await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn scripted_answers_come_in_order_then_for_ever_then_githubs_own() {
    let fake = FakeGitHub::start().await.unwrap();
    fake.next("octocat", [ScriptedResponse::status(500), ScriptedResponse::genuine()]);
    fake.always("octocat", ScriptedResponse::status(451));
    for status in ["500", "200", "451", "451"] {
        assert!(get(&fake, "/users/octocat/gists").await.starts_with(&format!("HTTP/1.1 {status} ")));
    }
    fake.restore("octocat");
    assert!(get(&fake, "/users/octocat/gists").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn each_delivery_is_as_broken_as_it_says() {
    let fake = FakeGitHub::start().await.unwrap();
    let broken = async |delivery| {
        fake.next("octocat", [ScriptedResponse::json("[1,2]").deliver(delivery)]);
        get(&fake, "/users/octocat/gists").await
    };
    assert!(split(&broken(Delivery::Sized).await).0.contains("content-length: 5"));
    assert_eq!(split(&broken(Delivery::Chunked).await).1, "5\r\n[1,2]\r\n0\r\n\r\n");
    assert_eq!(split(&broken(Delivery::Drip { bytes: 2, every_ms: 1 }).await).1, "[1,2]");
    let claimed = broken(Delivery::Claim(99)).await;
    assert!(claimed.contains("content-length: 99") && claimed.ends_with("[1,2]"), "{claimed}");
    assert_eq!(split(&broken(Delivery::Cut(2)).await).1, "[1");
    assert_eq!(broken(Delivery::Raw("nonsense".into())).await, "nonsense");
    assert_eq!(broken(Delivery::Close).await, "");
    assert_eq!(split(&broken(Delivery::Filler(100_000)).await).1.len(), 100_000);
}

#[tokio::test]
async fn a_held_user_waits_and_the_open_requests_are_counted() {
    let fake = FakeGitHub::start().await.unwrap();
    let hold = fake.hold("octocat");
    let asked =
        tokio::join!(get(&fake, "/users/octocat/gists"), get(&fake, "/users/octocat/gists?page=1"), async {
            while fake.journal().open() < 2 {
                tokio::task::yield_now().await;
            }
            hold.release();
        });
    assert!(asked.0.starts_with("HTTP/1.1 200 ") && asked.1.starts_with("HTTP/1.1 200 "));
    assert_eq!((fake.journal().peak(), fake.journal().peak_for("OCTOCAT"), fake.journal().open()), (2, 2, 0));
}

#[tokio::test]
async fn the_control_endpoint_takes_a_body_in_chunks() {
    let fake = FakeGitHub::start().await.unwrap();
    let mut stream = TcpStream::connect(fake.address()).await.unwrap();
    let head =
        "PUT /_fake/always/octocat HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in ["a\r\n{\"status\":", "\r\n4;x=y\r\n503}\r\n", "0\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("done"), "{answer}");
    assert!(get(&fake, "/users/octocat/gists").await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn the_control_endpoint_scripts_and_tells() {
    let fake = FakeGitHub::start().await.unwrap();
    let put = async |target: &str, body: &str| {
        let mut stream = TcpStream::connect(fake.address()).await.unwrap();
        let request = format!(
            "PUT {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(put("/_fake/users/new?public=2", "").await.contains("done"));
    assert!(get(&fake, "/users/new/gists").await.starts_with("HTTP/1.1 200 "));
    assert!(put("/_fake/always/new", r#"{"status":503,"delivery":{"cut":1}}"#).await.contains("done"));
    assert!(get(&fake, "/users/new/gists").await.starts_with("HTTP/1.1 503 "));
    assert!(put("/_fake/always/new", r#"{"statsu":503}"#).await.contains("unknown field `statsu`"));
    assert!(get(&fake, "/_fake/calls").await.contains("/users/new/gists"));
    assert!(get(&fake, "/_fake").await.contains("rate-limit"));
}

#[tokio::test]
async fn a_case_is_played_by_its_name() {
    let fake = FakeGitHub::start().await.unwrap();
    let list = get(&fake, "/_fake/cases").await;
    for case in Case::ALL {
        assert!(list.contains(&format!("\"{}\"", case.name)), "{list}");
        let token = format!("/app/installations/{}/access_tokens", App::INSTALLATION);
        let (login, method, path) = if case.is_for_app() {
            (APP, "POST", &*token)
        } else {
            ("octocat", "GET", "/users/octocat/gists")
        };
        let answer = ask(&fake, "PUT", &format!("/_fake/cases/{}/{login}", case.name), "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = ask(&fake, method, path, "").await;
        assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{}: {answer}", case.name);
    }
    let answer = get(&fake, "/users/octocat/gists").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "the last case of a user: {answer}");
    let answer = ask(&fake, "PUT", "/_fake/cases/app-suspended/octocat", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("is for '*app', not for 'octocat'"),
        "{answer}"
    );
    assert!(ask(&fake, "PUT", "/_fake/cases/nonsense/octocat", "").await.starts_with("HTTP/1.1 404 "));
    ask(&fake, "DELETE", "/_fake/always/octocat", "").await;
    assert!(get(&fake, "/users/octocat/gists").await.starts_with("HTTP/1.1 200 "));
}
