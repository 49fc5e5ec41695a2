//! The transactional store of everything the engine must remember.
