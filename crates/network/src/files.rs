//! The files that tell a container who it is and whom to ask: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.
//! Pure functions from facts to text, which is Docker's to the byte.

use std::{fmt::Write, net::IpAddr};

/// What `/etc/hosts` is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsFile<'a> {
    /// The container's host name.
    pub hostname: &'a str,
    /// Its domain name, or nothing.
    pub domainname: &'a str,
    /// Its addresses; none if it has no network of its own.
    pub addresses: &'a [IpAddr],
    /// `--add-host`, with `host-gateway` resolved.
    pub extra: &'a [(String, IpAddr)],
    /// Linked containers: their addresses, and what they are called.
    pub links: &'a [(IpAddr, String)],
    /// Whether the container's loopback interface has an IPv6 address.
    pub ipv6_loopback: bool,
}

impl HostsFile<'_> {
    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = "127.0.0.1\tlocalhost\n".to_owned();
        if self.ipv6_loopback {
            text.push_str(
                "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
                 ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
            );
        }
        for (name, address) in self.extra {
            line(&mut text, format_args!("{address}\t{name}"));
        }
        for (address, names) in self.links {
            line(&mut text, format_args!("{address}\t{names}"));
        }
        for address in self.addresses {
            line(&mut text, format_args!("{address}\t{}", self.names()));
        }
        text
    }

    /// The full name, and the first part of it if it has more.
    fn names(&self) -> String {
        let full = match self.domainname {
            "" => self.hostname.to_owned(),
            domain => format!("{}.{domain}", self.hostname),
        };
        match full.split_once('.') {
            Some((first, _)) => format!("{full} {first}"),
            None => full,
        }
    }
}

/// `/etc/hosts` with another address for a linked container; as it was if no line has that alias first. Whatever else the
/// container's programs have written there stays.
pub fn hosts_with_link(text: &str, alias: &str, address: IpAddr) -> String {
    let moved = |line: &str| {
        let names = line.split_once('\t').map(|(_, names)| names)?;
        (names.split(' ').next() == Some(alias)).then(|| format!("{address}\t{names}"))
    };
    text.split_inclusive('\n').map(|line| moved(line).unwrap_or_else(|| line.to_owned())).collect()
}

/// `/etc/hosts` without the line of a linked container.
pub fn hosts_without_link(text: &str, alias: &str) -> String {
    let of_link = |line: &&str| {
        let names = line.split_once('\t').map(|(_, names)| names.trim_end());
        names.and_then(|names| names.split(' ').next()) == Some(alias)
    };
    text.split_inclusive('\n').filter(|line| !of_link(line)).collect()
}

/// The text of `/etc/hostname`.
pub fn hostname_file(hostname: &str) -> String {
    format!("{hostname}\n")
}

/// Which of the host's files tells the name servers: its `/etc/resolv.conf`, given here, unless that names
/// systemd-resolved alone, whose own servers are listed elsewhere.
pub fn resolv_conf_path(etc: &str) -> &'static str {
    match &ResolvConf::parse(etc).nameservers[..] {
        [only] if only == "127.0.0.53" => "/run/systemd/resolve/resolv.conf",
        _ => "/etc/resolv.conf",
    }
}

/// `/etc/resolv.conf` on its way from the host to a container (resolv.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    nameservers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
    other: Vec<String>,
    overrides: Vec<&'static str>,
    ndots_from: Option<&'static str>,
    /// What was done to it, as the comment says.
    transform: &'static str,
    /// The servers behind the embedded one.
    external: Vec<String>,
    used_default: bool,
    invalid: Vec<String>,
}

impl ResolvConf {
    /// Reads the host's file. Name servers that are no addresses are left out, and named in the result.
    pub fn parse(text: &str) -> Self {
        let mut this = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            let mut words = words.map(str::to_owned).peekable();
            match keyword {
                "nameserver" => this.nameservers.extend(words.take(1)),
                "domain" | "search" if words.peek().is_none() => {}
                "domain" | "search" => this.search = words.collect(),
                "options" => this.options.extend(words),
                _ => this.other.push(line.to_owned()),
            }
        }
        let (valid, invalid) =
            std::mem::take(&mut this.nameservers).into_iter().partition(|server| address(server).is_some());
        (this.nameservers, this.invalid) = (valid, invalid);
        this.ndots_from = this.has_ndots().then_some("host");
        this
    }

    /// Puts `--dns`, `--dns-search` and `--dns-option` in place of what the host has; an empty list changes nothing,
    /// and the search list `.` leaves none.
    #[must_use]
    pub fn with_overrides(mut self, dns: &[IpAddr], search: &[String], options: &[String]) -> Self {
        if !dns.is_empty() {
            self.nameservers = dns.iter().map(IpAddr::to_string).collect();
            self.overrides.push("nameservers");
        }
        if !search.is_empty() {
            self.search = if search == ["."] { vec![] } else { search.to_vec() };
            self.overrides.push("search");
        }
        if !options.is_empty() {
            self.options = options.to_vec();
            self.overrides.push("options");
            self.ndots_from = self.has_ndots().then_some("override");
        }
        self
    }

    /// Leaves out what a container with a network of its own cannot reach: name servers at a loopback address, and at
    /// IPv6 ones unless it has `ipv6`. If none is left, public ones take their place. What the user named stays.
    #[must_use]
    pub fn for_own_network(mut self, ipv6: bool) -> Self {
        self.transform = LEGACY;
        if !self.overrides.contains(&"nameservers") {
            self.nameservers.retain(|server| {
                address(server).is_some_and(|ip| !ip.is_loopback() && (ipv6 || ip.is_ipv4()))
            });
        }
        if self.nameservers.is_empty() {
            let public = ["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"];
            self.nameservers = public[..if ipv6 { 4 } else { 2 }].iter().map(|&s| s.to_owned()).collect();
            self.used_default = true;
        }
        self
    }

    /// Names the embedded name server and no other: it asks the others. A name is looked for as it is before
    /// domains are added, unless the options say otherwise.
    #[must_use]
    pub fn for_internal_resolver(mut self) -> Self {
        self.transform = INTERNAL;
        let given = self.overrides.contains(&"nameservers");
        let show = |server: String| if given { server } else { format!("host({server})") };
        self.external = std::mem::take(&mut self.nameservers).into_iter().map(show).collect();
        self.nameservers = vec!["127.0.0.11".to_owned()];
        self.options.retain(|option| !is_ndots(option) || is_valid_ndots(option));
        if !self.sets_ndots() {
            self.options.push("ndots:0".to_owned());
            self.ndots_from = Some("internal");
        }
        self
    }

    /// Whether the user or the host says how many dots a name needs to be looked for as it is.
    pub fn sets_ndots(&self) -> bool {
        self.options.iter().any(|option| is_valid_ndots(option))
    }

    /// The file's text; `source` is the host's file it was read from.
    pub fn text(&self, source: &str) -> String {
        let mut text = "# Generated by Docker Engine.\n\
             # This file can be edited; Docker Engine will not make further changes once it\n\
             # has been modified.\n\n"
            .to_owned();
        for server in &self.nameservers {
            line(&mut text, format_args!("nameserver {server}"));
        }
        for (keyword, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                line(&mut text, format_args!("{keyword} {}", words.join(" ")));
            }
        }
        for other in &self.other {
            line(&mut text, format_args!("{other}"));
        }
        line(&mut text, format_args!("\n# Based on host file: '{source}'{}", self.transform));
        if self.used_default {
            line(&mut text, format_args!("# Used default nameservers."));
        }
        if self.transform == INTERNAL && self.external.is_empty() {
            line(&mut text, format_args!("# NO EXTERNAL NAMESERVERS DEFINED"));
        } else if self.transform == INTERNAL {
            line(&mut text, format_args!("# ExtServers: [{}]", self.external.join(" ")));
        }
        if !self.invalid.is_empty() {
            line(&mut text, format_args!("# Invalid nameservers: [{}]", self.invalid.join(" ")));
        }
        line(&mut text, format_args!("# Overrides: [{}]", self.overrides.join(" ")));
        if let Some(from) = self.ndots_from {
            line(&mut text, format_args!("# Option ndots from: {from}"));
        }
        text
    }

    /// The name servers, in order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.nameservers.iter().filter_map(|server| address(server)).collect()
    }

    fn has_ndots(&self) -> bool {
        self.options.iter().any(|option| is_ndots(option))
    }
}

/// What the comment says was done to the host's file.
const LEGACY: &str = " (legacy)";
const INTERNAL: &str = " (internal resolver)";

fn is_ndots(option: &str) -> bool {
    option == "ndots" || option.starts_with("ndots:")
}

fn is_valid_ndots(option: &str) -> bool {
    option.strip_prefix("ndots:").is_some_and(|number| number.parse::<u32>().is_ok())
}

/// A name server's address, whose IPv6 zone does not matter here.
fn address(server: &str) -> Option<IpAddr> {
    server.split_once('%').map_or(server, |(address, _)| address).parse().ok()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string");
}

#[cfg(test)]
mod tests {
    //! The expected texts are those of Docker 28.5.2.

    use super::*;

    const IPV6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
        ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
    const HEAD: &str = "# Generated by Docker Engine.\n\
        # This file can be edited; Docker Engine will not make further changes once it\n# has been modified.\n\n";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_names_the_container_last() {
        let extra = [("a".to_owned(), ip("1.2.3.4")), ("c".to_owned(), ip("fe80::1"))];
        let mut file = HostsFile {
            hostname: "web.example.com",
            domainname: "dom.org",
            addresses: &[ip("172.31.255.2")],
            extra: &extra,
            links: &[(ip("172.31.255.3"), "db dbhost database".to_owned())],
            ipv6_loopback: true,
        };
        let extra = "1.2.3.4\ta\nfe80::1\tc\n";
        assert_eq!(
            file.text(),
            format!(
                "127.0.0.1\tlocalhost\n{IPV6}{extra}172.31.255.3\tdb dbhost database\n172.31.255.2\tweb.example.com.dom.org web\n"
            )
        );
        file = HostsFile {
            hostname: "365e906defed",
            domainname: "",
            extra: &[],
            links: &[],
            ipv6_loopback: false,
            ..file
        };
        assert_eq!(file.text(), "127.0.0.1\tlocalhost\n172.31.255.2\t365e906defed\n");
    }

    #[test]
    fn a_link_moves_and_goes_and_other_lines_stay() {
        let text = "127.0.0.1\tlocalhost\n1.2.3.4\tdb dbhost\n1.2.3.4\tdatabase db\n# own\n5.6.7.8 db";
        let moved = "127.0.0.1\tlocalhost\n9.9.9.9\tdb dbhost\n1.2.3.4\tdatabase db\n# own\n5.6.7.8 db";
        assert_eq!(hosts_with_link(text, "db", ip("9.9.9.9")), moved);
        assert_eq!(hosts_with_link(text, "dbhost", ip("9.9.9.9")), text);
        let gone = "127.0.0.1\tlocalhost\n1.2.3.4\tdatabase db\n# own\n5.6.7.8 db";
        assert_eq!(hosts_without_link(text, "db"), gone);
    }

    #[test]
    fn resolv_conf_of_a_user_defined_network_names_the_embedded_server() {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        let host = ResolvConf::parse("nameserver 10.255.255.53\nnameserver 127.0.0.1\n");
        let text = |file: ResolvConf| file.for_internal_resolver().text("/etc/resolv.conf");
        let based = "\n# Based on host file: '/etc/resolv.conf' (internal resolver)\n";
        assert_eq!(
            text(host.clone()),
            format!(
                "{HEAD}nameserver 127.0.0.11\noptions ndots:0\n{based}\
                 # ExtServers: [host(10.255.255.53) host(127.0.0.1)]\n# Overrides: []\n# Option ndots from: internal\n"
            )
        );
        let given = host.clone().with_overrides(
            &[ip("127.0.0.1"), ip("9.9.9.9")],
            &words(&["a.b", "c.d"]),
            &words(&["timeout:1"]),
        );
        assert!(!given.sets_ndots());
        assert_eq!(
            text(given),
            format!(
                "{HEAD}nameserver 127.0.0.11\nsearch a.b c.d\noptions timeout:1 ndots:0\n{based}\
                 # ExtServers: [127.0.0.1 9.9.9.9]\n# Overrides: [nameservers search options]\n# Option ndots from: internal\n"
            )
        );
        let given = host.clone().with_overrides(&[], &[], &words(&["ndots:2", "edns0"]));
        assert!(given.sets_ndots());
        let end = "# ExtServers: [host(10.255.255.53) host(127.0.0.1)]\n# Overrides: [options]\n# Option ndots from: ";
        assert_eq!(
            text(given),
            format!("{HEAD}nameserver 127.0.0.11\noptions ndots:2 edns0\n{based}{end}override\n")
        );
        let given = host.with_overrides(&[], &[], &words(&["ndots:x"]));
        assert_eq!(
            text(given),
            format!("{HEAD}nameserver 127.0.0.11\noptions ndots:0\n{based}{end}internal\n")
        );
        assert!(
            text(ResolvConf::parse("")).contains("\n# NO EXTERNAL NAMESERVERS DEFINED\n# Overrides: []\n")
        );
    }

    #[test]
    fn resolv_conf_follows_the_host() {
        let host = ResolvConf::parse("# x\nnameserver 10.255.255.53\nnameserver 127.0.0.1\nnameserver ::1\n");
        assert_eq!(
            host.clone().for_own_network(false).text("/etc/resolv.conf"),
            format!(
                "{HEAD}nameserver 10.255.255.53\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n"
            )
        );
        assert_eq!(
            host.text("/etc/resolv.conf"),
            format!(
                "{HEAD}nameserver 10.255.255.53\nnameserver 127.0.0.1\nnameserver ::1\n\n\
                 # Based on host file: '/etc/resolv.conf'\n# Overrides: []\n"
            )
        );
    }

    #[test]
    fn resolv_conf_takes_what_the_user_says() {
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        let host = ResolvConf::parse("nameserver 9.9.9.9\nsearch home\noptions ndots:1\n");
        let text = host
            .clone()
            .with_overrides(
                &[ip("1.1.1.1"), ip("127.0.0.1")],
                &words(&["x.org", "y.org"]),
                &words(&["ndots:3"]),
            )
            .for_own_network(false)
            .text("/etc/resolv.conf");
        assert_eq!(
            text,
            format!(
                "{HEAD}nameserver 1.1.1.1\nnameserver 127.0.0.1\nsearch x.org y.org\noptions ndots:3\n\n\
                 # Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: [nameservers search options]\n\
                 # Option ndots from: override\n"
            )
        );
        let text =
            host.with_overrides(&[], &words(&["."]), &[]).for_own_network(false).text("/etc/resolv.conf");
        assert!(!text.contains("\nsearch"), "{text}");
        assert!(text.contains("# Overrides: [search]\n# Option ndots from: host\n"), "{text}");
    }

    #[test]
    fn without_a_reachable_name_server_public_ones_are_used() {
        for text in ["", "nameserver 127.0.0.1\n", "nameserver fe80::1%eth0\n", "nameserver nonsense\n"] {
            let text = ResolvConf::parse(text).for_own_network(false).text("/etc/resolv.conf");
            assert!(text.contains("\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n\n"), "{text}");
            assert!(text.contains("# Used default nameservers.\n"), "{text}");
        }
        let both = ResolvConf::parse("").for_own_network(true);
        assert!(both.text("").contains("nameserver 2001:4860:4860::8844\n"));
    }

    #[test]
    fn odd_lines_are_read_as_docker_reads_them() {
        let host = ResolvConf::parse(
            "nameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver bogus\nsearch corp.example lan\n\
             options ndots:2 timeout:1\nsortlist 1.2.3.0\n",
        );
        assert_eq!(
            host.clone().for_own_network(false).text("/etc/resolv.conf"),
            format!(
                "{HEAD}nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch corp.example lan\n\
                 options ndots:2 timeout:1\nsortlist 1.2.3.0\n\n\
                 # Based on host file: '/etc/resolv.conf' (legacy)\n# Used default nameservers.\n\
                 # Invalid nameservers: [bogus]\n# Overrides: []\n# Option ndots from: host\n"
            )
        );
        assert_eq!(
            host.text("/etc/resolv.conf"),
            format!(
                "{HEAD}nameserver 127.0.0.53\nnameserver fe80::1%eth0\nsearch corp.example lan\n\
                 options ndots:2 timeout:1\nsortlist 1.2.3.0\n\n# Based on host file: '/etc/resolv.conf'\n\
                 # Invalid nameservers: [bogus]\n# Overrides: []\n# Option ndots from: host\n"
            )
        );
        let host = "; c\n# d\nnameserver 9.9.9.9 # x\n  nameserver 8.8.4.4\nnameserver 9.9.9.9\ndomain foo.org\nsearch\n";
        assert_eq!(
            ResolvConf::parse(host).for_own_network(false).text("/etc/resolv.conf"),
            format!(
                "{HEAD}nameserver 9.9.9.9\nnameserver 8.8.4.4\nnameserver 9.9.9.9\nsearch foo.org\n\n\
                 # Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n"
            )
        );
    }

    #[test]
    fn the_servers_behind_systemd_resolved_are_asked_directly() {
        assert_eq!(resolv_conf_path("nameserver 127.0.0.53\n"), "/run/systemd/resolve/resolv.conf");
        assert_eq!(resolv_conf_path("nameserver 127.0.0.53\nnameserver 9.9.9.9\n"), "/etc/resolv.conf");
    }
}
