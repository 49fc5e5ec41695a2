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
