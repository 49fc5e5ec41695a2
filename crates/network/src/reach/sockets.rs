//! Who listens in a network namespace: proc_net_tcp(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{NetworkError, Protocol};

/// `TCP_LISTEN`, and the state of a UDP socket that is connected to nobody.
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// Whether a socket of the calling thread's namespace takes what is sent to an address and port. Nothing if it cannot be told: SCTP keeps
/// its sockets elsewhere.
pub(super) fn listens(ip: IpAddr, protocol: Protocol, port: u16) -> Result<Option<bool>, NetworkError> {
    let (name, state) = match protocol {
        Protocol::Tcp => ("tcp", LISTENING),
        Protocol::Udp => ("udp", UNCONNECTED),
        Protocol::Sctp => return Ok(None),
    };
    let mut found = false;
    for table in [name.to_owned(), format!("{name}6")] {
        // A kernel without IPv6 has no second table.
        let text = fs_err::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        found |= text.lines().skip(1).filter_map(|line| socket(line, state)).any(|(at, bound)| {
            let any = at.is_unspecified() && (at.is_ipv6() || ip.is_ipv4());
            bound == port && (any || at.to_canonical() == ip)
        });
    }
    Ok(Some(found))
}

/// The address and port of a socket in this state.
fn socket(line: &str, state: &str) -> Option<(IpAddr, u16)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    (words.nth(1)? == state).then_some(())?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_proc_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17434";
        assert_eq!(socket(line, LISTENING), Some(("127.0.0.1".parse().unwrap(), 8080)));
        assert_eq!(socket(line, UNCONNECTED), None);
        let six =
            "  0: 000080FE00000000FF57A6705DC771FE:0050 00000000000000000000000000000000:0000 0A 00000000";
        assert_eq!(socket(six, LISTENING), Some(("fe80::70a6:57ff:fe71:c75d".parse().unwrap(), 80)));
        assert_eq!(socket("  sl  local_address", LISTENING), None);
    }
}
