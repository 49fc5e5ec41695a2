//! A stub: asks name servers for a name's addresses as a program in a namespace would (RFC 1035), and keeps nothing.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use super::{
    name,
    query::{HEADER, flag, header, kind, u16_at},
};
use crate::{NetworkError, sandbox};

const PORT: u16 = 53;
/// How long one name server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest answer that is taken; longer ones are cut by who sends them.
const LARGEST: usize = 4096;

/// The addresses of a name as the first of the servers that answers has them, those of IPv4 first; empty if it has none or nobody answers.
/// Blocks for as long as the servers let it wait, two seconds each.
///
/// # Errors
/// The namespace cannot be entered.
pub fn addresses_of(
    text: &str,
    servers: &[IpAddr],
    netns: BorrowedFd<'_>,
) -> Result<Vec<IpAddr>, NetworkError> {
    let Some(name) = name::encode(text) else { return Ok(Vec::new()) };
    sandbox::inside(netns, || {
        Ok(servers.iter().find_map(|server| ask(*server, &name).ok().flatten()).unwrap_or_default())
    })
}

/// What one server says; nothing if it does not answer both questions in time.
fn ask(server: IpAddr, name: &[u8]) -> io::Result<Option<Vec<IpAddr>>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(SocketAddr::new(server, PORT))?;
    let first: u16 = rand::random();
    for (id, kind) in [(first, kind::A), (first.wrapping_add(1), kind::AAAA)] {
        let mut message = header(id, flag::RECURSION_DESIRED, 0, 0);
        message.extend_from_slice(name);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&kind::INTERNET.to_be_bytes());
        socket.send(&message)?;
    }
    let mut found = [None, None];
    let until = Instant::now() + PATIENCE;
    let mut buffer = [0; LARGEST];
    while found.iter().any(Option::is_none) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        let message = &buffer[..length];
        let which = u16_at(message, 0).map(|id| id.wrapping_sub(first));
        if let Some(place) = which.and_then(|which| found.get_mut(usize::from(which))) {
            *place = Some(answers(message, name.len()).unwrap_or_default());
        }
    }
    Ok(Some(found.into_iter().flatten().flatten().collect()))
}

/// The addresses in an answer to a question with a name of that length, whoever they belong to: names that stand for others come with
/// theirs.
fn answers(message: &[u8], name: usize) -> Option<Vec<IpAddr>> {
    let mut out = Vec::new();
    let mut at = HEADER + name + 4;
    for _ in 0..u16_at(message, 6)? {
        let end = name::skip(message, at)?;
        let (kind, length) = (u16_at(message, end)?, usize::from(u16_at(message, end + 8)?));
        let data = message.get(end + 10..end + 10 + length)?;
        match kind {
            kind::A => out.push(IpAddr::from(<[u8; 4]>::try_from(data).ok()?)),
            kind::AAAA => out.push(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
            _ => {}
        }
        at = end + 10 + length;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_behind_other_names() {
        let name = name::encode("a.b").unwrap();
        let mut message = header(7, 0x8180, 2, 0);
        message.extend_from_slice(&name);
        message.extend_from_slice(&[0, 1, 0, 1]);
        // A CNAME, then its address.
        message.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 14]);
        message.extend_from_slice(&[0xc0, 14, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
        assert_eq!(answers(&message, name.len()), Some(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(answers(&message[..message.len() - 1], name.len()), None, "cut short");
    }
}
