//! Who a client is, and what it may do.

pub(crate) mod credentials;
pub mod htpasswd;
pub(crate) mod passwords;
pub(crate) mod token;

use std::{net::IpAddr, sync::Arc};

use crate::{Error, accounts::Accounts, config::AuthMode, http::route::Asked, name::Name};

use self::{
    htpasswd::Htpasswd,
    passwords::Passwords,
    token::{Claims, Signer},
};

/// What is done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    pub(crate) const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// As scopes of tokens spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// A client that has said who it is, or that nobody knows.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// What records and the audit log call it; empty for nobody.
    pub(crate) name: Arc<str>,
    pub(crate) kind: CallerKind,
    /// Where it is; None for the operator.
    pub(crate) address: Option<IpAddr>,
    /// What it sends, if that may change something.
    pub(crate) request: Option<Arc<Asked>>,
    /// Where it believes the registry to be, to be told where tokens and manifests are.
    pub(crate) base: Arc<str>,
}

/// Where a caller's rights come from.
#[derive(Clone, Debug)]
pub(crate) enum CallerKind {
    /// Has shown nothing.
    Nobody,
    /// Has shown a password or a robot's token.
    Known,
    /// Has shown a token, which was given for some rights only.
    Token(Arc<Claims>),
    /// Connected to the operator's socket.
    Operator,
}

impl Caller {
    fn new(kind: CallerKind, name: &str, base: &str) -> Self {
        Self { name: Arc::from(name), kind, address: None, request: None, base: Arc::from(base) }
    }

    pub(crate) fn operator() -> Self {
        Self::new(CallerKind::Operator, "operator", "")
    }

    /// The rules of a project, which remove what is old.
    pub(crate) fn retention() -> Self {
        Self { name: Arc::from("retention"), ..Self::operator() }
    }

    /// Somebody who is signed in to the pages.
    pub(crate) fn known(name: &str, base: &str) -> Self {
        Self::new(CallerKind::Known, name, base)
    }

    pub(crate) fn nobody(base: &str) -> Self {
        Self::new(CallerKind::Nobody, "", base)
    }

    pub(crate) fn at(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// The same, with the request that it sends.
    pub(crate) fn asking(self, request: Option<Arc<Asked>>) -> Self {
        Self { request, ..self }
    }

    pub(crate) fn is_operator(&self) -> bool {
        matches!(self.kind, CallerKind::Operator)
    }

    pub(crate) fn is_nobody(&self) -> bool {
        matches!(self.kind, CallerKind::Nobody)
    }
}

/// How clients are told apart.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) mode: Mode,
    pub(crate) signer: Signer,
    passwords: Passwords,
}

#[derive(Debug)]
pub(crate) enum Mode {
    /// Not at all: everybody may do everything.
    Open,
    /// Who is in the file may do everything.
    Htpasswd(Htpasswd),
    /// By projects and roles.
    Accounts,
}

impl Auth {
    /// Reads what the mode needs.
    pub(crate) fn new(mode: &AuthMode, secret: &str) -> Result<Self, String> {
        let mode = match mode {
            AuthMode::None => Mode::Open,
            AuthMode::Htpasswd { path, realm } => Mode::Htpasswd(Htpasswd::open(path, realm)?),
            AuthMode::Accounts => Mode::Accounts,
        };
        Ok(Self { mode, signer: Signer::new(secret.as_bytes()), passwords: Passwords::default() })
    }

    /// Whether this is the password of a user, or the token of a robot.
    pub(crate) async fn password_is_right(
        &self,
        accounts: &Accounts,
        from: Option<IpAddr>,
        user: &str,
        password: &str,
    ) -> Result<bool, Error> {
        let hash = match &self.mode {
            Mode::Open => return Ok(true),
            Mode::Htpasswd(file) => file.hash(user),
            Mode::Accounts if user.contains('+') => return Ok(accounts.robot(user, password)),
            Mode::Accounts => accounts.password(user).ok_or(passwords::COST),
        };
        match hash {
            Ok(hash) => self.passwords.verify(from, password, &hash).await,
            Err(cost) => {
                // As slow as for a user who is there: names are not to be found out.
                self.passwords.refuse(from, password, cost).await?;
                Ok(false)
            }
        }
    }

    /// Whose token this is, if it is good.
    pub(crate) fn bearer(&self, nobody: Caller, token: &str) -> Result<Caller, Error> {
        let claims = match self.mode {
            Mode::Accounts => self.signer.verify(token),
            _ => None,
        };
        match claims {
            Some(claims) => Ok(Caller {
                name: Arc::from(claims.sub.as_str()),
                kind: CallerKind::Token(Arc::new(claims)),
                ..nobody
            }),
            None => Err(self.unauthorized(&nobody, None)),
        }
    }

    /// Whether the caller may use the registry at all.
    pub(crate) fn enter(&self, caller: &Caller) -> Result<(), Error> {
        match self.mode {
            Mode::Open => Ok(()),
            _ if caller.is_nobody() => Err(self.unauthorized(caller, None)),
            _ => Ok(()),
        }
    }

    /// Whether the caller may do this to a repository.
    pub(crate) fn allow(
        &self,
        accounts: &Accounts,
        caller: &Caller,
        name: &Name,
        action: Action,
    ) -> Result<(), Error> {
        if caller.is_operator() {
            return Ok(());
        }
        match self.mode {
            Mode::Open => Ok(()),
            Mode::Htpasswd(_) if caller.is_nobody() => Err(self.unauthorized(caller, None)),
            Mode::Htpasswd(_) => Ok(()),
            Mode::Accounts => self.allow_account(accounts, caller, name, action),
        }
    }

    fn allow_account(
        &self,
        accounts: &Accounts,
        caller: &Caller,
        name: &Name,
        action: Action,
    ) -> Result<(), Error> {
        let scope = || Some((name, action));
        let state = accounts.read();
        let project = name.project();
        if state.allows(&caller.name, project, action) {
            return match &caller.kind {
                // A token that was given for something else: the client may ask for another.
                CallerKind::Token(claims) if !claims.covers(name, action) => {
                    Err(self.unauthorized(caller, scope()))
                }
                _ => Ok(()),
            };
        }
        if caller.name.is_empty() {
            return Err(self.unauthorized(caller, scope()));
        }
        let reason = match state.projects.contains_key(project) {
            false if state.is_admin(&caller.name) => {
                format!("there is no project {project}: make it with `skiff registry project add {project}`")
            }
            _ => format!("{} may not {} {name}", caller.name, action.as_str()),
        };
        Err(Error::Denied { reason })
    }

    /// That the caller has to say who it is, and how.
    pub(crate) fn unauthorized(&self, caller: &Caller, scope: Option<(&Name, Action)>) -> Error {
        let challenge = match &self.mode {
            Mode::Open => String::new(),
            Mode::Htpasswd(file) => {
                format!("Basic realm=\"{}\"", file.realm.replace(['"', '\\', '\r', '\n'], ""))
            }
            Mode::Accounts => {
                let service = self.service(&caller.base);
                let mut text = format!("Bearer realm=\"{}/auth/token\",service=\"{service}\"", caller.base);
                if let Some((name, action)) = scope {
                    let actions = match action {
                        Action::Pull => "pull",
                        Action::Push => "pull,push",
                        Action::Delete => "delete",
                    };
                    text.push_str(&format!(",scope=\"repository:{name}:{actions}\""));
                }
                text
            }
        };
        Error::Unauthorized { challenge }
    }

    /// What tokens are for: the registry's host.
    pub(crate) fn service<'a>(&self, base: &'a str) -> &'a str {
        base.split_once("://").map_or(base, |(_, host)| host)
    }
}
