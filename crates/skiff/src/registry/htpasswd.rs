//! `skiff registry htpasswd`: lines of a password file, in the manner of Apache's htpasswd. Only bcrypt.

use std::{
    io::{Read, Write},
    path::Path,
    process::ExitCode,
};

use skiff_registry::htpasswd::{line, with_line};

use super::{fail, say};

const USAGE: &str = "Usage:  skiff registry htpasswd [-cBi] [-C COST] FILE USER
        skiff registry htpasswd -b[cB] [-C COST] FILE USER PASSWORD
        skiff registry htpasswd -n[Bi] [-C COST] USER
        skiff registry htpasswd -nb[B] [-C COST] USER PASSWORD

Write a user and the bcrypt hash of a password to a file, or print them

Options:
  -b   The password is an argument
  -B   Use bcrypt; there is nothing else, so this changes nothing
  -c   Make the file, or empty it
  -C   The cost of the hash, 4 to 17 (default 10)
  -i   Read the password from standard input
  -n   Print the line instead of writing it to a file
";

#[derive(Default)]
struct Asked {
    batch: bool,
    create: bool,
    input: bool,
    print: bool,
    cost: Option<u32>,
    rest: Vec<String>,
}

pub(super) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return say(USAGE);
    }
    match parse(arguments).and_then(|asked| run(&asked)) {
        Ok(text) => say(&text),
        Err(reason) => fail(&format!("skiff registry htpasswd: {reason}")),
    }
}

fn parse(arguments: Vec<String>) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(letters) =
            argument.strip_prefix('-').filter(|rest| !rest.is_empty() && asked.rest.is_empty())
        else {
            asked.rest.push(argument);
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            match letter {
                'b' => asked.batch = true,
                'B' => {}
                'c' => asked.create = true,
                'i' => asked.input = true,
                'n' => asked.print = true,
                'C' => {
                    let rest: String = letters.by_ref().collect();
                    let text = if rest.is_empty() { arguments.next().unwrap_or_default() } else { rest };
                    asked.cost = Some(text.parse().map_err(|_| format!("{text:?} is not a cost"))?);
                }
                'm' | 'd' | 's' | 'p' | '2' | '5' => {
                    return Err(format!("-{letter}: only bcrypt is supported, as in every registry"));
                }
                other => return Err(format!("unknown option -{other}\n\n{USAGE}")),
            }
        }
    }
    if asked.print && asked.create {
        return Err("-n and -c exclude each other".to_owned());
    }
    if asked.batch && asked.input {
        return Err("-b and -i exclude each other".to_owned());
    }
    Ok(asked)
}

fn run(asked: &Asked) -> Result<String, String> {
    let mut rest = asked.rest.iter().map(String::as_str);
    let file = if asked.print { None } else { rest.next() };
    let (user, password, extra) = (rest.next(), rest.next(), rest.next());
    let user = user.ok_or_else(|| format!("a user is missing\n\n{USAGE}"))?;
    let password = match (asked.batch, asked.input, password) {
        (true, _, Some(password)) if extra.is_none() => password.to_owned(),
        (true, ..) => return Err(format!("-b needs a password, and nothing after it\n\n{USAGE}")),
        (false, true, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        (false, _, Some(extra)) => {
            return Err(format!("unexpected argument {extra:?}: use -b for a password"));
        }
        (false, false, None) => {
            return Err("where is the password? Use -b for an argument, -i for standard input".to_owned());
        }
    };
    let line = line(user, &password, asked.cost.unwrap_or(10)).map_err(|error| error.to_string())?;
    let Some(file) = file else { return Ok(format!("{line}\n")) };
    write(Path::new(file), user, &line, asked.create)?;
    Ok(String::new())
}

/// Replaces the file at once, so that a registry that reads it never sees a half.
fn write(path: &Path, user: &str, line: &str, create: bool) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let old = match (create, fs_err::read_to_string(path)) {
        (true, _) => String::new(),
        (false, Ok(old)) => old,
        (false, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("{error}; use -c to make it"));
        }
        (false, Err(error)) => return Err(error.to_string()),
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = fs_err::File::create(Path::new(&name)).map_err(text)?;
    file.write_all(with_line(&old, user, line).as_bytes()).and_then(|()| file.sync_all()).map_err(text)?;
    fs_err::rename(&name, path).map_err(text)
}
