//! The installer on the files of real distributions: installation, repeated installation, removal, refusals, and a fake API server.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod api;
mod cluster;
mod containerds;
mod distributions;
mod lifecycle;
mod manifests;
mod nodes;
mod refusals;
mod selinux;
mod server;
mod services;
mod verification;
mod watch;
