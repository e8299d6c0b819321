//! The transformation: what is kept, what is left out, and what is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Listing, MAX_GISTS, complete, transform};
use crate::github::link::Relations;
use crate::request::number::{Page, PerPage};

fn read(github: &[u8]) -> Option<Listing> {
    transform(github, Page::FIRST, PerPage::DEFAULT, Relations::default()).ok()
}

fn whole(listing: Listing) -> String {
    let mut body = listing.body;
    complete(&mut body, false, 300);
    String::from_utf8(body).unwrap()
}

/// A gist as GitHub sends it, with some of the members that ours does not have.
fn github_gist(id: &str, public: &Value) -> Value {
    json!({
        "url": format!("https://api.github.com/gists/{id}"),
        "id": id,
        "node_id": "MDQ6R2lzdA==",
        "html_url": format!("https://gist.github.com/{id}"),
        "files": {
            "b.rb": {"filename": "b.rb", "type": "application/x-ruby", "language": "Ruby", "raw_url": "https://x/b", "size": 167},
            "a": {"filename": "a", "type": "text/plain", "language": null, "raw_url": "https://x/a", "size": 0, "encoding": "utf-8"},
        },
        "public": public,
        "created_at": "2010-04-14T02:15:15Z",
        "updated_at": "2011-06-20T11:34:15Z",
        "description": "Hello \"World\" é",
        "comments": 0,
        "user": null,
        "owner": {"login": "octocat", "id": 1},
        "truncated": false,
    })
}

#[test]
fn the_body_is_the_contracts_to_the_byte() {
    let github = json!([github_gist("1", &json!(true)), github_gist("2", &json!(false))]).to_string();
    let listing = transform(
        github.as_bytes(),
        Page::new(2).unwrap(),
        PerPage::new(5).unwrap(),
        Relations { next: true, prev: false },
    )
    .unwrap();
    assert_eq!(listing.count, 1);
    assert_eq!(
        whole(listing),
        concat!(
            r#"{"data":[{"id":"1","description":"Hello \"World\" é","url":"https://gist.github.com/1","created_at":"2010-04-14T02:15:15Z","#,
            r#""files":{"b.rb":{"filename":"b.rb","type":"application/x-ruby","language":"Ruby","raw_url":"https://x/b","size":167},"#,
            r#""a":{"filename":"a","type":"text/plain","language":null,"raw_url":"https://x/a","size":0}}}],"#,
            r#""pagination":{"page":2,"per_page":5,"count":1,"has_next":true,"has_prev":false},"#,
            r#""cache":{"hit":false,"ttl_seconds":300}}"#
        )
    );
}

#[test]
fn an_empty_list_is_a_list() {
    assert_eq!(
        whole(read(b" [ ] ").unwrap()),
        r#"{"data":[],"pagination":{"page":1,"per_page":30,"count":0,"has_next":false,"has_prev":false},"cache":{"hit":false,"ttl_seconds":300}}"#
    );
}

#[test]
fn only_true_is_public() {
    for public in [json!(false), json!(null), json!("true"), json!(1), json!({"a": true}), json!([true])] {
        let github = json!([github_gist("secret", &public)]).to_string();
        let listing = read(github.as_bytes()).unwrap();
        assert_eq!(listing.count, 0, "{public}");
        assert!(!whole(listing).contains("secret"));
    }
    let mut absent = github_gist("secret", &json!(true));
    absent.as_object_mut().unwrap().remove("public");
    assert_eq!(read(json!([absent]).to_string().as_bytes()).unwrap().count, 0);
}

#[test]
fn what_ours_needs_must_be_there() {
    let break_at = |pointer: &str, value: Option<Value>| {
        let mut gist = github_gist("1", &json!(true));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let members = gist.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
        read(json!([gist]).to_string().as_bytes())
    };
    for needed in [
        "/id",
        "/html_url",
        "/created_at",
        "/files",
        "/files/a/filename",
        "/files/a/type",
        "/files/a/raw_url",
        "/files/a/size",
    ] {
        assert_eq!(break_at(needed, None), None, "{needed}");
        assert_eq!(break_at(needed, Some(json!(null))), None, "{needed}");
        assert_eq!(break_at(needed, Some(json!([]))), None, "{needed}");
    }
    assert_eq!(break_at("/files/a/size", Some(json!(-1))), None);
    assert_eq!(break_at("/files/a/size", Some(json!(1.5))), None);
    for optional in ["/description", "/files/a/language"] {
        let absent = break_at(optional, None).unwrap();
        assert_eq!(Some(absent), break_at(optional, Some(json!(null))), "{optional}");
        assert_eq!(break_at(optional, Some(json!(1))), None, "{optional}");
    }
    assert!(break_at("/files", Some(json!({}))).is_some());
}

#[test]
fn what_is_no_list_of_gists_is_invalid() {
    let gist = github_gist("1", &json!(true)).to_string();
    let deep = format!("[{}]", gist.replacen("null", &"[".repeat(100_000), 1));
    let many = format!("[{}]", vec![gist.as_str(); MAX_GISTS + 1].join(","));
    let cut = format!("[{gist}");
    let twice = format!("[{gist}][]");
    for github in [
        "",
        "{}",
        "null",
        "[1]",
        "[null]",
        "[{}]",
        "[[]]",
        "<html>",
        "\u{feff}[]",
        &gist,
        &deep,
        &many,
        &cut,
        &twice,
    ] {
        assert_eq!(read(github.as_bytes()), None, "{}", github.chars().take(80).collect::<String>());
    }
    assert_eq!(read(b"[\"\xff\"]"), None);
    assert!(read(format!("[{}]", vec![gist.as_str(); MAX_GISTS].join(",")).as_bytes()).is_some());
}

#[test]
fn deep_nesting_in_what_is_ignored_needs_no_stack() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let gist = github_gist("1", &json!(true)).to_string().replacen(
        "\"comments\":0",
        &format!("\"comments\":{deep}"),
        1,
    );
    assert_eq!(read(format!("[{gist}]").as_bytes()).map(|listing| listing.count), Some(1));
}

#[test]
fn the_tag_is_of_data_and_pagination() {
    let body = json!([github_gist("1", &json!(true))]).to_string();
    let of = |body: &str, page: i64, next: bool| {
        let page = Page::new(page).unwrap();
        transform(body.as_bytes(), page, PerPage::DEFAULT, Relations { next, prev: false }).unwrap().etag
    };
    let tag = of(&body, 1, false);
    assert_eq!(tag, of(&body.replacen("updated_at", "changed_at", 1), 1, false));
    assert_ne!(tag, of(&body.replacen("Hello", "hello", 1), 1, false));
    assert_ne!(tag, of(&body, 2, false));
    assert_ne!(tag, of(&body, 1, true));
}

fn file() -> impl Strategy<Value = Value> {
    (any::<String>(), any::<String>(), any::<Option<String>>(), any::<u64>()).prop_map(|(name, kind, language, size)| {
        json!({"noise": [1], "size": size, "filename": name, "language": language, "type": kind, "raw_url": "r"})
    })
}

fn gist() -> impl Strategy<Value = Value> {
    let files = proptest::collection::vec((any::<String>(), file()), 0..4);
    (any::<String>(), any::<Option<String>>(), files, any::<Option<bool>>()).prop_map(|(id, description, files, public)| {
        let files: serde_json::Map<String, Value> = files.into_iter().collect();
        json!({"description": description, "files": files, "x": {"y": 1.5e3}, "html_url": "h", "created_at": "c", "id": id, "public": public})
    })
}

/// The same by way of values.
fn model(github: &[Value]) -> Vec<Value> {
    let file = |file: &Value| json!({"filename": file["filename"], "type": file["type"], "language": file["language"], "raw_url": file["raw_url"], "size": file["size"]});
    let public = github.iter().filter(|gist| gist["public"] == true);
    public
        .map(|gist| {
            let files = gist["files"].as_object().unwrap();
            let files: serde_json::Map<String, Value> = files.iter().map(|(name, f)| (name.clone(), file(f))).collect();
            json!({"id": gist["id"], "description": gist["description"], "url": gist["html_url"], "created_at": gist["created_at"], "files": files})
        })
        .collect()
}

proptest! {
    #[test]
    fn agrees_with_the_model(gists in proptest::collection::vec(gist(), 0..6), pretty: bool, hit: bool, ttl: u64) {
        let github = Value::Array(gists.clone());
        let github = if pretty { format!("{github:#}") } else { github.to_string() };
        let listing = read(github.as_bytes()).unwrap();
        let data = model(&gists);
        prop_assert_eq!(usize::from(listing.count), data.len());
        let expected = json!({
            "data": data,
            "pagination": {"page": 1, "per_page": 30, "count": data.len(), "has_next": false, "has_prev": false},
            "cache": {"hit": hit, "ttl_seconds": ttl},
        });
        let mut body = listing.body;
        complete(&mut body, hit, ttl);
        // Values keep the order of members (`preserve_order`), so this compares bytes.
        prop_assert_eq!(String::from_utf8(body).unwrap(), expected.to_string());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_body_is_read_or_refused(gists in proptest::collection::vec(gist(), 1..3), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut github = Value::Array(gists).to_string().into_bytes();
        let at = at.index(github.len());
        if cut { github.truncate(at) } else { github[at] = byte }
        if let Some(listing) = read(&github) {
            let mut body = listing.body;
            complete(&mut body, true, 1);
            prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
    }
}

/// Clients and stores keep entity tags. A change here makes all of them new.
#[test]
fn the_hash_never_changes() {
    let listing = read(b"[]").unwrap();
    assert_eq!(
        listing.body,
        br#"{"data":[],"pagination":{"page":1,"per_page":30,"count":0,"has_next":false,"has_prev":false}"#
    );
    // Computed by the reference implementation of XXH3.
    assert_eq!(u128::from_be_bytes(listing.etag), 0x6dda_ff38_5db5_d821_6c15_bca6_03d9_d229);
}
