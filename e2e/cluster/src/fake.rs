//! The fake GitHub in the cluster: one for all tests, controlled through the API server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::{
    Access, Call, Kustomization, LONG, Namespace, ScriptedResponse, eventually_within, fail, image, kubectl,
    pods,
};

const PORT: u16 = 8099;

/// A fake GitHub with scripted responses and a journal. Each test uses users of its own: see [`Fake::user`].
#[derive(Debug)]
pub struct Fake {
    namespace: String,
}

/// The journal as the control endpoint sends it.
#[derive(Deserialize)]
struct Journal {
    calls: Vec<Call>,
}

impl Fake {
    /// The fake. The first call starts it.
    ///
    /// # Panics
    /// If the test has no [`Access`], or the fake does not start.
    pub fn get() -> &'static Self {
        Access::require();
        static FAKE: OnceLock<Fake> = OnceLock::new();
        FAKE.get_or_init(|| {
            let namespace = Namespace::shared("github", "restricted");
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

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The URL in the cluster, for `GITHUB_API_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://fake-github.{}.svc.cluster.local:{PORT}", self.namespace)
    }

    /// Creates a user for one test, with this number of gists.
    ///
    /// # Panics
    /// If the fake cannot be reached.
    #[track_caller]
    #[must_use]
    pub fn user(&self, gists: usize) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let login = format!("e2e-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        self.at("replace", &format!("users/{login}?public={gists}"), Some(&json!({}))).must();
        login
    }

    /// Scripts the responses to the user's next requests, one each.
    ///
    /// # Panics
    /// If the fake cannot be reached.
    #[track_caller]
    pub fn next(&self, login: &str, answers: &[ScriptedResponse]) {
        self.at("replace", &format!("next/{login}"), Some(&json!(answers))).must();
    }

    /// Scripts the response to all further requests for the user. The user `""` stands for all paths without a user.
    ///
    /// # Panics
    /// If the fake cannot be reached.
    #[track_caller]
    pub fn always(&self, login: &str, answer: &ScriptedResponse) {
        self.at("replace", &format!("always/{login}"), Some(&json!(answer))).must();
    }

    /// Forgets the script of the user: the fake responds as GitHub does again.
    ///
    /// # Panics
    /// If the fake cannot be reached.
    #[track_caller]
    pub fn restore(&self, login: &str) {
        self.at("delete", &format!("always/{login}"), None).must();
    }

    /// The recorded requests for this user.
    ///
    /// # Panics
    /// If the fake cannot be reached.
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
