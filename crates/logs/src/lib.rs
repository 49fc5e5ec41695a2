//! Container logs: formats, readers, rotation.
