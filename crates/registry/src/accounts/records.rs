//! What is kept of accounts and projects.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::{Deserialize, Deserializer, Serialize};
use skiff_state::Table;

use crate::name::Name;

/// Users by name.
pub(crate) const USERS: Table<UserRecord> = Table::new("users");
/// Projects by name.
pub(crate) const PROJECTS: Table<ProjectRecord> = Table::new("projects");
/// Robots by `project+name`.
pub(crate) const ROBOTS: Table<RobotRecord> = Table::new("robots");
/// What signs tokens and sessions, by purpose.
pub(crate) const SECRETS: Table<String> = Table::new("secrets");

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    /// bcrypt.
    pub(crate) password: String,
    /// May do everything.
    #[serde(default)]
    pub(crate) admin: bool,
    #[serde(default)]
    pub(crate) disabled: bool,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

/// What a member of a project may do; each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Pull.
    Guest,
    /// Push.
    Developer,
    /// Remove images.
    Maintainer,
    /// Members, robots, settings.
    Admin,
}

impl Role {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Developer => "developer",
            Self::Maintainer => "maintainer",
            Self::Admin => "admin",
        }
    }

    /// All of them, the least first.
    pub(crate) const ALL: [Self; 4] = [Self::Guest, Self::Developer, Self::Maintainer, Self::Admin];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// A project: the repositories whose names begin with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProjectRecord {
    /// Everybody may pull.
    pub(crate) public: bool,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) members: BTreeMap<String, Role>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<u64>,
    /// Tags that neither move nor go; `*` stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) immutable: Vec<String>,
    /// What goes by itself.
    #[serde(skip_serializing_if = "Retention::is_none")]
    pub(crate) retention: Retention,
    /// Who is told of pushes and removals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhooks: Vec<Webhook>,
    /// Where its images go, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) replications: Vec<Replication>,
}

/// Which tags and manifests of a project stay. A zero is no rule, as with other limits: it must not mean that all goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retention {
    /// So many of the newest tags of each repository.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "none_for_zero")]
    pub(crate) keep_last: Option<NonZeroU32>,
    /// Tags that were pushed within so many days.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "none_for_zero")]
    pub(crate) keep_days: Option<NonZeroU32>,
    /// Tags that match one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keep: Vec<String>,
    /// Manifests without a tag go after so many days.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "none_for_zero")]
    pub(crate) untagged_days: Option<NonZeroU32>,
}

impl Retention {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

fn none_for_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroU32>, D::Error> {
    Ok(Option::<u32>::deserialize(from)?.and_then(NonZeroU32::new))
}

/// A server that is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    /// Signs what is sent; never given out again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) secret: String,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

/// Another registry that gets what is pushed to a project.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replication {
    /// `host` or `host:port`.
    pub(crate) registry: String,
    /// What stands before the repositories' names there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) prefix: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    /// Never given out again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) password: String,
    /// Tags that match one of these; all if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    /// Seconds after which the other registry is asked for everything again; 0 for never.
    #[serde(default)]
    pub(crate) every: u64,
}

impl Replication {
    /// What it is called: registry and prefix.
    pub(crate) fn target(&self) -> String {
        match self.prefix.as_str() {
            "" => self.registry.clone(),
            prefix => format!("{}/{prefix}", self.registry),
        }
    }

    /// Where a repository is there.
    pub(crate) fn path(&self, name: &Name) -> String {
        match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}/{name}"),
        }
    }
}

impl std::fmt::Debug for Replication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.target())
    }
}

/// An account for a program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RobotRecord {
    /// SHA-256 of its token, hexadecimal: the token is random, so nothing slower is needed.
    pub(crate) token: String,
    pub(crate) role: Role,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// Who made it.
    #[serde(default)]
    pub(crate) by: String,
}
