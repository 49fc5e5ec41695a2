//! The `erofs` driver: a layer is kept as its exact archive beside an EROFS image of our own that refers into it, and is
//! mounted, never unpacked.

#[cfg(test)]
mod damage;
mod driver;
mod format;
mod index;
mod inherit;
mod layers;
mod mount;
mod namespace;
#[cfg(test)]
mod tests;
mod tree;
mod verify;

pub(crate) use driver::{Erofs, NAME};
