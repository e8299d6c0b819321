//! The fake GitHub in the cluster: one for all tests, controlled through the API server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::{Answer, Call, Cluster, Kustomization, LONG, eventually_within, fail, image, kubectl, pods};

const PORT: u16 = 8099;

/// A GitHub that answers as it is told, and tells what it was asked. Tests tell each other's calls apart by the user that was
/// asked for: see [`Fake::user`].
#[derive(Debug)]
pub struct Fake {
    namespace: String,
}

/// What the control endpoint says of its calls.
#[derive(Deserialize)]
struct Journal {
    calls: Vec<Call>,
}

impl Fake {
    /// The fake; started by the first test that wants it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn get() -> &'static Self {
        static FAKE: OnceLock<Fake> = OnceLock::new();
        FAKE.get_or_init(|| {
            let namespace = Cluster::shared("github", "restricted");
            let objects = Kustomization::on("e2e/cluster/manifests/fake-github")
                .patch(
                    "Deployment",
                    "fake-github",
                    &json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image",
                        "value": image("fake-github") }]),
                )
                .render(&namespace, Some(&namespace));
            kubectl(["apply", "-f", "-"]).input(objects).must();
            eventually_within(LONG, "the fake GitHub is ready", || {
                let pods = pods(&namespace, "app=fake-github")?;
                if let Some(reason) = pods.iter().find_map(crate::Pod::hopeless) {
                    return Err(reason);
                }
                pods.iter().any(crate::Pod::ready).then_some(()).ok_or_else(|| format!("{} pods", pods.len()))
            });
            let fake = Self { namespace };
            eventually_within(LONG, "the fake GitHub answers", || fake.at("get", "calls", None).run());
            fake
        })
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its address in the cluster, for `GITHUB_API_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://fake-github.{}.svc.cluster.local:{PORT}", self.namespace)
    }

    /// A user that no other test knows, with so many gists.
    ///
    /// # Panics
    /// When the fake cannot be reached.
    #[track_caller]
    #[must_use]
    pub fn user(&self, gists: usize) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let login = format!("e2e-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        self.at("replace", &format!("users/{login}?public={gists}"), Some(&json!({}))).must();
        login
    }

    /// Answers the user's next requests with these, one each.
    ///
    /// # Panics
    /// When the fake cannot be reached.
    #[track_caller]
    pub fn next(&self, login: &str, answers: &[Answer]) {
        self.at("replace", &format!("next/{login}"), Some(&json!(answers))).must();
    }

    /// Answers all of the user's further requests with this one. The user `""` stands for every path that is no user's.
    ///
    /// # Panics
    /// When the fake cannot be reached.
    #[track_caller]
    pub fn always(&self, login: &str, answer: &Answer) {
        self.at("replace", &format!("always/{login}"), Some(&json!(answer))).must();
    }

    /// The truth again.
    ///
    /// # Panics
    /// When the fake cannot be reached.
    #[track_caller]
    pub fn truth(&self, login: &str) {
        self.at("delete", &format!("always/{login}"), None).must();
    }

    /// What it was asked about this user since it began, or was told to forget.
    ///
    /// # Panics
    /// When the fake cannot be reached.
    #[track_caller]
    #[must_use]
    pub fn calls(&self, login: &str) -> Vec<Call> {
        let text = self.at("get", "calls", None).must();
        let all: Journal = serde_json::from_str(&text).unwrap_or_else(|error| fail(error));
        all.calls.into_iter().filter(|call| call.login.eq_ignore_ascii_case(login)).collect()
    }

    /// kubectl with this verb on a path of the control endpoint.
    fn at(&self, verb: &str, path: &str, body: Option<&Value>) -> Kubectl {
        let service = format!("services/http:fake-github:{PORT}/proxy");
        let path = format!("/api/v1/namespaces/{}/{service}/_fake/{path}", self.namespace);
        match body {
            None => kubectl([verb, "--raw", &path]),
            Some(body) => kubectl([verb, "--raw", &path, "-f", "-"]).input(body.to_string()),
        }
    }
}
