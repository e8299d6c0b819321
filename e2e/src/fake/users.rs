//! The fake's users and their gists: generated, and always the same for the same login.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::demo_data;
use super::random::Random;

/// All users that the fake knows.
#[derive(Default)]
pub struct Users {
    by_login: HashMap<String, Arc<User>>,
    by_id: HashMap<u64, Arc<User>>,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The login as the user writes it. The fake finds the user in any case.
    pub login: String,
    /// GitHub's number of the user; GitHub's `Link` headers use it.
    pub id: u64,
    /// Newest first.
    pub gists: Vec<Gist>,
}

/// A gist.
#[derive(Debug, Clone)]
pub struct Gist {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The description; GitHub may have none.
    pub description: Option<String>,
    /// RFC 3339, in UTC.
    pub created_at: String,
    /// False for a secret gist, listed only to a credential.
    pub public: bool,
    /// The files; a gist may have none.
    pub files: Vec<File>,
}

/// A file of a gist.
#[derive(Debug, Clone)]
pub struct File {
    /// The file name.
    pub name: String,
    /// The media type.
    pub media_type: String,
    /// The language that GitHub detects; GitHub may detect none.
    pub language: Option<String>,
    /// The size in bytes.
    pub size: u64,
}

impl Users {
    /// A few thousand generated gists for a demonstration.
    #[must_use]
    pub fn demo() -> Self {
        let mut users = Self::default();
        for (login, public, secret) in demo_data::DEMO_USERS {
            users.add(User::generate(login, *public, *secret));
        }
        users
    }

    /// Adds, or replaces, a user.
    pub fn add(&mut self, user: User) {
        let user = Arc::new(user);
        self.by_id.insert(user.id, Arc::clone(&user));
        self.by_login.insert(user.login.to_ascii_lowercase(), user);
    }

    /// The user of this login, in any case.
    #[must_use]
    pub fn login(&self, login: &str) -> Option<Arc<User>> {
        self.by_login.get(&login.to_ascii_lowercase()).cloned()
    }

    /// The user of this number.
    #[must_use]
    pub fn id(&self, id: u64) -> Option<Arc<User>> {
        self.by_id.get(&id).cloned()
    }

    /// All users, by login.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<User>> {
        let mut users: Vec<_> = self.by_login.values().cloned().collect();
        users.sort_by(|a, b| a.login.cmp(&b.login));
        users
    }
}

impl User {
    /// A user with this number of generated gists; secret ones are spread among the public ones.
    #[must_use]
    pub fn generate(login: &str, public: usize, secret: usize) -> Self {
        let mut random = Random::new(login);
        let id = 1_000 + random.below(200_000_000);
        let total = public + secret;
        let mut secrets = secret;
        let gists = (0..total)
            .map(|index| {
                // Every third is secret, until no secret or no public one is left.
                let is_secret = secrets > 0 && (index % 3 == 1 || total - index <= secrets);
                secrets -= usize::from(is_secret);
                Gist::generate(&mut random, index, !is_secret)
            })
            .collect();
        Self { login: login.to_owned(), id, gists }
    }
}

impl Gist {
    fn generate(random: &mut Random, index: usize, public: bool) -> Self {
        let id = format!("{:016x}{:016x}", random.next(), random.next());
        let (topic, action) = (random.pick(demo_data::TOPICS), random.pick(demo_data::ACTIONS));
        let description = match random.below(8) {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("{action} {topic}")),
        };
        let files = (0..random.below(3) + u64::from(random.below(24) > 0))
            .map(|number| {
                let (extension, media_type, language) = random.pick(demo_data::KINDS);
                let stem = topic.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                let name = if number == 0 {
                    format!("{stem}.{extension}")
                } else {
                    format!("{stem}_{number}.{extension}")
                };
                File {
                    name,
                    media_type: (*media_type).to_owned(),
                    language: (!language.is_empty()).then(|| (*language).to_owned()),
                    size: 20 + random.below(9_000),
                }
            })
            .collect();
        let day = 20_400_u64.saturating_sub(index as u64 * 9 + random.below(9));
        Self { id, description, created_at: timestamp(day * 86_400 + random.below(86_400)), public, files }
    }

    /// The gist as GitHub lists it.
    pub(super) fn json(&self, owner: &User, base: &str) -> Value {
        let (login, id) = (&owner.login, &self.id);
        let files: Map<_, _> = self
            .files
            .iter()
            .map(|file| {
                let revision = Random::new(&format!("{id}{}", file.name)).next();
                let raw = format!("https://gist.githubusercontent.com/{login}/{id}/raw/{revision:016x}/{}", file.name);
                let file_json = json!({ "filename": file.name, "type": file.media_type, "language": file.language, "raw_url": raw, "size": file.size });
                (file.name.clone(), file_json)
            })
            .collect();
        json!({
            "url": format!("{base}/gists/{id}"),
            "forks_url": format!("{base}/gists/{id}/forks"),
            "commits_url": format!("{base}/gists/{id}/commits"),
            "id": id,
            "node_id": format!("G_{id}"),
            "git_pull_url": format!("https://gist.github.com/{id}.git"),
            "git_push_url": format!("https://gist.github.com/{id}.git"),
            "html_url": format!("https://gist.github.com/{login}/{id}"),
            "files": files,
            "public": self.public,
            "created_at": self.created_at,
            "updated_at": self.created_at,
            "description": self.description,
            "comments": 0,
            "user": null,
            "comments_url": format!("{base}/gists/{id}/comments"),
            "owner": {
                "login": login, "id": owner.id, "node_id": format!("U_{}", owner.id), "type": "User", "site_admin": false,
                "avatar_url": format!("https://avatars.githubusercontent.com/u/{}?v=4", owner.id),
                "url": format!("{base}/users/{login}"), "html_url": format!("https://github.com/{login}"),
            },
            "truncated": false,
        })
    }
}

/// Seconds since 1970 as RFC 3339.
pub(super) fn timestamp(seconds: u64) -> String {
    let (mut day, time) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    loop {
        let days = if leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let mut month = 1;
    for days in [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", day + 1, time / 3_600, time / 60 % 60, time % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_calendar() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(1_767_225_599), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn the_same_login_has_the_same_gists_and_as_many_secret_ones_as_asked() {
        for (public, secret) in [(0, 0), (5, 0), (0, 5), (7, 3), (2, 9)] {
            let user = User::generate("somebody", public, secret);
            assert_eq!(user.gists.iter().filter(|gist| gist.public).count(), public);
            assert_eq!(user.gists.iter().filter(|gist| !gist.public).count(), secret);
            assert_eq!(format!("{user:?}"), format!("{:?}", User::generate("somebody", public, secret)));
        }
    }

    /// README.md and docs/tutorials/first-steps.md show this gist. If this test fails, correct them as well.
    #[test]
    fn the_first_gist_of_the_demonstration_never_changes() {
        let gist = &Users::demo().login("octocat").unwrap().gists[0];
        assert_eq!(
            (gist.id.as_str(), gist.description.as_deref(), gist.created_at.as_str(), gist.files.len()),
            (
                "b99e77b4a46989419a910d165b6488a9",
                Some("A minimal Go context deadline"),
                "2025-11-07T15:46:48Z",
                1
            )
        );
    }

    #[test]
    fn the_demonstration_has_thousands_of_gists() {
        let gists: usize = Users::demo().all().iter().map(|user| user.gists.len()).sum();
        assert!((2_000..10_000).contains(&gists), "{gists}");
    }
}
