//! The interfaces that Spin adds to WASI, as Rust traits. The definitions in `wit/` are Spin's own:
//! components import them by name and shape.

wasmtime::component::bindgen!({
    path: "wit",
    world: "tidemark:host/imports",
    with: {
        "spin:redis/redis.connection": crate::redis::SharedLink,
    },
});
