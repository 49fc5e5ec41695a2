//! Image references, manifests and content: the image store, load, save, import.
