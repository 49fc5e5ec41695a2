//! The ports of a container in one cell: `0.0.0.0:80->80/tcp, [::]:80->80/tcp, 90-92/udp`.

use serde::Deserialize;

/// A port as lists of containers give it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(default)]
pub(super) struct Port {
    #[serde(rename = "PrivatePort")]
    private: u16,
    #[serde(rename = "IP")]
    address: String,
    #[serde(rename = "PublicPort")]
    public: u16,
    #[serde(rename = "Type")]
    protocol: String,
}

/// A run of neighbouring ports with the same address and protocol.
struct Run {
    address: String,
    protocol: String,
    first: u16,
    last: u16,
}

/// All of them: neighbours together, those published under another number one by one at the end.
pub(super) fn display(ports: &[Port]) -> String {
    let mut ports = ports.to_vec();
    ports.sort();
    let (mut done, mut open, mut moved) = (Vec::new(), Vec::<Run>::new(), Vec::new());
    for port in ports {
        if !port.address.is_empty() && port.public != port.private {
            let host = host(&port.address, &port.public.to_string());
            moved.push(format!("{host}->{}/{}", port.private, port.protocol));
            continue;
        }
        let same = |run: &&mut Run| run.address == port.address && run.protocol == port.protocol;
        match open.iter_mut().find(same) {
            None => open.push(Run {
                address: port.address,
                protocol: port.protocol,
                first: port.private,
                last: port.private,
            }),
            Some(run) if run.last.checked_add(1) == Some(port.private) => run.last = port.private,
            Some(run) => {
                done.push(run.text());
                (run.first, run.last) = (port.private, port.private);
            }
        }
    }
    done.extend(open.iter().map(Run::text));
    done.extend(moved);
    done.join(", ")
}

fn host(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

impl Run {
    fn text(&self) -> String {
        let ports = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match self.address.as_str() {
            "" => format!("{ports}/{}", self.protocol),
            address => format!("{}->{ports}/{}", host(address, &ports), self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Port, display};

    fn port(address: &str, public: u16, private: u16, protocol: &str) -> Port {
        Port { private, address: address.to_owned(), public, protocol: protocol.to_owned() }
    }

    #[test]
    fn neighbours_are_shown_as_ranges() {
        assert_eq!(display(&[]), "");
        assert_eq!(
            display(&[port("", 0, 80, "tcp"), port("", 0, 81, "tcp"), port("", 0, 90, "tcp")]),
            "80-81/tcp, 90/tcp"
        );
        assert_eq!(
            display(&[port("0.0.0.0", 80, 80, "tcp"), port("::", 80, 80, "tcp")]),
            "0.0.0.0:80->80/tcp, [::]:80->80/tcp"
        );
        assert_eq!(
            display(&[port("0.0.0.0", 8080, 80, "tcp"), port("", 0, 443, "tcp")]),
            "443/tcp, 0.0.0.0:8080->80/tcp"
        );
    }
}
