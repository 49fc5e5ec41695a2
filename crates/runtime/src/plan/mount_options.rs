//! The words of a mount's `options`: attributes, propagation, and what is left for the file system.
//!
//! The table is that of the runtime specification (config.md, "Linux mount options") with what runc adds to it
//! (`tmpcopyup`, `nosymfollow`). See mount(8) and mount_setattr(2).

use skiff_sys::mount::attr;

use super::mounts::{Spread, Spreading};

/// What a list of options comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) set: u64,
    pub(super) clear: u64,
    pub(super) recursive_set: u64,
    pub(super) recursive_clear: u64,
    pub(super) spread: Vec<Spreading>,
    /// `bind` (false) or `rbind` (true).
    pub(super) bind: Option<bool>,
    pub(super) remount: bool,
    pub(super) copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub(super) idmap: Option<bool>,
    /// Flags of the superblock, such as `sync`.
    pub(super) superblock: Vec<&'static str>,
    /// What the file system itself must understand.
    pub(super) data: Vec<(String, Option<String>)>,
}

/// What one word does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    Nothing,
    Set(u64),
    Clear(u64),
    /// One of the access-time settings, which exclude each other.
    Atime(u64),
    Superblock(&'static str),
    NoSuperblock(&'static str),
    Spread(Spread),
    Bind,
    Remount,
    CopyUp,
    IdMap,
}

/// Every word that is not a file system's own. Those with `r` in front work on the whole tree.
const WORDS: &[(&str, Effect)] = &[
    ("defaults", Effect::Nothing),
    ("ro", Effect::Set(attr::RDONLY)),
    ("rw", Effect::Clear(attr::RDONLY)),
    ("nosuid", Effect::Set(attr::NOSUID)),
    ("suid", Effect::Clear(attr::NOSUID)),
    ("nodev", Effect::Set(attr::NODEV)),
    ("dev", Effect::Clear(attr::NODEV)),
    ("noexec", Effect::Set(attr::NOEXEC)),
    ("exec", Effect::Clear(attr::NOEXEC)),
    ("nodiratime", Effect::Set(attr::NODIRATIME)),
    ("diratime", Effect::Clear(attr::NODIRATIME)),
    ("nosymfollow", Effect::Set(attr::NOSYMFOLLOW)),
    ("symfollow", Effect::Clear(attr::NOSYMFOLLOW)),
    ("relatime", Effect::Atime(attr::RELATIME)),
    // Without any of these words the kernel's default is relatime, and that is what taking it back leads to.
    ("norelatime", Effect::Atime(attr::RELATIME)),
    ("noatime", Effect::Atime(attr::NOATIME)),
    ("atime", Effect::Atime(attr::RELATIME)),
    ("strictatime", Effect::Atime(attr::STRICTATIME)),
    ("nostrictatime", Effect::Atime(attr::RELATIME)),
    ("sync", Effect::Superblock("sync")),
    ("async", Effect::NoSuperblock("sync")),
    ("dirsync", Effect::Superblock("dirsync")),
    ("lazytime", Effect::Superblock("lazytime")),
    ("nolazytime", Effect::NoSuperblock("lazytime")),
    ("mand", Effect::Superblock("mand")),
    ("nomand", Effect::NoSuperblock("mand")),
    ("iversion", Effect::Superblock("iversion")),
    ("noiversion", Effect::NoSuperblock("iversion")),
    // Whether the kernel logs complaints; the mount calls used here never do.
    ("silent", Effect::Nothing),
    ("loud", Effect::Nothing),
    ("private", Effect::Spread(Spread::Private)),
    ("shared", Effect::Spread(Spread::Shared)),
    ("slave", Effect::Spread(Spread::Slave)),
    ("unbindable", Effect::Spread(Spread::Unbindable)),
    ("bind", Effect::Bind),
    ("remount", Effect::Remount),
    ("tmpcopyup", Effect::CopyUp),
    ("idmap", Effect::IdMap),
];

/// The words which also exist with an `r` in front.
const RECURSIVE: &[&str] = &[
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "nodiratime",
    "diratime",
    "nosymfollow",
    "symfollow",
    "relatime",
    "norelatime",
    "noatime",
    "atime",
    "strictatime",
    "nostrictatime",
    "private",
    "shared",
    "slave",
    "unbindable",
    "bind",
    "idmap",
];

/// Every word understood, for `features`.
pub fn known_words() -> Vec<String> {
    let mut words: Vec<String> = WORDS.iter().map(|(word, _)| (*word).to_owned()).collect();
    words.extend(RECURSIVE.iter().map(|word| format!("r{word}")));
    words.sort();
    words
}

/// The propagation that a single word names.
pub(super) fn propagation(word: &str) -> Option<Spreading> {
    match lookup(word) {
        Some((Effect::Spread(to), recursive)) => Some(Spreading { to, recursive }),
        _ => None,
    }
}

fn lookup(word: &str) -> Option<(Effect, bool)> {
    let find = |word: &str| WORDS.iter().find(|(known, _)| *known == word).map(|(_, effect)| *effect);
    // `remount`, `ro`, `rw` and `relatime` begin with an r of their own.
    if let Some(effect) = find(word) {
        return Some((effect, false));
    }
    let plain = word.strip_prefix('r').filter(|plain| RECURSIVE.contains(plain))?;
    find(plain).map(|effect| (effect, true))
}

impl Options {
    /// Later words win over earlier ones, as with mount(8).
    pub(super) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut options = Self::default();
        for word in words {
            match lookup(word) {
                Some((effect, recursive)) => options.take(effect, recursive),
                None if word.is_empty() => {}
                None => options.data.push(match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                }),
            }
        }
        options
    }

    fn take(&mut self, effect: Effect, recursive: bool) {
        match effect {
            Effect::Nothing => {}
            Effect::Set(bits) => self.attribute(bits, bits, recursive),
            Effect::Clear(bits) => self.attribute(0, bits, recursive),
            Effect::Atime(bits) => self.attribute(bits, attr::ATIME, recursive),
            Effect::Superblock(flag) => self.superblock.push(flag),
            Effect::NoSuperblock(flag) => self.superblock.retain(|set| *set != flag),
            Effect::Spread(to) => self.spread.push(Spreading { to, recursive }),
            Effect::Bind => self.bind = Some(recursive || self.bind == Some(true)),
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
            Effect::IdMap => self.idmap = Some(recursive),
        }
    }

    /// Gives the attributes under `mask` the value `bits`. The access time is a field, not a set of bits, and the
    /// kernel wants its whole mask cleared whenever it is set.
    fn attribute(&mut self, bits: u64, mask: u64, recursive: bool) {
        let (set, clear) = if recursive {
            (&mut self.recursive_set, &mut self.recursive_clear)
        } else {
            (&mut self.set, &mut self.clear)
        };
        *set = *set & !mask | bits;
        *clear |= mask;
        if mask != attr::ATIME {
            *clear &= !bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_wins() {
        let options = Options::parse(["ro", "noexec", "rw", "nosuid"]);
        assert_eq!(options.set, attr::NOEXEC | attr::NOSUID);
        assert_eq!(options.clear, attr::RDONLY);
    }

    #[test]
    fn an_access_time_clears_the_whole_field() {
        let options = Options::parse(["noatime", "strictatime"]);
        assert_eq!((options.set, options.clear), (attr::STRICTATIME, attr::ATIME));
        let options = Options::parse(["noatime", "atime"]);
        assert_eq!((options.set, options.clear), (0, attr::ATIME));
    }

    #[test]
    fn words_that_begin_with_r_are_not_mistaken_for_recursive_ones() {
        assert_eq!(Options::parse(["relatime"]).recursive_clear, 0);
        assert_eq!(Options::parse(["rrelatime"]).recursive_clear, attr::ATIME);
        assert_eq!(Options::parse(["rnorelatime"]).recursive_set, attr::RELATIME);
        assert_eq!(Options::parse(["ro"]).recursive_set, 0);
        assert_eq!(Options::parse(["rro"]).recursive_set, attr::RDONLY);
        assert!(Options::parse(["remount"]).remount);
        assert_eq!(Options::parse(["rbind", "bind"]).bind, Some(true));
    }

    #[test]
    fn propagation_keeps_its_order() {
        let options = Options::parse(["slave", "rshared"]);
        let expected = [
            Spreading { to: Spread::Slave, recursive: false },
            Spreading { to: Spread::Shared, recursive: true },
        ];
        assert_eq!(options.spread, expected);
    }

    #[test]
    fn the_rest_is_the_file_systems() {
        let options = Options::parse(["mode=755", "newinstance", "context=\"a:b,c\""]);
        let expected = [
            ("mode".to_owned(), Some("755".to_owned())),
            ("newinstance".to_owned(), None),
            ("context".to_owned(), Some("\"a:b,c\"".to_owned())),
        ];
        assert_eq!(options.data, expected);
        assert!(Options::parse(["sync", "async"]).superblock.is_empty());
    }
}
