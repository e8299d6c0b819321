//! The table of all settings. The parser reads names and defaults from this table, and `scripts/generate` writes the
//! table's copies: the variables in `spin.toml`, the lists in README.md and docs/reference/settings.md, `.env.example`, the
//! variables of the artifact component, and the chart's list of secrets.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name in `wasi:config`. The environment variable has the same name in upper case.
    pub name: &'static str,
    /// The value that applies if the setting is not set; empty if there is none.
    pub default: &'static str,
    /// Whether the value must not appear in logs, error messages or ConfigMaps.
    pub secret: bool,
    /// What the setting means, for operators: Markdown in one line, with units.
    pub text: &'static str,
}

/// Defines a constant for each setting, and [`ALL`].
macro_rules! settings {
    ($($constant:ident { name: $name:literal, default: $default:expr, secret: $secret:literal, text: $text:literal })+) => {
        $(
            #[doc = $text]
            pub const $constant: Setting = Setting { name: $name, default: $default, secret: $secret, text: $text };
        )+

        /// All settings, in the order of the documentation.
        pub const ALL: &[Setting] = &[$($constant),+];
    };
}

settings! {
    GITHUB_API_URL {
        name: "github_api_url",
        default: "https://api.github.com",
        secret: false,
        text: "The server to ask: scheme, host and port. The outbound allow-list follows this setting. A private address must be written as an IP address; `http://localhost:PORT` is allowed"
    }
    GITHUB_API_PATH {
        name: "github_api_path",
        default: "",
        secret: false,
        text: "The path prefix of the API: `/api/v3` for GitHub Enterprise"
    }
    GITHUB_TOKEN {
        name: "github_token",
        default: "",
        secret: true,
        text: "The token for GitHub, read-only and without scopes. It raises GitHub's limit from 60 to 5,000 requests an hour"
    }
    GITHUB_APP_ID {
        name: "github_app_id",
        default: "",
        secret: false,
        text: "The id of a GitHub App, or its client ID, to ask GitHub as an installation of that app instead of with `github_token`. Needs the two settings that follow"
    }
    GITHUB_APP_INSTALLATION_ID {
        name: "github_app_installation_id",
        default: "",
        secret: false,
        text: "The number of the app's installation: the end of the URL of its settings page"
    }
    GITHUB_APP_PRIVATE_KEY {
        name: "github_app_private_key",
        default: "",
        secret: true,
        text: "The private key of the app, as GitHub gives it: RSA in PEM form, PKCS#1 or PKCS#8. Line breaks may be written as `\\n`"
    }
    GITHUB_API_VERSION {
        name: "github_api_version",
        default: "2022-11-28",
        secret: false,
        text: "The version of GitHub's API, sent as `X-GitHub-Api-Version`"
    }
    GITHUB_RATE_LIMIT_RESERVE {
        name: "github_rate_limit_reserve",
        default: "10",
        secret: false,
        text: "How many percent of GitHub's rate limit are kept for pages that are stored, at least one request. When only these are left, a page that is not stored gets 429. `0` keeps nothing"
    }
    CACHE_TTL {
        name: "cache_ttl",
        default: "300",
        secret: false,
        text: "How many seconds a stored page is fresh, ±10 %"
    }
    CACHE_REFETCH_AFTER {
        name: "cache_refetch_after",
        default: "21600",
        secret: false,
        text: "How many seconds a page is renewed by revalidation before it is fetched whole again, without a validator. A 304 need not say that a next page has appeared"
    }
    CACHE_ENTRIES {
        name: "cache_entries",
        default: "10000",
        secret: false,
        text: "How many pages the cache stores at most"
    }
    CACHE_STORE {
        name: "cache_store",
        default: "default",
        secret: false,
        text: "The store of the cache: a name that the host's flags define. Without flags, `default` is the memory of the host's process"
    }
    METRICS_STORE {
        name: "metrics_store",
        default: "default",
        secret: false,
        text: "The store of the metrics, named in the same way"
    }
    ADMIN_TOKEN {
        name: "admin_token",
        default: "",
        secret: true,
        text: "The token that `DELETE /cache` requires, as `Authorization: Bearer`. Not set: everybody may clear the cache"
    }
    UPSTREAM_TIMEOUT {
        name: "upstream_timeout",
        default: "10",
        secret: false,
        text: "How many seconds a request to GitHub may take, with its redirects, its second attempt and the body"
    }
    UPSTREAM_CONCURRENCY {
        name: "upstream_concurrency",
        default: "20",
        secret: false,
        text: "How many requests to GitHub may be in flight at once, over all instances that share the cache's store"
    }
    CORS_ALLOW_ORIGIN {
        name: "cors_allow_origin",
        default: "*",
        secret: false,
        text: "The value of `Access-Control-Allow-Origin`. An empty value removes the header"
    }
    APP_VERSION {
        name: "app_version",
        default: env!("CARGO_PKG_VERSION"),
        secret: false,
        text: "The version that `/ready?verbose` and the `User-Agent` show"
    }
    CLUSTER_NAME {
        name: "cluster_name",
        default: "",
        secret: false,
        text: "The cluster that `/ready?verbose` and log lines show"
    }
    POD_NAME {
        name: "pod_name",
        default: "",
        secret: false,
        text: "The pod that `/ready?verbose` and log lines show"
    }
}
