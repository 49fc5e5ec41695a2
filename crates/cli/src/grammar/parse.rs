//! Options out of words, by pflag's rules.

use super::{Flag, Kind, Matches, quote};

/// What stands in the words.
pub(crate) struct Parsed {
    /// The options.
    pub(crate) matches: Matches,
    /// What is left.
    pub(crate) args: Vec<String>,
    /// Help was asked for.
    pub(crate) help: bool,
    /// Notes to print about options that should no longer be used.
    pub(crate) notes: Vec<String>,
}

/// What is wrong with an option, in pflag's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FlagError(pub(crate) String);

/// Reads options from `words`. Unless `interspersed`, the first argument ends them.
pub(crate) fn parse(
    flags: Vec<&'static Flag>,
    interspersed: bool,
    words: &[String],
) -> Result<Parsed, FlagError> {
    let mut parser = Parser {
        parsed: Parsed { matches: Matches::new(flags), args: Vec::new(), help: false, notes: Vec::new() },
        words,
        at: 0,
    };
    parser.run(interspersed)?;
    Ok(parser.parsed)
}

struct Parser<'a> {
    parsed: Parsed,
    words: &'a [String],
    at: usize,
}

impl Parser<'_> {
    fn run(&mut self, interspersed: bool) -> Result<(), FlagError> {
        while let Some(word) = self.next() {
            match word.as_bytes() {
                b"--" => break,
                [b'-', b'-', ..] => self.long(&word)?,
                [b'-', _, ..] => self.short(&word[1..])?,
                _ => {
                    self.parsed.args.push(word);
                    if !interspersed {
                        break;
                    }
                }
            }
        }
        self.parsed.args.extend_from_slice(&self.words[self.at..]);
        Ok(())
    }

    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at)?.clone();
        self.at += 1;
        Some(word)
    }

    fn long(&mut self, word: &str) -> Result<(), FlagError> {
        let body = &word[2..];
        if body.starts_with(['-', '=']) {
            return Err(FlagError(format!("bad flag syntax: {word}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = self.parsed.matches.flags().iter().find(|f| f.long == name).copied() else {
            if name == "help" {
                self.parsed.help = value.is_none_or(|v| v == "true");
                return Ok(());
            }
            return Err(FlagError(format!("unknown flag: --{name}")));
        };
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => self.next().ok_or_else(|| FlagError(format!("flag needs an argument: --{name}")))?,
        };
        self.set(flag, &value)
    }

    fn short(&mut self, letters: &str) -> Result<(), FlagError> {
        let mut rest = letters;
        while let Some(letter) = rest.chars().next() {
            let tail = &rest[letter.len_utf8()..];
            let Some(flag) = self.parsed.matches.flags().iter().find(|f| f.short == letter).copied() else {
                if letter == 'h' {
                    self.parsed.help = true;
                    self.parsed.notes.push("Flag shorthand -h has been deprecated, use --help".to_owned());
                    rest = tail;
                    continue;
                }
                return Err(FlagError(format!("unknown shorthand flag: '{letter}' in -{rest}")));
            };
            let value = match (tail.strip_prefix('='), flag.kind) {
                (Some(value), _) if !value.is_empty() => value.to_owned(),
                (_, Kind::Switch) => {
                    self.set(flag, "true")?;
                    rest = tail;
                    continue;
                }
                _ if !tail.is_empty() => tail.to_owned(),
                _ => self
                    .next()
                    .ok_or_else(|| FlagError(format!("flag needs an argument: '{letter}' in -{rest}")))?,
            };
            return self.set(flag, &value);
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), FlagError> {
        let checked = match flag.kind {
            Kind::Switch => skiff_go::parse_bool(value).map(|b| b.to_string()),
            Kind::One(of) | Kind::Many(of) => (of.check)(value),
        };
        let checked = checked.map_err(|e| {
            FlagError(format!("invalid argument {} for \"{}\" flag: {e}", quote(value), flag.label()))
        })?;
        if let Some(advice) = flag.deprecated {
            self.parsed.notes.push(format!("Flag --{} has been deprecated, {advice}", flag.long));
        }
        if flag.long == "help" {
            self.parsed.help = checked == "true";
            return Ok(());
        }
        match flag.kind {
            Kind::Many(of) if of.name == "strings" => {
                for one in checked.split(',') {
                    self.parsed.matches.push(flag, one.to_owned());
                }
            }
            // An empty filter is no filter.
            Kind::Many(of) if of.name == "filter" && checked.is_empty() => {}
            _ => self.parsed.matches.push(flag, checked),
        }
        Ok(())
    }
}
