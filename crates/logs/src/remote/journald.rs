//! The host's journal, in its native protocol: one datagram an entry (systemd's JOURNAL_NATIVE_PROTOCOL).

use std::{collections::BTreeMap, io::Write, path::Path};

use rustix::fs::{MemfdFlags, SealFlags};

use super::{
    Line, SendError,
    connection::{Datagrams, Post, is_too_long},
};
use crate::{ContainerFacts, OptionError, Options};

const SOCKET: &str = "/run/systemd/journal/socket";
const ERROR: u8 = 3;
const INFORMATIONAL: u8 = 6;

/// A journal.
pub(crate) struct Journald {
    datagrams: Datagrams,
    /// What every entry holds, encoded.
    common: Vec<u8>,
    id: String,
}

impl Journald {
    pub(crate) fn open(options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        if !Path::new(SOCKET).exists() {
            return Err(OptionError::value("log-driver", "journald is not enabled on this host"));
        }
        Self::at(Path::new(SOCKET), options, facts)
    }

    fn at(socket: &Path, options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        let tag = facts.tag(options)?;
        let epoch: [u8; 32] = rand::random();
        let mut fields: BTreeMap<String, String> = [
            ("CONTAINER_ID", facts.short_id()),
            ("CONTAINER_ID_FULL", &facts.id),
            ("CONTAINER_NAME", facts.plain_name()),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", &facts.image_name),
            ("SYSLOG_IDENTIFIER", &tag),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let epoch: String = epoch.iter().map(|byte| format!("{byte:02x}")).collect();
        fields.insert("CONTAINER_LOG_EPOCH".to_owned(), epoch);
        fields.extend(facts.attributes(options, field_name)?);
        let mut common = Vec::new();
        for (key, value) in fields.iter().filter(|(key, _)| !key.is_empty()) {
            push(key, value.as_bytes(), &mut common);
        }
        let datagrams = Datagrams::new(Post::Unix(vec![socket.to_owned()]));
        Ok(Self { datagrams, common, id: facts.id.clone() })
    }

    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<(), SendError> {
        for line in lines {
            let entry = self.entry(line);
            match self.datagrams.send(&entry).await {
                Err(SendError::Io { source, .. }) if is_too_long(&source) => {
                    let file = sealed(&entry).map_err(|e| self.datagrams.io(e))?;
                    self.datagrams.send_descriptor(std::os::fd::AsFd::as_fd(&file)).await?;
                }
                sent => sent?,
            }
        }
        Ok(())
    }

    fn entry(&self, line: &Line) -> Vec<u8> {
        let mut out = self.common.clone();
        push("PRIORITY", if line.stderr { ERROR } else { INFORMATIONAL }.to_string().as_bytes(), &mut out);
        push("SYSLOG_TIMESTAMP", line.moment().to_string().as_bytes(), &mut out);
        push("CONTAINER_LOG_ORDINAL", line.number.to_string().as_bytes(), &mut out);
        if let Some(part) = line.part {
            push("CONTAINER_PARTIAL_ID", format!("{}{:016x}", self.id, part.first).as_bytes(), &mut out);
            push("CONTAINER_PARTIAL_ORDINAL", part.ordinal.to_string().as_bytes(), &mut out);
            push("CONTAINER_PARTIAL_LAST", part.last.to_string().as_bytes(), &mut out);
            if !part.last {
                push("CONTAINER_PARTIAL_MESSAGE", b"true", &mut out);
            }
        }
        push("MESSAGE", &line.text, &mut out);
        out
    }
}

/// `NAME=value`, or with the value's length if it has more than one line.
fn push(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if memchr::memchr(b'\n', value).is_none() {
        out.push(b'=');
    } else {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A name as the journal takes it: capital letters, digits, underscores, none of them at the beginning. May be empty then.
fn field_name(name: &str) -> String {
    let mapped = name.chars().map(|c| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    });
    mapped.skip_while(|c| *c == '_').collect()
}

/// An entry that is too long for a datagram, in a file that can no longer be changed.
fn sealed(entry: &[u8]) -> std::io::Result<std::fs::File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("journal-entry", flags)?);
    file.write_all(entry)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::{
        Part,
        testing::{block_on, facts, line, options},
    };
    use super::*;

    #[test]
    fn entries_arrive_with_their_fields_however_long_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let options = options(&[("labels", "app"), ("tag", "{{.Name}}")]);
        let mut facts = facts();
        facts.labels.insert("app".into(), "two\nlines".into());
        let mut journal = Journald::at(&path, &options, &facts).unwrap();
        let mut half = line(2, "half");
        half.part = Some(Part { first: 1, ordinal: 2, last: false });
        let long = line(3, &"x".repeat(1 << 20));
        block_on(journal.send(&[half, long])).unwrap();
        let mut space = vec![0; 4096];
        let len = socket.recv(&mut space).unwrap();
        let text = String::from_utf8_lossy(&space[..len]).into_owned();
        let fields: Vec<&str> = text.lines().collect();
        for field in [
            "CONTAINER_NAME=web",
            "CONTAINER_TAG=web",
            "SYSLOG_IDENTIFIER=web",
            "IMAGE_NAME=nginx:1",
            "PRIORITY=3",
            "CONTAINER_LOG_ORDINAL=2",
            "CONTAINER_PARTIAL_ORDINAL=2",
            "CONTAINER_PARTIAL_LAST=false",
            "CONTAINER_PARTIAL_MESSAGE=true",
            "SYSLOG_TIMESTAMP=2026-11-26T19:34:45.5Z",
            "MESSAGE=half",
        ] {
            assert!(fields.contains(&field), "{field} is not in {text}");
        }
        assert!(text.contains("APP\n\u{9}\0\0\0\0\0\0\0two\nlines\n"), "{text:?}");
        let (len, fds) = skiff_sys::socket::receive(&socket, &mut space).unwrap();
        assert_eq!((len, fds.len()), (0, 1));
        let mut file = std::fs::File::from(fds.into_iter().next().unwrap());
        std::io::Seek::rewind(&mut file).unwrap();
        let text = std::io::read_to_string(file).unwrap();
        assert!(text.ends_with("xxx\n") && text.len() > 1 << 20);
    }

    #[test]
    fn names_become_fields() {
        for (name, field) in
            [("com.example.app", "COM_EXAMPLE_APP"), ("__x-1", "X_1"), ("é", ""), ("PATH", "PATH")]
        {
            assert_eq!(field_name(name), field);
        }
    }
}
