//! Cgroups below a container's own, made by the container for itself, into which a further process may be put.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{CgroupError, Controller, Layout};

/// A place below a container's cgroup, in all hierarchies or in some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BelowCgroup {
    /// The names of the v1 hierarchies' controllers (`name=` for a hierarchy without any); all hierarchies if empty.
    pub hierarchies: Vec<String>,
    /// Relative to the container's cgroup; empty for that itself.
    pub path: PathBuf,
}

impl BelowCgroup {
    /// Reads `PATH` or, on v1, `CONTROLLER[,CONTROLLER]:PATH`.
    ///
    /// # Errors
    /// For a path that climbs, and for a controller that this machine lacks.
    pub fn parse(text: &str, layout: &Layout) -> Result<Self, CgroupError> {
        let error = |reason: String| CgroupError::Path { path: text.to_owned(), reason };
        let (names, path) = text.rsplit_once(':').unwrap_or(("", text));
        let path = path.trim_matches('/');
        if path.split('/').any(|part| part == "..") || path.contains('\0') {
            return Err(error(format!("{path} is not a sub cgroup path")));
        }
        let hierarchies: Vec<String> =
            names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if layout.is_unified() && !hierarchies.is_empty() {
            return Err(error("cgroup v2 has no hierarchies to choose from".to_owned()));
        }
        let known = |name: &String| {
            let controller = Controller::ALL.into_iter().find(|one| one.v1_name() == name);
            let named = || layout.hierarchies.iter().any(|one| one.name.as_ref() == Some(name));
            controller.map_or_else(named, |controller| layout.has(controller))
        };
        match hierarchies.iter().find(|name| !known(name)) {
            Some(name) => Err(error(format!("unknown controller {name}"))),
            None => Ok(Self { hierarchies, path: path.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_below_are_for_all_hierarchies_or_some() {
        let layout = Layout::probe().unwrap();
        let all = BelowCgroup::parse("/a/b/", &layout).unwrap();
        assert_eq!(all, BelowCgroup { hierarchies: Vec::new(), path: "a/b".into() });
        assert!(
            BelowCgroup::parse("..", &layout)
                .unwrap_err()
                .to_string()
                .contains(".. is not a sub cgroup path")
        );
        let some = BelowCgroup::parse("memory,pids:x", &layout);
        assert_eq!(some.is_ok(), !layout.is_unified());
        assert!(BelowCgroup::parse("nope:x", &layout).is_err());
    }
}
