//! `--user name:group` and `--group-add`, resolved by the image's own files.
//!
//! The files are opened inside the container's root (openat2(2), `RESOLVE_IN_ROOT`), so that no link in the image leads
//! out of it, and nothing of the image is run.

use std::{collections::HashSet, io::Read, os::fd::BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::{Error, Result, spec::User};

/// More than this of a file is not read.
const LARGEST: u64 = 16 << 20;

/// The contents of `/etc/passwd` and `/etc/group`; empty if the image has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) passwd: String,
    pub(crate) group: String,
}

impl Accounts {
    /// Reads them from a root directory.
    pub(crate) fn read(root: BorrowedFd<'_>) -> Self {
        Self { passwd: text(root, "etc/passwd"), group: text(root, "etc/group") }
    }
}

/// What cannot be read counts as empty, as with Docker: numbers still work then.
fn text(root: BorrowedFd<'_>, path: &str) -> String {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Non-blocking, in case the image has a named pipe there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(file) = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) else {
        return String::new();
    };
    let regular = rustix::fs::fstat(&file)
        .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::RegularFile);
    let mut bytes = Vec::new();
    if regular {
        let file = fs_err::File::from_parts(file.into(), path);
        if file.take(LARGEST).read_to_end(&mut bytes).is_err() {
            bytes.clear();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Person<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn people(passwd: &str) -> impl Iterator<Item = Person<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Person { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(Group { name, gid: fields.next()?.parse().ok()?, members: fields.next().unwrap_or_default() })
    })
}

/// A number of a user or group, or none if it is a name.
fn number(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(n) if n <= i32::MAX as u32 => Ok(Some(n)),
        _ => Err(Error::Internal("uids and gids must be in range 0-2147483647".into())),
    }
}

/// Who `user` is and which groups they have.
///
/// # Errors
/// A name that the image does not know, a number out of range.
pub(crate) fn resolve(accounts: &Accounts, user: &str, group_add: &[String]) -> Result<User> {
    let (name, group) = user.split_once(':').unwrap_or((user, ""));
    let name = if name.is_empty() { "0" } else { name };
    let wanted = people(&accounts.passwd).find(|p| p.name == name || p.uid.to_string() == name);
    let (uid, mut gid, home) = match (&wanted, number(name)?) {
        (Some(person), _) => (person.uid, person.gid, person.home.to_owned()),
        (None, Some(uid)) => (uid, 0, "/".to_owned()),
        (None, None) => {
            return Err(Error::Internal(format!(
                "unable to find user {name}: no matching entries in passwd file"
            )));
        }
    };
    let mut more = Vec::new();
    if !group.is_empty() {
        gid = find_group(accounts, group)?;
    } else if let Some(person) = &wanted {
        let member = |g: &Group<'_>| g.members.split(',').any(|m| m == person.name);
        more.extend(groups(&accounts.group).filter(member).map(|g| g.gid));
    }
    for added in group_add {
        more.push(find_group(accounts, added)?);
    }
    // An image's list may be as long as it likes.
    let mut seen = HashSet::from([gid]);
    let mut all = vec![gid];
    all.extend(more.into_iter().filter(|gid| seen.insert(*gid)));
    Ok(User { uid, gid, groups: all, home })
}

/// Who owns what is copied into a container that runs as `user`.
///
/// # Errors
/// A name that the image does not know.
pub(crate) fn owner(accounts: &Accounts, user: &str) -> Result<(u32, u32)> {
    let (name, group) = user.split_once(':').unwrap_or((user, ""));
    let unknown = |what: &str, name: &str, file: &str| {
        Error::Invalid(format!(
            "failed to look up {what} {name:?} in container: no matching entries in {file} file"
        ))
    };
    let found = resolve(accounts, name, &[]).map_err(|_| unknown("user", name, "passwd"))?;
    let gid = match group {
        "" => found.gid,
        group => find_group(accounts, group).map_err(|_| unknown("group", group, "group"))?,
    };
    Ok((found.uid, gid))
}

fn find_group(accounts: &Accounts, group: &str) -> Result<u32> {
    if let Some(found) = groups(&accounts.group).find(|g| g.name == group || g.gid.to_string() == group) {
        return Ok(found.gid);
    }
    number(group)?.ok_or_else(|| {
        Error::Internal(format!("unable to find group {group}: no matching entries in group file"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbroken\n".into(),
            group: "root:x:0:\nwheel:x:10:root,alice\nvideo:x:44:alice\nalice:x:1000:\n".into(),
        }
    }

    /// As a real Docker's bundles have it for the same files.
    #[test]
    fn users_and_groups_are_those_of_the_image() {
        for (user, add, uid, gid, groups, home) in [
            ("", &[][..], 0, 0, &[0, 10][..], "/root"),
            ("alice", &[], 1000, 1000, &[1000, 10, 44], "/home/alice"),
            ("1000:video", &[], 1000, 44, &[44], "/home/alice"),
            ("1234", &["wheel", "77"], 1234, 0, &[0, 10, 77], "/"),
            (":44", &[], 0, 44, &[44], "/root"),
            ("5:5", &[], 5, 5, &[5], "/"),
        ] {
            let add: Vec<String> = add.iter().map(|s| (*s).to_owned()).collect();
            let found = resolve(&accounts(), user, &add).unwrap();
            assert_eq!(found, User { uid, gid, groups: groups.to_vec(), home: home.into() }, "{user:?}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused_in_dockers_words() {
        for (user, message) in [
            ("nope", "unable to find user nope: no matching entries in passwd file"),
            ("0:nope", "unable to find group nope: no matching entries in group file"),
            ("-1", "uids and gids must be in range 0-2147483647"),
            ("99999999999", "uids and gids must be in range 0-2147483647"),
        ] {
            assert_eq!(resolve(&accounts(), user, &[]).unwrap_err().to_string(), message);
        }
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn owners_of_copies_are_those_of_the_image_too() {
        let owner = |user: &str| owner(&accounts(), user).map_err(|e| e.to_string());
        assert_eq!(owner("alice"), Ok((1000, 1000)));
        assert_eq!(owner("1000:video"), Ok((1000, 44)));
        assert_eq!(owner("12345"), Ok((12345, 0)));
        for (user, message) in [
            ("nope", r#"failed to look up user "nope" in container: no matching entries in passwd file"#),
            ("-1", r#"failed to look up user "-1" in container: no matching entries in passwd file"#),
            ("0:nope", r#"failed to look up group "nope" in container: no matching entries in group file"#),
            ("x:y:z", r#"failed to look up user "x" in container: no matching entries in passwd file"#),
        ] {
            assert_eq!(owner(user), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_link_in_the_image_does_not_lead_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc");
        fs_err::create_dir(&etc).unwrap();
        fs_err::os::unix::fs::symlink("/etc/other", etc.join("passwd")).unwrap();
        fs_err::write(etc.join("other"), "inside:x:7:7::/:\n").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, etc.join("group"), Mode::RWXU).unwrap();
        let dir = fs_err::File::open(root.path()).unwrap();
        let accounts = Accounts::read(dir.as_fd());
        assert_eq!(resolve(&accounts, "inside", &[]).unwrap().uid, 7);
        assert_eq!(accounts.group, "");
    }
}
