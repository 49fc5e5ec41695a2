//! Typed client of the Docker Engine API: unix sockets, TCP, TLS.
