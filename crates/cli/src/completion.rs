//! Completion for bash, zsh and fish: `completion SHELL` prints a script, which asks `__complete WORDS…` for what may
//! come next. Both read the same tables as the parser.

use crate::{
    failure::Outcome,
    grammar::{Command, Flag, Kind, Matches, Node, Section, Verb},
    say,
    session::Session,
    table::{GLOBAL, ROOT},
};

/// `completion SHELL`.
pub(crate) fn print_script(program: &str, shell: Option<&str>) -> Outcome {
    let script = match shell {
        Some("bash") => BASH,
        Some("zsh") => ZSH,
        Some("fish") => FISH,
        _ => return Err(format!("usage: {program} completion bash|zsh|fish").into()),
    };
    say::print(script.replace("PROGRAM", program).as_bytes());
    Ok(())
}

const BASH: &str = "# bash completion for PROGRAM: source <(PROGRAM completion bash)
_PROGRAM_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W \"$(PROGRAM __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null | cut -f1)\" -- \\
        \"${COMP_WORDS[COMP_CWORD]}\"))
}
complete -o default -F _PROGRAM_complete PROGRAM
";

const ZSH: &str = "#compdef PROGRAM
# zsh completion for PROGRAM: source <(PROGRAM completion zsh)
_PROGRAM() {
    local -a found
    local line
    for line in ${(f)\"$(PROGRAM __complete \"${words[@]:1:$((CURRENT-1))}\" 2>/dev/null)\"}; do
        found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")
    done
    _describe 'PROGRAM' found || _files
}
compdef _PROGRAM PROGRAM
";

const FISH: &str = "# fish completion for PROGRAM: PROGRAM completion fish | source
function __PROGRAM_complete
    set -l words (commandline -opc) (commandline -ct)
    PROGRAM __complete $words[2..-1] 2>/dev/null
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
";

/// What may stand for the last of some words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// Fixed words, each with a line about it.
    Words(Vec<(String, &'static str)>),
    /// Names of containers.
    Containers,
    /// Names of images.
    Images,
    /// Names of networks.
    Networks,
    /// Names of volumes.
    Volumes,
}

/// What may come where the last of `words` stands.
pub(crate) fn candidates(words: &[String]) -> Candidates {
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let mut node = Node::Group(&ROOT);
    let mut flags: Vec<&'static Flag> = GLOBAL.iter().collect();
    let mut at = 0;
    let mut arguments = 0;
    while let Some(word) = before.get(at) {
        at += 1;
        if word.starts_with('-') {
            // The value of an option is not a word of the command.
            let takes_value = flags.iter().any(|flag| {
                let named = *word == format!("--{}", flag.long) || *word == format!("-{}", flag.short);
                named && !matches!(flag.kind, Kind::Switch)
            });
            at += usize::from(takes_value);
            continue;
        }
        match node {
            Node::Group(group) => match group.find(word) {
                Some(entry) => {
                    node = entry.node;
                    flags = match node {
                        Node::Command(command) => command.all_flags().collect(),
                        Node::Group(_) => Vec::new(),
                    };
                }
                None => return Candidates::Words(Vec::new()),
            },
            Node::Command(_) => arguments += 1,
        }
    }
    if at > before.len() {
        return Candidates::Words(Vec::new());
    }
    match node {
        Node::Command(command) if arguments > 0 && !command.interspersed => Candidates::Words(Vec::new()),
        _ if last.starts_with('-') => Candidates::Words(options(&flags)),
        Node::Group(group) => Candidates::Words(
            group
                .entries
                .iter()
                .filter(|entry| entry.section != Section::Hidden)
                .map(|entry| {
                    let about = match entry.node {
                        Node::Group(below) => below.about,
                        Node::Command(command) => command.about,
                    };
                    (entry.name.to_owned(), about)
                })
                .collect(),
        ),
        Node::Command(command) => arguments_of(command, arguments),
    }
}

fn options(flags: &[&'static Flag]) -> Vec<(String, &'static str)> {
    let shown = flags.iter().filter(|flag| !flag.hidden);
    shown.map(|flag| (format!("--{}", flag.long), flag.help.lines().next().unwrap_or_default())).collect()
}

/// What an argument may be, `before` of which are there already.
fn arguments_of(command: &Command, before: usize) -> Candidates {
    match command.verb {
        Verb::Run
        | Verb::Create
        | Verb::History
        | Verb::ImageInspect
        | Verb::ImageLs
        | Verb::ImageRm
        | Verb::Pull
        | Verb::Save
        | Verb::Tag => Candidates::Images,
        Verb::VolumeInspect | Verb::VolumeRm | Verb::VolumeUpdate => Candidates::Volumes,
        Verb::Events
        | Verb::Import
        | Verb::Info
        | Verb::Load
        | Verb::NetworkCreate
        | Verb::NetworkLs
        | Verb::NetworkPrune
        | Verb::ContainerLs
        | Verb::Version
        | Verb::VolumeCreate
        | Verb::VolumeLs
        | Verb::VolumePrune => Candidates::Words(Vec::new()),
        Verb::NetworkInspect | Verb::NetworkRm => Candidates::Networks,
        Verb::NetworkConnect | Verb::NetworkDisconnect if before == 0 => Candidates::Networks,
        _ => Candidates::Containers,
    }
}

/// `__complete WORDS…`: a candidate on each line, a tab and a line about it. An engine that does not answer has no
/// names; none is started.
pub(crate) fn complete(program: &'static str, globals: &Matches, words: &[String]) -> Outcome {
    let names = match candidates(words) {
        Candidates::Words(words) => {
            let lines: Vec<String> = words.iter().map(|(word, about)| format!("{word}\t{about}\n")).collect();
            say::print(lines.concat().as_bytes());
            return Ok(());
        }
        other => other,
    };
    let session = Session::new(program, globals)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        match names {
            Candidates::Images => session.image_names().await,
            Candidates::Networks => session.network_names().await,
            Candidates::Volumes => session.volume_names().await,
            _ => session.container_names().await,
        }
    })?;
    found.iter().for_each(|name| say::line(&format!("{name}\t")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match candidates(&words) {
            Candidates::Words(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn commands_options_and_names_are_offered_where_they_fit() {
        assert!(offered("").contains(&"run".to_owned()));
        assert!(offered("container ").contains(&"ls".to_owned()));
        assert!(offered("-H unix:///x image ").contains(&"history".to_owned()));
        assert!(offered("run --").contains(&"--memory".to_owned()));
        assert!(!offered("run --").contains(&"--net".to_owned()));
        assert!(offered("-").contains(&"--host".to_owned()));
        assert_eq!(offered("run -e A=b "), ["Images"]);
        assert_eq!(offered("stop web "), ["Containers"]);
        assert_eq!(offered("network connect "), ["Networks"]);
        assert_eq!(offered("network connect net "), ["Containers"]);
        assert_eq!(offered("volume rm "), ["Volumes"]);
        assert!(!offered("volume ").contains(&"update".to_owned()));
        assert_eq!(offered("run busybox "), Vec::<String>::new());
        assert_eq!(offered("run --name "), Vec::<String>::new());
    }
}
