//! The account store: users, projects with their members, robots.
//!
//! Everything is in memory and in the database; a change is durable before it counts. Rights are looked up at each
//! request, so that taking one away works at once.

mod change;
pub(crate) mod records;

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use skiff_state::{Batch, OpenError};

use crate::{
    Error,
    auth::{Action, passwords},
    catalog::{Pattern, Policy},
    clock,
    digest::{Algorithm, Digest},
    store::{Snapshot, Store},
};

use self::records::{PROJECTS, ProjectRecord, ROBOTS, RobotRecord, Role, SECRETS, USERS, UserRecord};

pub(crate) use change::ProjectChange;

/// The project of names that have one component, and of everybody.
pub(crate) const LIBRARY: &str = "library";
/// Who the first administrator is.
pub(crate) const ADMIN: &str = "admin";

/// All accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    store: Arc<Store>,
    state: RwLock<State>,
    /// Changes are made one after the other.
    turn: tokio::sync::Mutex<()>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) users: BTreeMap<String, UserRecord>,
    pub(crate) projects: BTreeMap<String, ProjectRecord>,
    /// By `project+name`.
    pub(crate) robots: BTreeMap<String, RobotRecord>,
    pub(crate) secret: Option<String>,
}

impl State {
    /// What the database holds.
    pub(crate) fn load(snapshot: &Snapshot) -> Result<Self, OpenError> {
        Ok(Self {
            users: snapshot.all(&USERS)?.into_iter().collect(),
            projects: snapshot.all(&PROJECTS)?.into_iter().collect(),
            robots: snapshot.all(&ROBOTS)?.into_iter().collect(),
            secret: snapshot
                .all(&SECRETS)?
                .into_iter()
                .find(|(name, _)| name == "token")
                .map(|(_, secret)| secret),
        })
    }

    /// What a user or robot may do in a project; `None` for nothing at all.
    pub(crate) fn role(&self, name: &str, project: &str) -> Option<Role> {
        if let Some((of, _)) = name.split_once('+') {
            let robot = self.robots.get(name).filter(|_| of == project)?;
            return robot.expires.is_none_or(|expires| clock::now() < expires).then_some(robot.role);
        }
        let user = self.users.get(name).filter(|user| !user.disabled)?;
        if user.admin {
            return Some(Role::Admin);
        }
        self.projects.get(project)?.members.get(name).copied()
    }

    /// Whether a user may do everything.
    pub(crate) fn is_admin(&self, name: &str) -> bool {
        self.users.get(name).is_some_and(|user| user.admin && !user.disabled)
    }

    /// Whether this may be done; `name` is empty for nobody.
    pub(crate) fn allows(&self, name: &str, project: &str, action: Action) -> bool {
        let Some(record) = self.projects.get(project) else { return false };
        let role = self.role(name, project);
        match action {
            Action::Pull => record.public || role.is_some(),
            Action::Push => role >= Some(Role::Developer),
            Action::Delete => role >= Some(Role::Maintainer),
        }
    }
}

impl Accounts {
    /// The accounts of the database. Without a signing secret one is made.
    pub(crate) fn new(store: Arc<Store>, mut state: State) -> Result<Self, String> {
        if state.secret.is_none() {
            let secret = passwords::random(48);
            let batch = Batch::new().put(&SECRETS, "token", &secret);
            store.commit(batch).wait().map_err(|error| error.to_string())?;
            state.secret = Some(secret);
        }
        Ok(Self { store, state: RwLock::new(state), turn: tokio::sync::Mutex::default() })
    }

    /// At the very first start: an administrator and the project of everybody. Answers the password, which is kept
    /// nowhere. Blocks.
    pub(crate) fn first_start(&self) -> Result<Option<String>, String> {
        if !self.read().users.is_empty() {
            return Ok(None);
        }
        let password = passwords::random(24);
        let hash = passwords::hash(&password, passwords::COST).map_err(|error| error.to_string())?;
        let user = UserRecord { password: hash, admin: true, disabled: false, created: clock::now() };
        let project = ProjectRecord { public: true, created: clock::now(), ..ProjectRecord::default() };
        let batch = Batch::new().put(&USERS, ADMIN, &user).put(&PROJECTS, LIBRARY, &project);
        self.store.commit(batch).wait().map_err(|error| error.to_string())?;
        let mut state = self.state.write().expect("no panic under this lock");
        state.users.insert(ADMIN.into(), user);
        state.projects.entry(LIBRARY.into()).or_insert(project);
        Ok(Some(password))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no panic under this lock")
    }

    /// The signing secret.
    pub(crate) fn secret(&self) -> String {
        self.read().secret.clone().unwrap_or_default()
    }

    /// The bcrypt hash of a user who may come in.
    pub(crate) fn password(&self, user: &str) -> Option<String> {
        self.read().users.get(user).filter(|user| !user.disabled).map(|user| user.password.clone())
    }

    /// Whether this is the token of a robot that may come in.
    pub(crate) fn robot(&self, name: &str, token: &str) -> bool {
        let state = self.read();
        let Some(robot) = state.robots.get(name) else { return false };
        let now = clock::now();
        robot.token == token_hash(token) && robot.expires.is_none_or(|expires| now < expires)
    }

    /// What a project allows.
    pub(crate) fn policy(&self, project: &str) -> Policy {
        let state = self.read();
        let Some(record) = state.projects.get(project) else { return Policy::default() };
        Policy { quota: record.quota, immutable: record.immutable.iter().cloned().map(Pattern).collect() }
    }

    /// A project, or that there is none.
    pub(crate) fn project(&self, name: &str) -> Result<ProjectRecord, Error> {
        self.read().projects.get(name).cloned().ok_or_else(|| no_project(name))
    }
}

fn no_project(name: &str) -> Error {
    Error::NotFound { what: "project", name: name.to_owned() }
}

fn token_hash(token: &str) -> String {
    Digest::of(Algorithm::Sha256, token.as_bytes()).hex()
}

#[cfg(test)]
mod tests;
