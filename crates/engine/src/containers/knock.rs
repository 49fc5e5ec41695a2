//! Health checks without a process: the engine connects from inside the container's network namespace.

use std::{io, net::SocketAddr, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketFlags, SocketType},
};
use skiff_network::Opener;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{container::Live, model::check::HttpProbe};

/// Bytes of an answer that are looked at: the first line is among them.
const LOOKED_AT: usize = 1024;

/// How a try went: the exit code that a program would have had, and what to say.
pub(super) type Outcome = (i32, String);

/// Connects.
pub(super) async fn tcp(opener: &Opener, live: &Live, addresses: &[SocketAddr]) -> Outcome {
    match connect(opener, live, addresses).await {
        Ok((_, address)) => (0, format!("connected to {address}")),
        Err(failure) => (1, failure),
    }
}

/// Asks for a page: everything from 200 to 399 is well.
pub(super) async fn http(opener: &Opener, live: &Live, probe: &HttpProbe) -> Outcome {
    let (stream, address) = match connect(opener, live, &probe.addresses).await {
        Ok(connected) => connected,
        Err(failure) => return (1, failure),
    };
    let answer = match ask(stream, probe).await {
        Ok(answer) => answer,
        Err(e) => return (1, format!("{address}: {e}")),
    };
    let first = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first).trim_end().to_owned();
    match status(&first) {
        Some(200..=399) => (0, first),
        Some(_) => (1, first),
        None => (1, format!("{address}: the answer is not HTTP")),
    }
}

/// The number in `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    let number = rest.split(' ').next()?;
    (version.starts_with("HTTP/") && number.len() == 3).then(|| number.parse().ok()).flatten()
}

async fn ask(mut stream: TcpStream, probe: &HttpProbe) -> io::Result<Vec<u8>> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: skiff-health\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.path, probe.host
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while answer.len() < LOOKED_AT && !answer.contains(&b'\n') {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer)
}

async fn connect(
    opener: &Opener,
    live: &Live,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), String> {
    let mut failures = Vec::new();
    for address in addresses {
        match connect_to(opener, live, *address).await {
            Ok(stream) => return Ok((stream, *address)),
            Err(e) => failures.push(format!("dial tcp {address}: {}", words(&e))),
        }
    }
    // Of both names of this host the first is the one that people mean.
    Err(failures.into_iter().next().unwrap_or_default())
}

async fn connect_to(opener: &Opener, live: &Live, address: SocketAddr) -> io::Result<TcpStream> {
    let path = format!("/proc/{}/ns/net", live.pid);
    let netns = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let socket = opener.inside_soon(std::os::fd::AsFd::as_fd(&netns), move || open(address)).await?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// The kernel's words.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => skiff_runtime::apply::errno_text(errno),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn the_status_is_read() {
        assert_eq!(status("HTTP/1.1 200 OK"), Some(200));
        assert_eq!(status("HTTP/1.0 503"), Some(503));
        for other in ["", "SSH-2.0-OpenSSH", "HTTP/1.1 2000", "HTTP/1.1", "ICY 200 OK"] {
            assert_eq!(status(other), None, "{other}");
        }
    }
}
