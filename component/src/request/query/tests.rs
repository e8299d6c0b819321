//! Validation compared with the recorded answers of FastAPI 0.116 (testdata/reference.py).

use proptest::prelude::*;
use serde_json::Value;

use super::{GistQuery, validate};
use crate::request::number::{self, Page, PerPage};
use crate::request::rejection::Rejection;
use crate::request::route::{Method, Route, Routed, route};
use crate::request::username::Username;
use crate::response::error::Error;
use crate::response::problem::{self, Form};

const GOLDEN: &str = include_str!("../../../testdata/fastapi.jsonl");

/// The status and body of our answer, in the form of the recorded ones.
fn answer(target: &str) -> (u64, Value) {
    let Routed { route, query, .. } = route(Method::Get, target);
    let outcome = route.and_then(|route| match route {
        Route::Gists { name } => validate(&name, query),
        other => panic!("{target} is no user's route: {other:?}"),
    });
    match outcome {
        Ok((username, query)) => (
            200,
            serde_json::json!({
                "username": username.as_asked(),
                "page": query.page.get(),
                "per_page": query.per_page.get(),
                "use_cache": query.use_cache,
            }),
        ),
        Err(rejection) => {
            let error = Error::from(rejection);
            let body = String::from_utf8(problem::body(&error, Form::Detail)).unwrap();
            (error.appearance().status.into(), Value::String(body))
        }
    }
}

#[test]
fn validates_as_fastapi_does() {
    let (mut bodies, mut values) = (0, 0);
    for line in GOLDEN.lines() {
        let (target, status, theirs): (Value, u64, Value) = serde_json::from_str(line).unwrap();
        let Some(target) = target.as_str() else { continue };
        let ours = answer(target);
        if status == 200 && ours.0 == 404 {
            // FastAPI leaves names that no user can have to its handler, which asks GitHub; ours knows.
            let name = serde_json::from_str::<Value>(theirs.as_str().unwrap()).unwrap()["username"].clone();
            let name = name.as_str().unwrap();
            assert!(Username::new(name).is_err(), "{name}");
            assert_eq!(ours.1, serde_json::json!({"detail": format!("User '{name}' not found")}).to_string());
        } else if status == 200 {
            assert_eq!(ours, (200, serde_json::from_str(theirs.as_str().unwrap()).unwrap()), "{target}");
            values += 1;
        } else {
            assert_eq!(ours, (status, theirs), "{target}");
            bodies += 1;
        }
    }
    assert!(bodies > 300 && values > 150, "{bodies} bodies, {values} values");
}

#[test]
fn reads_long_integers_as_fastapi_does() {
    let mut cases = 0;
    for line in GOLDEN.lines() {
        let Ok((runs, _, expected)) = serde_json::from_str::<(Vec<(String, usize)>, u64, Value)>(line) else {
            continue;
        };
        let text: String = runs.iter().map(|(text, times)| text.repeat(*times)).collect();
        let read = match validate("octocat", &format!("page={text}")) {
            Ok((_, query)) => Value::from(query.page.get()),
            Err(Rejection::Invalid(violations)) => Value::from(violations[0].kind.name()),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(read, expected, "{runs:?}");
        cases += 1;
    }
    assert!(cases >= 20);
}

#[test]
fn says_everything_that_is_wrong_at_once_and_only_then_that_nobody_has_the_name() {
    let Err(Rejection::Invalid(violations)) = validate(&"é".repeat(40), "use_cache=x&per_page=0&page=y")
    else {
        panic!("accepted");
    };
    let places: Vec<_> = violations.iter().map(|violation| violation.parameter.location()[1]).collect();
    assert_eq!(places, ["username", "page", "per_page", "use_cache"]);
    assert!(matches!(validate("a b", "page=0"), Err(Rejection::Invalid(_))));
    assert!(matches!(validate("a b", "page=1"), Err(Rejection::NoSuchUser { .. })));
}

proptest! {
    #[test]
    fn any_target_is_answered(target: String) {
        if let Ok(Route::Gists { name }) = route(Method::Get, &target).route {
            let _ = validate(&name, target.split_once('?').map_or("", |(_, query)| query));
        }
    }

    #[test]
    fn any_query_is_answered(query in "([a-z_%0-9A-F]{0,6}|page|per_page|use_cache|[&=+;%]|\\PC){0,12}") {
        let _ = validate("octocat", &query);
    }

    #[test]
    fn what_is_valid_is_read_whatever_stands_beside_it(
        page in 1_u8..=100,
        per_page in 1_u8..=100,
        use_cache: bool,
        noise in proptest::collection::vec("[xyz]{1,3}(=[a-z0-9+]{0,3})?", 0..4),
    ) {
        let mut parts = noise;
        parts.insert(parts.len() / 2, format!("page={page}"));
        parts.push(format!("per_page={per_page}"));
        parts.insert(0, format!("use_cache={use_cache}"));
        let (_, query) = validate("octocat", &parts.join("&")).unwrap();
        let expected = GistQuery {
            page: Page::new(page.into()).unwrap(),
            per_page: PerPage::new(per_page.into()).unwrap(),
            use_cache,
        };
        prop_assert_eq!(query, expected);
    }

    #[test]
    fn of_a_repeated_parameter_the_last_counts(values in proptest::collection::vec("[0-9a-z]{0,3}", 1..5)) {
        let query = values.iter().map(|value| format!("page={value}")).collect::<Vec<_>>().join("&");
        let last = number::integer(values.last().unwrap()).ok().and_then(|value| Page::new(value).ok());
        let read = validate("octocat", &query).ok().map(|(_, query)| query.page);
        prop_assert_eq!(read, last);
    }
}
