//! AppArmor profiles and SELinux labels: they confine where the kernel has them, and are refused where it has not.

use serde_json::json;
use skiff_testkit::apparmor::{self, Profile};

use crate::bundle::Bundle;

const TOUCH: &str = "cat /proc/self/attr/current; touch /tmp/open && echo open; touch /tmp/secret 2>/dev/null || echo no secret";

#[test]
fn a_profile_confines_the_container_and_its_execs() {
    let mut bundle = Bundle::new(&format!("{TOUCH}; touch /tmp/ready; sleep 60"));
    bundle.set("/process/apparmorProfile", json!("skiff-kernel-test"));
    if !apparmor::is_enabled() {
        bundle.run().refused("no AppArmor");
        return;
    }
    let _profile = Profile::load("skiff-kernel-test").unwrap();
    bundle.start();
    crate::bundle::eventually("the container is ready", || bundle.root("tmp/ready").exists());
    let confined = "skiff-kernel-test (enforce)\nopen\nno secret\n";
    assert_eq!(bundle.output(), confined);
    let exec = bundle.command(&["exec", "--apparmor", "skiff-kernel-test", &bundle.id, "sh", "-c", TOUCH]);
    assert_eq!(exec.ok(), confined.trim_end());
}

#[test]
fn a_profile_that_is_not_loaded_is_an_error() {
    let mut bundle = Bundle::new("true");
    bundle.set("/process/apparmorProfile", json!("skiff-not-loaded"));
    bundle.run().refused(match apparmor::is_enabled() {
        true => "skiff-not-loaded\\\": no such file or directory",
        false => "no AppArmor",
    });
}

#[test]
fn no_profile_is_no_confinement() {
    let mut bundle = Bundle::new("cat /proc/self/attr/current 2>/dev/null || echo unconfined");
    bundle.set("/process/apparmorProfile", json!("unconfined"));
    assert_eq!(bundle.run().ok(), "unconfined");
}

/// None of the kernels that this is tested on enables SELinux.
#[test]
fn a_label_without_selinux_is_refused() {
    let label = json!("system_u:system_r:container_t:s0");
    for place in ["/process/selinuxLabel", "/linux/mountLabel"] {
        let mut bundle = Bundle::new("true");
        bundle.set(place, label.clone());
        bundle.run().refused("this kernel has no SELinux");
    }
}
