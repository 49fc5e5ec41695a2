//! The `hello-world` image that the binary carries; `build.rs` makes its only layer.

use skiff_engine::BuiltinImage;

/// The image, for the engine.
pub(crate) const IMAGE: BuiltinImage = BuiltinImage {
    name: "hello-world:latest",
    layer: include_bytes!(concat!(env!("OUT_DIR"), "/hello.tar")),
    changes: &["CMD [\"/hello\"]"],
};
