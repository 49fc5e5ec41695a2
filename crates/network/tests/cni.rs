//! Networks of the driver `cni`. The plugins are shell scripts, which make a pair of links and remember what they are told.

mod world;

use std::{os::unix::fs::PermissionsExt, path::Path};

use skiff_network::{Driver, EndpointRequest, NetConfig, NetworkRequest, Protocol};
use world::*;

/// Joins a container to the host by a pair of links; both the plugins `pair` and `ports` write down what they are asked.
const PAIR: &str = r#"
inside() { nsenter --net="$CNI_NETNS" "$@"; }
case $CNI_COMMAND in
ADD)
    ip link add cnipair type veth peer name cnipeer
    ip address add 10.88.0.1/24 dev cnipair && ip link set cnipair up
    nsenter --net="$CNI_NETNS" true
    ip link set cnipeer netns "$CNI_NETNS"
    inside ip link set cnipeer name "$CNI_IFNAME"
    inside ip address add 10.88.0.5/24 dev "$CNI_IFNAME"
    inside ip link set "$CNI_IFNAME" up
    inside ip route add default via 10.88.0.1
    cat <<END
{"cniVersion":"1.0.0","interfaces":[{"name":"cnipair"},{"name":"$CNI_IFNAME","mac":"02:11:22:33:44:66","sandbox":"$CNI_NETNS"}],
 "ips":[{"interface":1,"address":"10.88.0.5/24","gateway":"10.88.0.1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.88.0.53"]}}
END
    ;;
DEL) ip link del cnipair ;;
esac
"#;

fn install(dir: &Path) {
    for (name, script) in [("pair", PAIR), ("ports", "")] {
        let log = dir.join("log");
        let head = format!(
            "#!/bin/sh\nIN=$(cat)\necho \"{name} $CNI_COMMAND $CNI_IFNAME $(test -n \"$CNI_NETNS\" && test -e \"$CNI_NETNS\" && echo there) $IN\" >>{}\n",
            log.display()
        );
        let program = dir.join(name);
        fs_err::write(&program, head + script).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let list = r#"{"cniVersion":"1.0.0","name":"lan","plugins":[{"type":"pair"},{"type":"ports","capabilities":{"portMappings":true}}]}"#;
    fs_err::write(dir.join("lan.conflist"), list).unwrap();
}

/// What the plugins were asked, without what they were told.
fn asked(dir: &Path) -> Vec<String> {
    let log = fs_err::read_to_string(dir.join("log")).unwrap_or_default();
    log.lines().map(|line| line.split(" {").next().unwrap_or_default().to_owned()).collect()
}

fn lan(dir: &Path) -> NetworkRequest {
    NetworkRequest {
        driver: Driver::Cni,
        options: [("conf", dir.join("lan.conflist")), ("path", dir.to_owned())]
            .map(|(key, value)| (key.to_owned(), value.display().to_string()))
            .into(),
        ..network_request("lan", &[], &[])
    }
}

#[test]
fn cni_plugins_join_a_container_and_are_told_of_its_end() {
    on_a_host(|host| {
        let dir = tempfile::tempdir().unwrap();
        install(dir.path());
        let config = || NetConfig { run: dir.path().to_owned(), ..config() };
        let network = host.open(config(), vec![]);
        let lan = network.create(&lan(dir.path())).unwrap();
        let wanted = request_with(vec![port("18766", 80, Protocol::Tcp)], EndpointRequest::new(lan.id));
        let id = wanted.container;
        let web = Container::new(network.attach(wanted).unwrap());
        assert_eq!((web.ip(), web.record.gateway), (ip("10.88.0.5"), Some("10.88.0.1".parse().unwrap())));
        assert_eq!(web.record.mac.unwrap().to_string(), "02:11:22:33:44:66");
        assert_eq!(web.record.ports[0].host_port, 18766);
        assert_eq!(asked(dir.path()), ["pair ADD eth0 there", "ports ADD eth0 there"]);
        let log = fs_err::read_to_string(dir.path().join("log")).unwrap();
        assert!(log.contains(
            r#""portMappings":[{"containerPort":80,"hostIP":"","hostPort":18766,"protocol":"tcp"}]"#
        ));
        web.serve(99);
        assert_eq!(tcp(web.ip(), 99), Some(ip("10.88.0.1")));
        // Strangers are not forwarded on this host; who was joined by somebody else is.
        let neighbour = host.neighbour(2);
        neighbour.run(&format!("ip route add 10.88.0.0/24 via {HOST}"));
        serve(&neighbour, 98);
        assert_eq!(web.inside.within(|| tcp(ip("198.51.100.2"), 98)), Some(web.ip()));

        // The next daemon knows the container, asks whether all is well, and says its farewell, although the container has ended meanwhile.
        let (networks, endpoints) = (vec![lan.clone()], network.endpoints());
        drop(network);
        let network = host.open_with(config(), networks, endpoints);
        assert_eq!(network.endpoints_of(&id)[0], web.record);
        network.tidy(std::os::fd::AsFd::as_fd(&web.inside.netns), &id).unwrap();
        assert_eq!(asked(dir.path())[2..], ["pair CHECK eth0 there", "ports CHECK eth0 there"]);
        drop(web);
        network.release(&id);
        assert_eq!(network.leaving(&id).len(), 1);
        network.part(&id);
        assert_eq!(asked(dir.path())[4..], ["ports DEL eth0 there", "pair DEL eth0 there"]);
        assert!(network.leaving(&id).is_empty() && network.namespace_path(&id).is_none());
        network.remove(&lan.id).unwrap();
    });
}

#[test]
fn a_container_comes_and_goes_while_it_runs() {
    on_a_host(|host| {
        let dir = tempfile::tempdir().unwrap();
        install(dir.path());
        let network = host.open(NetConfig { run: dir.path().to_owned(), ..config() }, vec![]);
        let lan = network.create(&lan(dir.path())).unwrap();
        let web = attach(&network, vec![]);
        let netns = std::os::fd::AsFd::as_fd(&web.inside.netns);
        let (id, wanted) = (web.record.container, EndpointRequest::new(lan.id));
        let all = network.connect(netns, id, "web", &wanted, &[]).unwrap();
        assert_eq!(all.len(), 2);
        assert!(web.inside.run("ip -o -4 address show eth1").contains("10.88.0.5/24"));
        assert_eq!(network.disconnect(netns, id, lan.id, &[]).unwrap().len(), 1);
        assert!(!web.inside.run("ip -o link").contains("eth1"));
        assert!(web.inside.run("ip route show default").contains("dev eth0"));
        assert!(network.namespace_path(&id).is_none());

        // A plugin that is lost is told of, and nothing is left.
        fs_err::remove_file(dir.path().join("ports")).unwrap();
        let error = network.connect(netns, id, "web", &wanted, &[]).unwrap_err().to_string();
        assert_eq!(error, format!("the CNI plugin \"ports\" is not in {}", dir.path().display()));
        assert!(!web.inside.run("ip -o link").contains("eth1") && !run("ip -o link").contains("cnipair"));
        network.release(&id);
        network.part(&id);
    });
}
