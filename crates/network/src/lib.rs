//! Networks of containers: drivers, addresses, firewall, published ports.
