//! HTTP: connections, routes, answers. Each route parses, calls one method of [`crate::Registry`] and renders.

mod api;
pub(crate) mod connection;
pub(crate) mod io;
mod pages;
pub(crate) mod patience;
pub(crate) mod query;
pub(crate) mod receive;
pub(crate) mod reply;
pub(crate) mod route;
mod search;
mod token;
mod v2;
