//! GitHub's REST API: the client for lists of gists, the meaning of GitHub's answers, and the transformation of its
//! gists into ours.

pub mod answer;
pub mod app;
pub mod client;
pub mod gist;
pub mod http_date;
pub mod link;
pub mod redirect;
pub mod version;
