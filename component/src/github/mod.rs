//! GitHub: one question with its redirects, what its answers mean, and its gists in our form.

pub mod answer;
pub mod gist;
pub mod http_date;
pub mod redirect;
pub mod upstream;
