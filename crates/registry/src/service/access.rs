//! Permissions and limits, as the rest of the service asks for them.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::HeaderMap;

use super::Registry;
use crate::{
    Error,
    accounts::{State, records::Role},
    auth::{Action, Caller, CallerKind, Mode, credentials::Credentials},
    content::Share,
    digest::Digest,
    http::route::Peer,
    name::Name,
};

/// How long nobody writes to an upload before its room is given to others.
const IDLE: Duration = Duration::from_secs(3600);

impl Registry {
    /// Who sends a request. Wrong credentials are an error; none are nobody's.
    pub(crate) async fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Error> {
        let Some(address) = peer.address else { return Ok(Caller::operator()) };
        let base = self.base(peer, headers);
        let nobody = Caller::nobody(&base).at(Some(address.ip()));
        match Credentials::read(headers) {
            _ if matches!(self.auth.mode, Mode::Open) => Ok(nobody),
            Credentials::None => Ok(nobody),
            Credentials::Basic { user, password } => {
                match self.password_is_right(nobody.address, &user, &password).await? {
                    true => Ok(Caller::known(&user, &base).at(nobody.address)),
                    false => Err(self.auth.unauthorized(&nobody, None)),
                }
            }
            Credentials::Bearer(token) => self.auth.bearer(nobody, &token),
            Credentials::Unknown => Err(self.auth.unauthorized(&nobody, None)),
        }
    }

    /// Whether this is the password of a user, or the token of a robot. The audit log hears of it if not.
    pub(crate) async fn password_is_right(
        &self,
        from: Option<IpAddr>,
        user: &str,
        password: &str,
    ) -> Result<bool, Error> {
        let right = self.auth.password_is_right(&self.accounts, from, user, password).await?;
        if !right {
            self.audit.refused(from, user);
        }
        Ok(right)
    }

    /// Where clients reach the registry.
    pub(crate) fn base(&self, peer: &Peer, headers: &HeaderMap) -> String {
        self.settings.url.clone().unwrap_or_else(|| peer.base(headers))
    }

    /// Whether the caller may use the registry at all.
    pub(crate) fn enter(&self, caller: &Caller) -> Result<(), Error> {
        self.auth.enter(caller)
    }

    /// Whether the caller may do this to a repository.
    pub(crate) fn allow(&self, caller: &Caller, name: &Name, action: Action) -> Result<(), Error> {
        self.auth.allow(&self.accounts, caller, name, action)
    }

    /// Which repositories the caller may see.
    pub(crate) fn visible<'a>(&'a self, caller: &'a Caller) -> impl FnMut(&Name) -> bool + 'a {
        // Neighbours in the catalog are of the same project.
        let mut last: Option<(String, bool)> = None;
        move |name| match &last {
            Some((project, visible)) if project == name.project() => *visible,
            _ => {
                let visible = self.sees(caller, name.project());
                last = Some((name.project().to_owned(), visible));
                visible
            }
        }
    }

    /// Which repositories a search for a term finds: of those that the caller may see.
    pub(crate) fn found<'a>(&'a self, caller: &'a Caller, term: &str) -> impl FnMut(&Name) -> bool + 'a {
        let term = term.to_lowercase();
        let mut visible = self.visible(caller);
        move |name| name.as_str().contains(&term) && visible(name)
    }

    /// Whether the caller may see a project. A token that was given for single repositories may see what its owner may.
    pub(crate) fn sees(&self, caller: &Caller, project: &str) -> bool {
        match self.auth.mode {
            _ if caller.is_operator() => true,
            Mode::Open => true,
            Mode::Htpasswd(_) => !caller.is_nobody(),
            Mode::Accounts => self.accounts.read().allows(&caller.name, project, Action::Pull),
        }
    }

    /// Refuses who is no administrator of the registry.
    pub(crate) fn require_admin(&self, caller: &Caller) -> Result<(), Error> {
        self.require(caller, |state| state.is_admin(&caller.name))
    }

    /// Refuses who has less than this role in a project.
    pub(crate) fn require_role(&self, caller: &Caller, project: &str, role: Role) -> Result<(), Error> {
        self.accounts.project(project)?;
        self.require(caller, |state| state.role(&caller.name, project) >= Some(role))
    }

    fn require(&self, caller: &Caller, enough: impl FnOnce(&State) -> bool) -> Result<(), Error> {
        if caller.is_operator() {
            return Ok(());
        }
        self.auth.enter(caller)?;
        // Tokens are for the distribution API; without accounts there is nobody who could be an administrator.
        let person = matches!(caller.kind, CallerKind::Known) && matches!(self.auth.mode, Mode::Accounts);
        if person && enough(&self.accounts.read()) {
            return Ok(());
        }
        Err(Error::Denied { reason: "this needs an administrator".into() })
    }

    /// Refuses a blob that has no room in its project, beside the uploads under way there.
    pub(crate) fn room(&self, name: &Name, digest: Option<&Digest>, more: u64) -> Result<(), Error> {
        self.writable()?;
        let project = name.project();
        let Some(quota) = self.accounts.policy(project).quota else { return Ok(()) };
        if digest.is_some_and(|digest| self.catalog.read().project_has(project, digest)) {
            return Ok(());
        }
        let used = || {
            let stored = self.catalog.read().project_size(project);
            stored.saturating_add(self.uploads.of_project(name))
        };
        if used().saturating_add(more) <= quota
            || (self.give_up_idle(name) && used().saturating_add(more) <= quota)
        {
            return Ok(());
        }
        Err(Error::QuotaExceeded { project: project.to_owned(), used: used(), quota })
    }

    /// Uploads that were broken off keep their room for whoever goes on with them, but not against others. Whether some had to go.
    fn give_up_idle(&self, name: &Name) -> bool {
        self.uploads.expire(IDLE, Some(name)).is_ok_and(|gone| gone > 0)
    }

    /// What an upload may bring.
    pub(crate) fn allowance(self: &Arc<Self>, name: &Name) -> Allowance {
        let quota = self.accounts.policy(name.project()).quota;
        Allowance(quota.map(|quota| (self.clone(), name.clone(), quota)))
    }
}

/// How much may come for an upload: what its project has room for, beside what is there and others bring.
pub(crate) struct Allowance(Option<(Arc<Registry>, Name, u64)>);

impl Allowance {
    /// Anything.
    pub(crate) fn all() -> Self {
        Self(None)
    }

    /// Takes room for so many bytes.
    pub(crate) fn take(&self, share: &Share, bytes: u64) -> Result<(), Error> {
        let Some((registry, name, quota)) = &self.0 else {
            let _ = share.grow(bytes, u64::MAX);
            return Ok(());
        };
        let used = registry.catalog.read().project_size(name.project());
        let grow = || share.grow(bytes, quota.saturating_sub(used));
        let grown = grow().or_else(|coming| if registry.give_up_idle(name) { grow() } else { Err(coming) });
        grown.map_err(|coming| Error::QuotaExceeded {
            project: name.project().to_owned(),
            used: used.saturating_add(coming),
            quota: *quota,
        })
    }
}
