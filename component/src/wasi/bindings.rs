//! The generated bindings of the interfaces that `spin_sdk` does not have.

spin_sdk::wit_bindgen::generate!({
    world: "imports",
    path: "../wit",
    runtime_path: "spin_sdk::wit_bindgen::rt",
    generate_all,
});
