//! HTTP routes of the Docker Engine API: parse, call the engine, render.
