//! One option.

/// A kind of value.
pub(crate) struct Type {
    /// As help names it: `list`, `bytes`.
    pub(crate) name: &'static str,
    /// Checks a value as it was written and gives it back as it is kept; the error is docker's wording.
    pub(crate) check: fn(&str) -> Result<String, String>,
}

/// What an option carries.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Nothing, or `=true` and the like.
    Switch,
    /// A value; the last one counts.
    One(&'static Type),
    /// A value each time; all count.
    Many(&'static Type),
}

/// An option of a command.
pub(crate) struct Flag {
    /// Its letter, or NUL.
    pub(crate) short: char,
    /// Its name without the dashes.
    pub(crate) long: &'static str,
    /// What it carries.
    pub(crate) kind: Kind,
    /// What help says; several lines if need be.
    pub(crate) help: &'static str,
    /// The value if it is not given, as help shows it.
    pub(crate) default: &'static str,
    /// Whether help leaves it out.
    pub(crate) hidden: bool,
    /// Whether docker does not have it.
    pub(crate) own: bool,
    /// The option as whose value this one's counts.
    pub(crate) same_as: Option<&'static str>,
    /// What to say when it is used although it should no longer be.
    pub(crate) deprecated: Option<&'static str>,
}

const fn flag(short: char, long: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { short, long, kind, help, default: "", hidden: false, own: false, same_as: None, deprecated: None }
}

/// An option without a value.
pub(crate) const fn switch(short: char, long: &'static str, help: &'static str) -> Flag {
    flag(short, long, Kind::Switch, help)
}

/// An option with a value.
pub(crate) const fn value(short: char, long: &'static str, of: &'static Type, help: &'static str) -> Flag {
    flag(short, long, Kind::One(of), help)
}

/// An option that may be repeated.
pub(crate) const fn list(short: char, long: &'static str, of: &'static Type, help: &'static str) -> Flag {
    flag(short, long, Kind::Many(of), help)
}

impl Flag {
    /// With this value if it is not given.
    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// Left out of help.
    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// One that docker does not have.
    pub(crate) const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// Another, hidden name of `other`.
    pub(crate) const fn alias_of(mut self, other: &'static str) -> Self {
        self.same_as = Some(other);
        self.hidden()
    }

    /// The former name of `other`, with this advice to who uses it.
    pub(crate) const fn deprecated(mut self, other: &'static str, advice: &'static str) -> Self {
        self.deprecated = Some(advice);
        self.alias_of(other)
    }

    /// As errors name it: `-m, --memory`.
    pub(crate) fn label(&self) -> String {
        match self.short {
            '\0' => format!("--{}", self.long),
            short => format!("-{short}, --{}", self.long),
        }
    }
}
