//! The interface of `wit/` that spin-sdk does not have.

spin_sdk::wit_bindgen::generate!({
    world: "imports",
    path: "../../../wit",
    runtime_path: "spin_sdk::wit_bindgen::rt",
    generate_all,
});

pub(super) use wasi::config::store as config;
