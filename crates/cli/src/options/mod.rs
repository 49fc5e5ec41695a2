//! What the values of options mean: each is checked while options are read, in docker's words, and becomes a part of
//! a request.

pub(crate) mod checks;
pub(crate) mod container;
pub(crate) mod csv;
pub(crate) mod device;
pub(crate) mod endpoint;
pub(crate) mod env;
pub(crate) mod filters;
pub(crate) mod ipam;
pub(crate) mod mount;
pub(crate) mod platform;
pub(crate) mod port;
pub(crate) mod rational;
pub(crate) mod secret;
pub(crate) mod size;
pub(crate) mod types;
