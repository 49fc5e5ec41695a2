//! The grammar of docker's command line: its tables' types, the parser, and the help derived from the tables.
//!
//! The rules are those of Go's pflag and cobra, down to the text of each error, because scripts have come to depend
//! on them: options stop at the image's name for `run`, `-it` is two options, `-p80:80` carries its value, and a
//! wrong option exits with 125 while a wrong number of arguments exits with 1. (docs/adr: own parser instead of clap.)

mod flag;
mod help;
mod matches;
mod parse;

pub(crate) use flag::{Flag, Kind, Type, list, switch, value};
pub(crate) use help::{command_help, group_help, root_help};
pub(crate) use matches::Matches;
pub(crate) use parse::{Parsed, parse};
pub(crate) use skiff_go::{format_duration, parse_bool, parse_duration, parse_int, parse_uint, quote};

/// What a command does; `commands` has one function for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Attach,
    Commit,
    ContainerInspect,
    ContainerLs,
    ContainerPrune,
    Cp,
    Create,
    Diff,
    DiskUsage,
    Events,
    Exec,
    Explain,
    Export,
    History,
    ImageInspect,
    ImageLs,
    ImagePrune,
    ImageRm,
    ImageVerify,
    Import,
    Info,
    Inspect,
    Kill,
    Load,
    Login,
    Logout,
    Logs,
    ManifestAnnotate,
    ManifestCreate,
    ManifestInspect,
    ManifestPush,
    ManifestRm,
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
    NetworkExplain,
    NetworkInspect,
    NetworkLs,
    NetworkPrune,
    NetworkRm,
    Pause,
    Port,
    Pull,
    Push,
    Rename,
    Restart,
    Rm,
    Run,
    Save,
    Search,
    Start,
    Stats,
    Stop,
    SystemPrune,
    Tag,
    Top,
    Unpause,
    Update,
    Version,
    VolumeCreate,
    VolumeInspect,
    VolumeLs,
    VolumePrune,
    VolumeRm,
    VolumeUpdate,
    Wait,
}

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Args {
    /// None.
    None,
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From the first to the second.
    Between(usize, usize),
}

/// A command that does something.
pub(crate) struct Command {
    /// What it does.
    pub(crate) verb: Verb,
    /// Its arguments, as the usage line shows them after the name.
    pub(crate) usage: &'static str,
    /// One line, and for its own help perhaps more.
    pub(crate) about: &'static str,
    /// The full names under which it can be called, as help shows them; may be empty.
    pub(crate) aliases: &'static str,
    /// How many arguments it takes.
    pub(crate) args: Args,
    /// Whether options may follow arguments.
    pub(crate) interspersed: bool,
    /// Its options, in tables that several commands may share.
    pub(crate) flags: &'static [&'static [Flag]],
}

/// Commands below a common word.
pub(crate) struct Group {
    /// One line.
    pub(crate) about: &'static str,
    /// What is below.
    pub(crate) entries: &'static [Entry],
}

/// A name in a [`Group`].
pub(crate) struct Entry {
    /// Its first name.
    pub(crate) name: &'static str,
    /// Its other names.
    pub(crate) also: &'static [&'static str],
    /// Under which heading the help lists it.
    pub(crate) section: Section,
    /// What it names.
    pub(crate) node: Node,
}

impl Entry {
    /// The same with other names.
    pub(crate) const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }

    /// The same, left out of the help.
    pub(crate) const fn hidden(mut self) -> Self {
        self.section = Section::Hidden;
        self
    }
}

/// A heading of the help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Common Commands.
    Common,
    /// Management Commands.
    Management,
    /// Commands.
    Plain,
    /// None.
    Hidden,
}

/// What a name leads to.
#[derive(Clone, Copy)]
pub(crate) enum Node {
    /// More names.
    Group(&'static Group),
    /// A command.
    Command(&'static Command),
}

impl Group {
    /// The entry of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Entry> {
        self.entries.iter().find(|e| e.name == name || e.also.contains(&name))
    }
}

impl Command {
    /// All its options.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().flat_map(|table| table.iter())
    }

    /// What is wrong with so many arguments; `path` is the command as called.
    pub(crate) fn check_args(&self, path: &str, given: usize) -> Result<(), String> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        let program = path.split(' ').next().unwrap_or_default();
        // The last line differs by rule, one of them with a slip; all are docker's.
        let (complaint, last) = match self.args {
            Args::None if given > 0 => ("accepts no arguments".to_owned(), "Run"),
            Args::Exactly(n) if given != n => (format!("requires {n} {}", plural(n)), "Run"),
            Args::AtLeast(n) if given < n => (format!("requires at least {n} {}", plural(n)), "See"),
            Args::AtMost(n) if given > n => (format!("requires at most {n} {}", plural(n)), "SRun"),
            Args::Between(a, b) if given < a || given > b => {
                (format!("requires at least {a} and at most {b} {}", plural(b)), "Run")
            }
            _ => return Ok(()),
        };
        Err(format!(
            "{program}: '{path}' {complaint}\n\nUsage:  {}\n\n{last} '{path} --help' for more information",
            self.use_line(path)
        ))
    }

    /// The usage line without its heading.
    pub(crate) fn use_line(&self, path: &str) -> String {
        if self.usage.is_empty() { path.to_owned() } else { format!("{path} {}", self.usage) }
    }
}
