//! The OCI runtime specification's own types, as `oci-spec` has them.

pub use oci_spec::runtime::*;
