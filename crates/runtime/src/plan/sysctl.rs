//! Kernel parameters. Only those that belong to a namespace of the container's own may be set: any other would
//! change the host.

use super::PlanError;
use super::namespaces::{Namespace, Namespaces};

/// Parameters of the IPC namespace, besides `fs.mqueue.*`.
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The path below `/proc/sys` and the value of each parameter, sorted by name.
pub(super) fn plan<'a>(
    parameters: impl IntoIterator<Item = (&'a String, &'a String)>,
    namespaces: &Namespaces,
    domainname: bool,
) -> Result<Vec<(String, String)>, PlanError> {
    let mut planned = Vec::new();
    for (name, value) in parameters {
        let path = path(name);
        check(name, &path, namespaces, domainname)?;
        planned.push((path, value.clone()));
    }
    planned.sort();
    Ok(planned)
}

/// Both notations of sysctl(8) to a path: whichever of `.` and `/` comes first separates, the other is literal.
fn path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => name
            .chars()
            .map(|it| {
                if it == '.' {
                    '/'
                } else if it == '/' {
                    '.'
                } else {
                    it
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn check(name: &str, path: &str, namespaces: &Namespaces, domainname: bool) -> Result<(), PlanError> {
    let invalid = |reason: &str| Err(PlanError::invalid("linux.sysctl", format!("{name:?} {reason}")));
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return invalid("is not the name of a kernel parameter");
    }
    let own = |namespace: &Namespace| *namespace != Namespace::Inherit;
    if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        return if own(&namespaces.ipc) {
            Ok(())
        } else {
            invalid("is not allowed in the host's IPC namespace")
        };
    }
    if path.starts_with("net/") {
        return if own(&namespaces.net) {
            Ok(())
        } else {
            invalid("is not allowed in the host's network namespace")
        };
    }
    match path {
        "kernel/domainname" if domainname => invalid("conflicts with domainname"),
        "kernel/domainname" if own(&namespaces.uts) => Ok(()),
        // As in other runtimes, whether there is one or not: whoever wants a name has a field for it.
        "kernel/hostname" if own(&namespaces.uts) => invalid("conflicts with hostname"),
        "kernel/domainname" | "kernel/hostname" => invalid("is not allowed in the host's UTS namespace"),
        _ if path.starts_with("user/") && own(&namespaces.user) => Ok(()),
        _ => invalid("is not in a separate kernel namespace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(name: &str, namespaces: &Namespaces) -> Result<Vec<(String, String)>, PlanError> {
        plan([(&name.to_owned(), &"1".to_owned())], namespaces, false)
    }

    #[test]
    fn both_notations_name_the_same_file() {
        let namespaces = Namespaces { net: Namespace::New, ..Namespaces::default() };
        let vlan = planned("net.ipv4.conf.eth0/100.forwarding", &namespaces).unwrap();
        assert_eq!(vlan[0].0, "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(vlan, planned("net/ipv4/conf/eth0.100/forwarding", &namespaces).unwrap());
    }

    #[test]
    fn only_what_belongs_to_an_own_namespace_is_allowed() {
        let own = Namespaces { ipc: Namespace::New, uts: Namespace::New, ..Namespaces::default() };
        let host = Namespaces::default();
        assert!(planned("kernel.hostname", &own).is_err());
        assert!(plan([(&"kernel.domainname".to_owned(), &"1".to_owned())], &own, true).is_err());
        for name in ["kernel.msgmax", "fs.mqueue.msg_max", "kernel.domainname"] {
            assert!(planned(name, &own).is_ok(), "{name}");
            assert!(planned(name, &host).is_err(), "{name}");
        }
        for name in
            ["kernel.core_pattern", "vm.swappiness", "net.ipv4.ip_forward", "kernel", "net/../kernel/x", ""]
        {
            assert!(planned(name, &own).is_err(), "{name}");
        }
    }
}
