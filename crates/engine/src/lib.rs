//! The services of the engine: containers, exec, images, events, system; composes the subsystems.
