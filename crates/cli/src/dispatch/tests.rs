//! Grammar, help and errors against recordings of docker 28.5.2: `recordings/help.txt` (a terminal of 80 columns) and
//! `recordings/errors.txt` (each command line, its exit code and what it said). None of them reaches an engine.

use super::*;

/// The words of a recorded command line; single and double quotes protect blanks.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What follows each `$ …` line.
fn records(text: &str) -> Vec<(&str, &str)> {
    let mut parts = text.split("\n$ ");
    let first = parts.next().and_then(|part| part.strip_prefix("$ "));
    first.into_iter().chain(parts).filter_map(|part| part.split_once('\n')).collect()
}

#[test]
fn wrong_command_lines_are_refused_in_docker_s_words() {
    let mut wrong = Vec::new();
    for (line, said) in records(include_str!("../../recordings/errors.txt")) {
        let (code, message) = said.split_once('\n').unwrap();
        let mut given = words(line);
        // What names an engine of its own is about that.
        if !given.iter().any(|word| matches!(word.as_str(), "-H" | "-c" | "-l")) {
            given.splice(0..0, ["-H".to_owned(), "unix:///nonexistent.sock".to_owned()]);
        }
        let failure = run("docker", &given).err();
        let expected = Failure::new(message.trim_end()).code(code.parse().unwrap());
        let same = failure.as_ref().is_some_and(|failure| {
            failure.code == expected.code && failure.message.trim_end() == expected.message
        });
        if !same {
            wrong.push(format!("$ {line}\nexpected {expected:?}\n     got {failure:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn help_is_docker_s() {
    for (path, text) in records(include_str!("../../recordings/help.txt")) {
        let mut node = Node::Group(&ROOT);
        for name in path.split(' ') {
            let Node::Group(group) = node else { panic!("{path}: a command has no commands") };
            node = group.find(name).unwrap_or_else(|| panic!("no command {path}")).node;
        }
        let Node::Command(command) = node else { panic!("{path} is a group") };
        let help = grammar::command_help(command, &format!("docker {path}"), 80);
        assert_eq!(help.trim_end(), text.trim_end(), "{path}");
    }
}

#[test]
fn what_is_not_supported_yet_is_told_from_what_does_not_exist() {
    let said = |line: &str| run("skiff", &words(line)).unwrap_err().message;
    assert_eq!(said("build ."), "skiff: 'build' is not supported by this version of skiff");
    assert_eq!(said("image build ."), "skiff: 'image build' is not supported by this version of skiff");
    assert_eq!(said("foo"), "skiff: unknown command: skiff foo\n\nRun 'skiff --help' for more information");
}

#[test]
fn names_and_options_are_unique() {
    fn check(group: &crate::grammar::Group, path: &str) {
        for (i, entry) in group.entries.iter().enumerate() {
            let names = || entry.also.iter().chain([&entry.name]);
            let later = &group.entries[i + 1..];
            assert!(names().all(|n| !later.iter().any(|e| e.name == *n)), "{path} {}", entry.name);
            match entry.node {
                Node::Group(below) => check(below, &format!("{path} {}", entry.name)),
                Node::Command(command) => {
                    let flags: Vec<&Flag> = command.all_flags().collect();
                    for (i, flag) in flags.iter().enumerate() {
                        let twin = flags[i + 1..]
                            .iter()
                            .find(|f| f.long == flag.long || (f.short == flag.short && f.short != '\0'));
                        assert!(twin.is_none(), "{path} {}: {}", entry.name, flag.label());
                    }
                }
            }
        }
    }
    check(&ROOT, "docker");
}
