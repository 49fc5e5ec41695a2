//! `network` and what is below it, and `run --network`.

use anyhow::Result;

use crate::Test;

/// A network's name; the network is gone in the end, by the test itself.
fn gone(test: &Test, names: &[&str]) -> Result<()> {
    for name in names {
        test.run(&["network", "rm", "-f", name])?;
    }
    Ok(())
}

#[test]
fn networks_are_made_shown_joined_and_removed() -> Result<()> {
    let mut test = Test::new()?;
    let (net, other, web) = (test.name("net"), test.name("other"), test.name("web"));
    let id = test.run(&[
        "network",
        "create",
        "--subnet",
        "10.78.1.0/24",
        "--gateway",
        "10.78.1.9",
        "--aux-address",
        "a=10.78.1.5",
        "--label",
        "tier=front",
        "-o",
        "com.docker.network.driver.mtu=1400",
        &net,
    ])?;
    let id = id.ok();
    assert_eq!(id.trim_end().len(), 64, "{id}");
    let shown = test.run(&[
        "network",
        "inspect",
        "-f",
        "{{.Driver}} {{json .IPAM.Config}} {{json .Options}} {{.Labels.tier}}",
        &net,
    ])?;
    assert_eq!(
        shown.ok(),
        "bridge [{\"Subnet\":\"10.78.1.0/24\",\"Gateway\":\"10.78.1.9\",\"AuxiliaryAddresses\":{\"a\":\"10.78.1.5\"}}] \
         {\"com.docker.network.driver.mtu\":\"1400\"} front\n"
    );
    test.run(&["network", "create", "--internal", &other])?.ok();
    let network = format!("name={net},alias=one,ip=10.78.1.77,gw-priority=2");
    test.run(&["run", "-d", "--name", &web, "--network", &network, "busybox", "sleep", "100"])?.ok();
    let format = "{{range $name, $net := .NetworkSettings.Networks}}{{$net.IPAddress}} {{$net.GwPriority}} {{$net.Aliases}}{{end}}";
    assert_eq!(test.run(&["inspect", "-f", format, &web])?.ok(), "10.78.1.77 2 [one]\n");
    test.run(&["network", "connect", "--alias", "two", "--gw-priority", "-1", &other, &web])?.ok();
    let names = test.run(&["inspect", "-f", "{{len .NetworkSettings.Networks}}", &web])?.ok();
    assert_eq!(names, "2\n");
    test.run(&["network", "disconnect", &other, &web])?.ok();
    let used = test.run(&["network", "rm", &net, &other])?;
    assert_eq!(used.code, 1);
    assert_eq!(used.out, format!("{other}\n"));
    assert!(used.err.contains("has active endpoints (name:"), "{used:?}");
    assert!(used.err.ends_with("\nexit status 1\n"), "{used:?}");
    test.run(&["rm", "-f", &web])?.ok();
    assert_eq!(test.run(&["network", "rm", &net])?.ok(), format!("{net}\n"));
    gone(&test, &[&net, &other])
}

#[test]
fn what_does_not_fit_is_told_before_or_by_the_engine() -> Result<()> {
    let mut test = Test::new()?;
    let net = test.name("bad");
    for (args, words) in [
        (&["--gateway", "10.78.2.1"][..], "every ip-range or gateway must have a corresponding subnet"),
        (
            &["--subnet", "10.78.2.0/24", "--subnet", "10.78.2.0/25"],
            "multiple overlapping subnet configuration is not supported",
        ),
        (&["--subnet", "10.78.2.0/24", "--gateway", "10.79.0.1"], "no matching subnet for gateway 10.79.0.1"),
        (
            &["--subnet", "x"],
            "Error response from daemon: invalid network config:\ninvalid subnet x: invalid CIDR block notation",
        ),
        (&["--ipv4=false"], "Error response from daemon: IPv4 or IPv6 must be enabled"),
    ] {
        let mut line = vec!["network", "create"];
        line.extend(args);
        line.push(&net);
        let said = test.run(&line)?;
        assert_eq!((said.code, said.err.as_str()), (1, format!("{words}\n").as_str()), "{args:?}");
    }
    let said = test.run(&["network", "connect", "--driver-opt", "x", "bridge", "nope"])?;
    assert_eq!((said.code, said.err.as_str()), (1, "invalid key/value pair format in driver options\n"));
    let said = test.run(&["network", "rm", "nope"])?;
    assert_eq!(said.err, "Error response from daemon: network nope not found\nexit status 1\n");
    test.run(&["network", "rm", "-f", "nope"])?.ok();
    Ok(())
}

#[test]
fn pruning_asks_first() -> Result<()> {
    let mut test = Test::new()?;
    let net = test.name("prune");
    let label = format!("{net}=1");
    test.run(&["network", "create", "--label", &label, &net])?.ok();
    let filter = format!("label={label}");
    let asked = test.run_with(b"n\n", &["network", "prune", "--filter", &filter])?;
    assert_eq!(
        asked.out,
        "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue? [y/N] "
    );
    assert_eq!(test.run(&["network", "inspect", "-f", "{{.Name}}", &net])?.ok(), format!("{net}\n"));
    let pruned = test.run(&["network", "prune", "-f", "--filter", &filter])?.ok();
    assert_eq!(pruned, format!("Deleted Networks:\n{net}\n\n"));
    assert_eq!(test.run(&["network", "prune", "-f", "--filter", &filter])?.ok(), "");
    Ok(())
}

/// Ours: other engines cannot say it, nor does the test ask them.
#[test]
fn who_reaches_whom_is_told_and_true() -> Result<()> {
    let mut test = Test::new()?;
    if std::env::var_os("SKIFF_TEST_SOCKET").is_some() {
        return Ok(());
    }
    let (net, other) = (test.name("net"), test.name("other"));
    let (web, db, far, off) = (test.name("web"), test.name("db"), test.name("far"), test.name("off"));
    test.run(&["network", "create", "--subnet", "10.78.7.0/24", &net])?.ok();
    test.run(&["network", "create", &other])?.ok();
    // One that listens all the time.
    let serve = "mkdir /www; echo hi > /www/index.html; exec httpd -f -p 80 -h /www";
    let alias = format!("name={net},alias=data");
    test.run(&[
        "run",
        "-d",
        "--name",
        &db,
        "--network",
        &alias,
        "-p",
        "18740:80",
        "busybox",
        "sh",
        "-c",
        serve,
    ])?
    .ok();
    for (name, network) in [(&web, &net), (&far, &other)] {
        test.run(&["run", "-d", "--name", name, "--network", network, "busybox", "sleep", "100"])?.ok();
    }
    test.run(&["create", "--name", &off, "busybox", "true"])?.ok();
    let target = |name: &str, port: u16| format!("{name}:{port}");
    // busybox's wget cannot resolve names where it is linked statically.
    let get = r"printf 'GET / HTTP/1.0\r\n\r\n'";
    // Until the server is up.
    let up = format!("until {get} | nc -w 1 {db} 80 | grep -q hi; do sleep 0.1; done");
    test.run(&["exec", &web, "sh", "-c", &up])?.ok();
    for (from, to, code, words) in [
        (&web, target(&db, 80), 0, format!("{db} listens at port 80")),
        (&web, target("data", 80), 0, format!("{web} knows data as 10.78.7.2, from 127.0.0.11")),
        (&web, target(&db, 81), 1, format!("nobody listens at port 81 of {db}  <- here it ends")),
        (&far, target(&db, 80), 1, format!("{far} has no name for {db}, whose address is 10.78.7.2")),
        (&far, target("10.78.7.2", 80), 1, format!("network {net} takes nothing from br-")),
        (
            &far,
            target("10.78.7.1", 18740),
            0,
            format!("is published for {db}: chain publish turns it to 10.78.7.2:80"),
        ),
        (
            &web,
            target("data.invalid", 80),
            1,
            format!("{web} knows no address of data.invalid  <- here it ends"),
        ),
        (&web, target(&off, 80), 1, format!("{off} does not run  <- here it ends")),
        (&"host".to_owned(), target(&db, 80), 0, format!("{db} listens at port 80")),
        (
            &"host".to_owned(),
            target("127.0.0.1", 18740),
            0,
            "chain publish turns it to 10.78.7.2:80".to_owned(),
        ),
    ] {
        let told = test.run(&["network", "explain", from, &to])?;
        assert!(told.code == code && told.out.contains(&words), "{from} {to}: {told:?}");
        let (place, port) = to.rsplit_once(':').expect("a port");
        let really = match from.as_str() {
            "host" => continue,
            from => {
                let patience = if code == 0 { 10 } else { 1 };
                test.run(&[
                    "exec",
                    from,
                    "sh",
                    "-c",
                    &format!("{get} | nc -w {patience} {place} {port} | grep hi"),
                ])?
            }
        };
        assert_eq!(really.code == 0, code == 0, "{from} {to}: {really:?}");
    }
    let json = test.run(&["network", "explain", "--format", "json", &web, &db])?.ok();
    assert!(json.contains("\"Verdict\":\"reaches\"") && json.contains("\"About\":\"link\""), "{json}");
    let quiet = test.run(&["network", "explain", "-q", &far, "10.78.7.2"])?;
    assert_eq!((quiet.code, quiet.out.as_str()), (1, ""));
    let nobody = test.run(&["network", "explain", "nobody-of-that-name", &db])?;
    assert!(nobody.code == 1 && nobody.err.contains("No such container: nobody-of-that-name"), "{nobody:?}");
    let wrong = test.run(&["network", "explain", &web, "web:x"])?;
    assert!(wrong.err.contains("invalid port in \"web:x\""), "{wrong:?}");
    gone(&test, &[&net, &other])?;
    Ok(())
}
