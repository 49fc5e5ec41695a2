//! Changes of accounts: checked, committed, then seen.

use skiff_state::Batch;

use super::{
    Accounts, State, no_project,
    records::{
        PROJECTS, ProjectRecord, ROBOTS, Replication, Retention, RobotRecord, Role, USERS, UserRecord,
        Webhook,
    },
    token_hash,
};
use crate::{
    Error,
    auth::passwords,
    clock,
    name::{Name, Tag},
    remote::Address,
    service::blocking,
};

/// Characters of the shortest password.
const MIN_PASSWORD: usize = 8;

/// What may change of a project; `None` leaves it.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectChange {
    #[serde(default)]
    pub(crate) public: Option<bool>,
    /// Bytes; 0 for no limit.
    #[serde(default)]
    pub(crate) quota: Option<u64>,
    #[serde(default)]
    pub(crate) immutable: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) retention: Option<Retention>,
    #[serde(default)]
    pub(crate) webhooks: Option<Vec<Webhook>>,
    #[serde(default)]
    pub(crate) replications: Option<Vec<Replication>>,
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::Invalid { reason: reason.into() }
}

/// A user's name: as a component of a repository, so that it can stand anywhere.
fn user_name(name: &str) -> Result<(), Error> {
    let good = name.len() <= 64 && !name.contains('/') && name.parse::<Name>().is_ok();
    if good {
        Ok(())
    } else {
        Err(invalid(format!("{name:?} is not a user name: use a-z, 0-9 and . _ - between them")))
    }
}

/// A project's name: one component.
fn project_name(name: &str) -> Result<(), Error> {
    let good = name.len() <= 128 && !name.contains('/') && name.parse::<Name>().is_ok();
    if good {
        Ok(())
    } else {
        Err(invalid(format!("{name:?} is not a project name: use a-z, 0-9 and . _ - between them")))
    }
}

fn no_user(name: &str) -> Error {
    Error::NotFound { what: "user", name: name.to_owned() }
}

async fn hashed(password: &str) -> Result<String, Error> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(invalid(format!("a password has at least {MIN_PASSWORD} characters")));
    }
    let password = password.to_owned();
    blocking(move || passwords::hash(&password, passwords::COST)).await?
}

impl Accounts {
    /// Commits what `change` makes of the state, then shows it. `change` fails before anything happens.
    async fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<(Batch, T), Error>,
    ) -> Result<T, Error> {
        let _turn = self.turn.lock().await;
        let mut next = self.read().clone();
        let (batch, out) = change(&mut next)?;
        self.store.commit(batch).await?;
        *self.state.write().expect("no panic under this lock") = next;
        Ok(out)
    }

    /// Adds a user.
    pub(crate) async fn add_user(&self, name: &str, password: &str, admin: bool) -> Result<(), Error> {
        user_name(name)?;
        let password = hashed(password).await?;
        self.change(|state| {
            if state.users.contains_key(name) {
                return Err(Error::Conflict { reason: format!("user {name} exists already") });
            }
            let user = UserRecord { password, admin, disabled: false, created: clock::now() };
            let batch = Batch::new().put(&USERS, name, &user);
            state.users.insert(name.into(), user);
            Ok((batch, ()))
        })
        .await
    }

    /// Changes a user: whether an administrator, whether locked out, the password. The last administrator stays one.
    pub(crate) async fn change_user(
        &self,
        name: &str,
        admin: Option<bool>,
        disabled: Option<bool>,
        password: Option<&str>,
    ) -> Result<(), Error> {
        let password = match password {
            Some(password) => Some(hashed(password).await?),
            None => None,
        };
        self.change(|state| {
            let user = state.users.get_mut(name).ok_or_else(|| no_user(name))?;
            user.admin = admin.unwrap_or(user.admin);
            user.disabled = disabled.unwrap_or(user.disabled);
            user.password = password.unwrap_or_else(|| user.password.clone());
            let batch = Batch::new().put(&USERS, name, user);
            somebody_rules(state)?;
            Ok((batch, ()))
        })
        .await
    }

    /// Removes a user and every membership.
    pub(crate) async fn remove_user(&self, name: &str) -> Result<(), Error> {
        self.change(|state| {
            state.users.remove(name).ok_or_else(|| no_user(name))?;
            somebody_rules(state)?;
            let mut batch = Batch::new().delete(&USERS, name);
            for (project, record) in &mut state.projects {
                if record.members.remove(name).is_some() {
                    batch = batch.put(&PROJECTS, project.as_str(), record);
                }
            }
            Ok((batch, ()))
        })
        .await
    }

    /// Adds a project; `owner`, if a user, becomes its administrator.
    pub(crate) async fn add_project(&self, name: &str, public: bool, owner: &str) -> Result<(), Error> {
        project_name(name)?;
        self.change(|state| {
            if state.projects.contains_key(name) {
                return Err(Error::Conflict { reason: format!("project {name} exists already") });
            }
            let members = state.users.contains_key(owner).then(|| (owner.to_owned(), Role::Admin));
            let record = ProjectRecord {
                public,
                created: clock::now(),
                members: members.into_iter().collect(),
                ..ProjectRecord::default()
            };
            let batch = Batch::new().put(&PROJECTS, name, &record);
            state.projects.insert(name.into(), record);
            Ok((batch, ()))
        })
        .await
    }

    /// Changes a project's settings.
    pub(crate) async fn change_project(&self, name: &str, change: ProjectChange) -> Result<(), Error> {
        let kept = change.retention.iter().flat_map(|rule| &rule.keep);
        let sent = change.replications.iter().flatten().flat_map(|to| &to.tags);
        for pattern in change.immutable.iter().flatten().chain(kept).chain(sent) {
            if pattern.replace('*', "x").parse::<Tag>().is_err() {
                return Err(invalid(format!("{pattern:?} is not a tag or a pattern of tags")));
            }
        }
        for hook in change.webhooks.iter().flatten() {
            if Address::split(&hook.url).is_none() {
                return Err(invalid(format!(
                    "{:?} is not an address like \"https://ci.example.com/hook\"",
                    hook.url
                )));
            }
        }
        for to in change.replications.iter().flatten() {
            // As in references: a host has a dot or a port, or is this one.
            let host = to.registry.contains(['.', ':']) || to.registry == "localhost";
            let good = |b: u8| b.is_ascii_alphanumeric() || b".:-[]".contains(&b);
            let prefix = to.prefix.is_empty() || to.prefix.parse::<Name>().is_ok();
            if !host || !to.registry.bytes().all(good) || !prefix {
                return Err(invalid(format!(
                    "{:?} is not a registry like \"registry.example.com\" or \"10.0.0.2:5000/prefix\"",
                    to.target()
                )));
            }
        }
        self.change(|state| {
            let record = state.projects.get_mut(name).ok_or_else(|| no_project(name))?;
            record.replications = change.replications.unwrap_or_else(|| record.replications.clone());
            record.public = change.public.unwrap_or(record.public);
            record.quota = change.quota.map_or(record.quota, |quota| (quota > 0).then_some(quota));
            record.retention = change.retention.unwrap_or_else(|| record.retention.clone());
            record.webhooks = change.webhooks.unwrap_or_else(|| record.webhooks.clone());
            record.immutable = change.immutable.unwrap_or_else(|| record.immutable.clone());
            Ok((Batch::new().put(&PROJECTS, name, record), ()))
        })
        .await
    }

    /// Removes a project with its robots. The caller has seen to it that it has no repositories.
    pub(crate) async fn remove_project(&self, name: &str) -> Result<(), Error> {
        self.change(|state| {
            state.projects.remove(name).ok_or_else(|| no_project(name))?;
            let mut batch = Batch::new().delete(&PROJECTS, name);
            let prefix = format!("{name}+");
            let robots: Vec<String> =
                state.robots.keys().filter(|robot| robot.starts_with(&prefix)).cloned().collect();
            for robot in robots {
                state.robots.remove(&robot);
                batch = batch.delete(&ROBOTS, robot);
            }
            Ok((batch, ()))
        })
        .await
    }

    /// Makes a user a member with a role, or no member.
    pub(crate) async fn set_member(
        &self,
        project: &str,
        user: &str,
        role: Option<Role>,
    ) -> Result<(), Error> {
        self.change(|state| {
            if role.is_some() && !state.users.contains_key(user) {
                return Err(no_user(user));
            }
            let record = state.projects.get_mut(project).ok_or_else(|| no_project(project))?;
            match role {
                Some(role) => drop(record.members.insert(user.to_owned(), role)),
                None => {
                    let missing = || Error::NotFound { what: "member", name: user.to_owned() };
                    record.members.remove(user).ok_or_else(missing)?;
                }
            }
            Ok((Batch::new().put(&PROJECTS, project, record), ()))
        })
        .await
    }

    /// Makes a robot. Answers its full name and its token, which is kept nowhere.
    pub(crate) async fn add_robot(
        &self,
        project: &str,
        name: &str,
        role: Role,
        expires: Option<u64>,
        by: &str,
    ) -> Result<(String, String), Error> {
        user_name(name)?;
        if role > Role::Maintainer {
            return Err(invalid("a robot is guest, developer or maintainer"));
        }
        if expires.is_some_and(|expires| expires <= clock::now()) {
            return Err(invalid("the token would have expired already"));
        }
        let (full, token) = (format!("{project}+{name}"), passwords::random(40));
        self.change(|state| {
            if !state.projects.contains_key(project) {
                return Err(no_project(project));
            }
            if state.robots.contains_key(&full) {
                return Err(Error::Conflict { reason: format!("robot {full} exists already") });
            }
            let robot = RobotRecord {
                token: token_hash(&token),
                role,
                expires,
                created: clock::now(),
                by: by.to_owned(),
            };
            let batch = Batch::new().put(&ROBOTS, full.as_str(), &robot);
            state.robots.insert(full.clone(), robot);
            Ok((batch, ()))
        })
        .await?;
        Ok((full, token))
    }

    /// Removes a robot; its token stops working at once.
    pub(crate) async fn remove_robot(&self, project: &str, name: &str) -> Result<(), Error> {
        let full = format!("{project}+{name}");
        self.change(|state| {
            let missing = || Error::NotFound { what: "robot", name: full.clone() };
            state.robots.remove(&full).ok_or_else(missing)?;
            Ok((Batch::new().delete(&ROBOTS, full.as_str()), ()))
        })
        .await
    }
}

fn somebody_rules(state: &State) -> Result<(), Error> {
    let rules = state.users.values().any(|user| user.admin && !user.disabled);
    if rules { Ok(()) } else { Err(Error::Conflict { reason: "somebody must stay administrator".into() }) }
}
