//! Filters, held against an interpreter, against a plain reading of the rules, against what a real engine recorded, and against the kernel.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use oci_spec::runtime::{Capability, LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator, State};
use rustix::io::Errno;

use super::compile::compile_for;
use super::syscalls::{Abi, X32_MARK};
use super::*;
use crate::capabilities::CapSet;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = ERRNO | 1;
const ENOSYS: u32 = ERRNO | 38;

const HOST: Host = Host { kernel: (6, 12), arch: "amd64" };

/// What the filter answers, and in how many instructions.
fn run(program: &Program, arch: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
    let word = |offset: u32| match offset {
        0 => number,
        4 => arch,
        16.. if offset.is_multiple_of(8) => args[(offset as usize - 16) / 8] as u32,
        _ => (args[(offset as usize - 16) / 8] >> 32) as u32,
    };
    let (mut accumulator, mut at) = (0u32, 0usize);
    for step in 1.. {
        let Instruction { code, jt, jf, k } = program.instructions[at];
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        at += 1 + match code {
            0x20 => {
                accumulator = word(k);
                0
            }
            0x54 => {
                accumulator &= k;
                0
            }
            0x05 => k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x06 => return (k, step),
            other => panic!("unknown instruction {other:#x}"),
        };
    }
    unreachable!("every program ends")
}

fn answer(program: &Program, abi: Abi, name: &str, args: [u64; 6]) -> u32 {
    run(program, abi.audit(), abi.number(name).expect("a known call"), args).0
}

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect("a valid section")
}

/// The rules read as they are written, without any of the compiler's structure.
struct PlainReading<'a> {
    abi: Abi,
    default: u32,
    highest: Option<u32>,
    /// Numbers, action, conditions; without the rules that say what the default says.
    rules: Vec<(Vec<u32>, u32, &'a [LinuxSeccompArg])>,
}

impl<'a> PlainReading<'a> {
    fn new(profile: &'a LinuxSeccomp, abi: Abi) -> Self {
        let default = profile.default_action().as_u32(profile.default_errno_ret());
        let read = |rule: &'a oci_spec::runtime::LinuxSyscall| {
            let numbers: Vec<u32> = rule.names().iter().filter_map(|name| abi.number(name)).collect();
            (numbers, rule.action().as_u32(rule.errno_ret()), rule.args().as_deref().unwrap_or_default())
        };
        let mut rules: Vec<_> = profile.syscalls().iter().flatten().map(read).collect();
        let highest = rules.iter().flat_map(|(numbers, _, _)| numbers.iter().copied()).max();
        rules.retain(|(_, action, _)| *action != default);
        Self { abi, default, highest, rules }
    }

    fn about(&self, number: u32) -> impl Fn([u64; 6]) -> u32 {
        let newer = self.default != ALLOW && self.highest.is_some_and(|highest| number > highest);
        let matching: Vec<_> =
            self.rules.iter().filter(|(numbers, _, _)| numbers.contains(&number)).collect();
        let unconditional =
            matching.iter().find(|(_, _, args)| args.is_empty()).map(|(_, action, _)| *action);
        move |args| match unconditional {
            _ if newer => ENOSYS,
            Some(action) => action,
            None => {
                let decides = |(_, _, list): &&&(Vec<u32>, u32, &[LinuxSeccompArg])| {
                    let mut indices: Vec<usize> = list.iter().map(LinuxSeccompArg::index).collect();
                    indices.sort_unstable();
                    indices.dedup();
                    let mut results = list.iter().map(|arg| holds(arg, args[arg.index()], self.abi));
                    if indices.len() < list.len() { results.any(|it| it) } else { results.all(|it| it) }
                };
                matching.iter().find(decides).map_or(self.default, |(_, action, _)| *action)
            }
        }
    }
}

fn holds(arg: &LinuxSeccompArg, actual: u64, abi: Abi) -> bool {
    let cut = |value: u64| if abi.is_32_bit() { value & 0xffff_ffff } else { value };
    let (actual, value, second) = (cut(actual), cut(arg.value()), cut(arg.value_two().unwrap_or(0)));
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => actual != value,
        LinuxSeccompOperator::ScmpCmpLt => actual < value,
        LinuxSeccompOperator::ScmpCmpLe => actual <= value,
        LinuxSeccompOperator::ScmpCmpEq => actual == value,
        LinuxSeccompOperator::ScmpCmpGe => actual >= value,
        LinuxSeccompOperator::ScmpCmpGt => actual > value,
        LinuxSeccompOperator::ScmpCmpMaskedEq => actual & value == second & value,
    }
}

/// Every call of every architecture, with arguments that lie on, beside and far from the values in the profile.
fn compare_with_plain_reading(profile: &LinuxSeccomp, native: Abi) {
    let program = compile_for(profile, native).expect("compiles");
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let mut values = vec![0, 1, u64::MAX, 0xffff_ffff, 1 << 32];
    for arg in rules.iter().flat_map(|rule| rule.args().iter().flatten()) {
        let around = [arg.value(), arg.value_two().unwrap_or(0)].into_iter();
        values.extend(
            around.flat_map(|it| [it.wrapping_sub(1), it, it.wrapping_add(1), it ^ (1 << 40), it << 32]),
        );
    }
    values.sort_unstable();
    values.dedup();
    let abis = profile.architectures().iter().flatten().filter_map(|arch| Abi::from_oci(*arch));
    for abi in abis.chain([native]) {
        let plain = PlainReading::new(profile, abi);
        let mark = if abi == Abi::X32 { X32_MARK } else { 0 };
        for number in (0..600).map(|number| number | mark) {
            let expected = plain.about(number);
            for (at, &first) in values.iter().enumerate() {
                let second = values[(at * 7 + 3) % values.len()];
                let args = [first, second, first, 0, second, u64::MAX];
                let (actual, steps) = run(&program, abi.audit(), number, args);
                assert_eq!(actual, expected(args), "{abi:?} {number} {args:x?}");
                assert!(steps < 100, "{steps} instructions for {abi:?} {number}");
            }
        }
    }
}

#[test]
fn dockers_profile_decides_as_docker_does() {
    let program =
        compile_for(&default_profile(CapSet::docker_default(), &HOST), Abi::X86_64).expect("compiles");
    let ask = |abi, name, first: u64| answer(&program, abi, name, [first, 0, 0, 0, 0, 0]);
    for abi in [Abi::X86_64, Abi::X86, Abi::X32] {
        assert_eq!(ask(abi, "read", 0), ALLOW, "{abi:?}");
        assert_eq!(ask(abi, "mount", 0), EPERM, "{abi:?}");
        assert_eq!(ask(abi, "clone3", 0), ENOSYS, "{abi:?}");
        assert_eq!(ask(abi, "clone", 17), ALLOW, "{abi:?}: SIGCHLD alone");
        assert_eq!(ask(abi, "clone", 0x1000_0000 | 17), EPERM, "{abi:?}: a user namespace");
        assert_eq!(ask(abi, "personality", 0x2_0008), ALLOW, "{abi:?}");
        assert_eq!(ask(abi, "personality", 0x40_0000), EPERM, "{abi:?}: no address randomisation");
        assert_eq!(ask(abi, "keyctl", 0), EPERM, "{abi:?}");
    }
    assert_eq!(ask(Abi::X86_64, "socket", 2), ALLOW);
    assert_eq!(ask(Abi::X86_64, "socket", 40), EPERM, "to the hypervisor");
    assert_eq!(ask(Abi::X86_64, "chroot", 0), ALLOW, "it is among the default capabilities");
    assert_eq!(run(&program, Abi::X86_64.audit(), 4000, [0; 6]).0, ENOSYS, "a call of the future");
    assert_eq!(run(&program, Abi::Aarch64.audit(), 0, [0; 6]).0, KILL_PROCESS, "no such programs here");
    let (_, steps) = run(&program, Abi::X86_64.audit(), 0, [0; 6]);
    assert!(steps <= 14, "read(2) costs {steps} instructions");
    // The kernel translates all of them for every process that starts.
    let length = program.instructions.len();
    assert!(length <= 310, "{length} instructions");
    assert_eq!(program.flags, skiff_sys::seccomp::FLAG_SPEC_ALLOW);
}

#[test]
fn every_call_of_dockers_profile_is_as_written() {
    for caps in [CapSet::EMPTY, CapSet::docker_default(), CapSet::ALL] {
        compare_with_plain_reading(&default_profile(caps, &HOST), Abi::X86_64);
    }
    let arm = Host { arch: "arm64", ..HOST };
    compare_with_plain_reading(&default_profile(CapSet::docker_default(), &arm), Abi::Aarch64);
}

/// Rules beside the long allow list, as the real engine wrote them into config.json.
fn short_rules(profile: &LinuxSeccomp) -> Vec<String> {
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    rules.iter().skip(1).map(|rule| rule.names().join(" ")).collect()
}

#[test]
fn dockers_profile_is_what_a_real_engine_recorded() {
    let plain = default_profile(CapSet::docker_default(), &HOST);
    let expected = "process_vm_readv process_vm_writev ptrace,socket,personality,personality,personality,personality,\
        personality,arch_prctl,modify_ldt,clone,clone3,chroot";
    assert_eq!(short_rules(&plain).join(","), expected);
    let always = plain.syscalls().as_ref().expect("rules")[0].names().len();
    assert_eq!(always, 361);

    let all = default_profile(CapSet::ALL, &HOST);
    let expected = [
        "open_by_handle_at",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
        "reboot",
        "chroot",
        "delete_module init_module finit_module",
        "acct",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
        "iopl ioperm",
        "settimeofday stime clock_settime clock_settime64",
        "vhangup",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
        "syslog",
        "bpf",
        "perf_event_open",
    ];
    assert_eq!(short_rules(&all)[9..], expected);

    let mut admin = CapSet::docker_default();
    admin.insert(Capability::SysAdmin);
    let rules = short_rules(&default_profile(admin, &HOST));
    assert!(
        rules[9].starts_with("bpf clone clone3") && rules[10] == "chroot" && rules.len() == 11,
        "{rules:?}"
    );
    let old = default_profile(CapSet::EMPTY, &Host { kernel: (4, 4), ..HOST });
    assert_eq!(short_rules(&old)[0], "socket", "ptrace was an escape then");
}

#[test]
fn every_operator_compares_64_bits() {
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for value in [0u64, 5, 0xffff_ffff, 0x1_0000_0000, 0x8000_0000_8000_0000, u64::MAX] {
            let json = format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[
                    {{"names":["getuid"],"action":"SCMP_ACT_ERRNO","errnoRet":7,"args":[
                        {{"index":0,"value":{value},"valueTwo":{value},"op":"SCMP_CMP_{op}"}},
                        {{"index":1,"value":3,"op":"SCMP_CMP_GE"}}]}}]}}"#
            );
            compare_with_plain_reading(&profile(&json), Abi::X86_64);
        }
    }
}

#[test]
fn two_conditions_on_one_argument_are_alternatives() {
    let section = profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["kill"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":1,"value":0,"op":"SCMP_CMP_EQ"},{"index":1,"value":15,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    compare_with_plain_reading(&section, Abi::X86_64);
    let program = compile_for(&section, Abi::X86_64).expect("compiles");
    let ask = |signal| answer(&program, Abi::X86_64, "kill", [1, signal, 0, 0, 0, 0]);
    assert_eq!((ask(0), ask(15), ask(9)), (ALLOW, ALLOW, EPERM));
}

#[test]
fn the_first_rule_without_conditions_decides() {
    let section = profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["kill"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
            {"names":["kill","tgkill"],"action":"SCMP_ACT_ERRNO","errnoRet":22},
            {"names":["kill"],"action":"SCMP_ACT_KILL"},
            {"names":["tgkill"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let program = compile_for(&section, Abi::X86_64).expect("compiles");
    assert_eq!(answer(&program, Abi::X86_64, "kill", [0, 9, 0, 0, 0, 0]), ERRNO | 22);
    assert_eq!(answer(&program, Abi::X86_64, "tgkill", [0; 6]), ERRNO | 22);
    compare_with_plain_reading(&section, Abi::X86_64);
}

#[test]
fn i386_sockets_have_no_second_door() {
    let section = profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[
            {"names":["socket","accept","shmget"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    let program = compile_for(&section, Abi::X86_64).expect("compiles");
    let ask = |name, first| answer(&program, Abi::X86, name, [first, 0, 0, 0, 0, 0]);
    assert_eq!((ask("socket", 0), ask("socketcall", 1), ask("socketcall", 5)), (EPERM, EPERM, EPERM));
    assert_eq!((ask("socketcall", 2), ask("ipc", 1)), (ALLOW, ALLOW));
    assert_eq!((ask("ipc", 23), ask("ipc", 1 << 16 | 23)), (EPERM, EPERM));

    let named = profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[
            {"names":["socket"],"action":"SCMP_ACT_ERRNO"},{"names":["socketcall"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let program = compile_for(&named, Abi::X86_64).expect("compiles");
    assert_eq!(
        answer(&program, Abi::X86, "socketcall", [1, 0, 0, 0, 0, 0]),
        ALLOW,
        "the profile says so itself"
    );
}

#[test]
fn actions_become_the_kernels_values() {
    let pairs = [
        ("KILL", 0),
        ("KILL_THREAD", 0),
        ("KILL_PROCESS", 0x8000_0000),
        ("TRAP", 0x0003_0000),
        ("TRACE", 0x7ff0_0001),
        ("LOG", 0x7ffc_0000),
        ("NOTIFY", 0x7fc0_0000),
    ];
    for (word, value) in pairs {
        let section = profile(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x","syscalls":[
                {{"names":["mkdir"],"action":"SCMP_ACT_{word}"}}]}}"#
        ));
        let program = compile_for(&section, Abi::X86_64).expect("compiles");
        assert_eq!(answer(&program, Abi::X86_64, "mkdir", [0; 6]), value, "{word}");
        assert_eq!(program.notifies, word == "NOTIFY");
        assert_eq!(
            run(&program, Abi::X86_64.audit(), 9999, [0; 6]).0,
            ALLOW,
            "allowing by default stays that"
        );
    }
}

#[test]
fn impossible_profiles_are_refused() {
    let cases = [
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ERRNO",
                "args":[{"index":7,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
            "error creating seccomp syscall condition for syscall chmod: syscalls only have up to 6 arguments (7 given)",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/x"}"#,
            "SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "seccomp listenerPath is not set, but SCMP_ACT_NOTIFY is used",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#,
            "seccomp errnoRet 5000 is above 4095",
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(compile(&profile(json)).expect_err(expected).to_string(), expected);
    }
}

#[test]
fn flags_are_passed_on() {
    let flags = |json: &str| compile(&profile(json)).expect("compiles").flags;
    assert_eq!(flags(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#), 1 << 2, "runc's default");
    assert_eq!(flags(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":[]}"#), 0);
    let all =
        r#"["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    assert_eq!(flags(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","flags":{all}}}"#)), 2 | 1 | 1 << 5);
}

#[test]
fn programs_travel() {
    let program = compile(&default_profile(CapSet::docker_default(), &Host::current())).expect("compiles");
    let bytes = postcard::to_stdvec(&program).expect("encoded");
    assert_eq!(postcard::from_bytes::<Program>(&bytes).expect("decoded"), program);
}

#[test]
fn dockers_format_is_filtered_by_host_and_capabilities() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"comment":"ignored",
        "archMap":[{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
                   {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}],
        "syscalls":[
            {"names":["read"],"action":"SCMP_ACT_ALLOW","args":null,"includes":{},"excludes":{}},
            {"names":["a"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["b"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["c"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
            {"names":["d"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["arm64"]}},
            {"names":["e"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.13"}},
            {"names":["f"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"name":"g","action":"SCMP_ACT_ERRNO","errnoRet":38,"args":[{"index":1,"value":2,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
    let section =
        parse_docker_profile(json, CapSet::docker_default(), &HOST).expect("valid").expect("not empty");
    let names: Vec<_> = section.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect();
    assert_eq!(names, ["read", "b", "d", "f", "g"]);
    assert_eq!(section.architectures().as_ref().map(Vec::len), Some(3));
    let rules = section.syscalls().as_ref().expect("rules");
    assert_eq!((rules[4].errno_ret(), rules[4].args().as_ref().map(Vec::len)), (Some(38), Some(1)));
}

#[test]
fn wrong_profiles_are_refused_in_dockers_words() {
    let parse = |json: &str| parse_docker_profile(json, CapSet::EMPTY, &HOST);
    let cases = [
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ERRNO"}]}"#,
            "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#,
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
        ),
        (r#"{"defaultAction":"SCMP_ACT_FOO"}"#, "string SCMP_ACT_FOO is not a valid action for seccomp"),
        (
            r#"{"syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO"}]}"#,
            "string  is not a valid action for seccomp",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_FOO"}]}]}"#,
            "string SCMP_CMP_FOO is not a valid operator for seccomp",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_FOO"]}"#,
            "seccomp flag SECCOMP_FILTER_FLAG_FOO is not known to runc",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","includes":{"minKernel":"six"}}]}"#,
            r#"invalid kernel version: "six", expected "<kernel>.<major>""#,
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(parse(json).expect_err(expected).to_string(), expected);
    }
    assert!(parse("{}").expect("valid").is_none(), "an empty profile is no profile");
    assert!(parse("{").expect_err("no JSON").to_string().starts_with("Decoding seccomp profile failed: "));
}

/// Runs `action` in a thread of its own under the filter: filters are a thread's, and end with it.
fn under_filter<T: Send + 'static>(program: Program, action: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("allowed to anybody");
        program.load().expect("the kernel accepts the program");
        action()
    });
    thread.join().expect("the thread survives its filter")
}

/// What unmounting nothing answers: `ENOENT`, unless a filter comes before it.
fn try_unmount() -> Result<(), Errno> {
    rustix::mount::unmount("/no/such/place", rustix::mount::UnmountFlags::empty())
}

/// A 64-bit program that makes two calls of the i386 kind: mount(2), then exit(2) with the error number of the first.
fn i386_program() -> tempfile::TempPath {
    #[rustfmt::skip]
    let code = [
        0xb8, 21, 0, 0, 0,      // mov eax, mount
        0xcd, 0x80,             // int 0x80
        0xf7, 0xd8,             // neg eax
        0x89, 0xc3,             // mov ebx, eax
        0xb8, 1, 0, 0, 0,       // mov eax, exit
        0xcd, 0x80,             // int 0x80
    ];
    let address = 0x40_0000u64;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    let half = |elf: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|it| elf.extend(it.to_le_bytes()));
    let word = |elf: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|it| elf.extend(it.to_le_bytes()));
    let long = |elf: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|it| elf.extend(it.to_le_bytes()));
    half(&mut elf, &[2, 62]); // executable, x86-64
    word(&mut elf, &[1]);
    long(&mut elf, &[address + 120, 64, 0]);
    word(&mut elf, &[0]);
    half(&mut elf, &[64, 56, 1, 0, 0, 0]);
    word(&mut elf, &[1, 5]); // one segment, readable and executable
    let size = 120 + code.len() as u64;
    long(&mut elf, &[0, address, address, size, size, 4096]);
    elf.extend(code);

    let path = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    fs_err::write(&path, elf).expect("written");
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    path
}

#[test]
fn the_kernel_obeys_dockers_profile() {
    assert_eq!(try_unmount(), Err(Errno::NOENT));
    let program = compile(&default_profile(CapSet::docker_default(), &Host::current())).expect("compiles");
    let (unmounted, read) =
        under_filter(program, || (try_unmount(), fs_err::read("/proc/self/stat").is_ok()));
    assert_eq!(unmounted, Err(Errno::PERM));
    assert!(read, "ordinary calls go on");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernel_obeys_for_i386_programs_too() {
    let path = i386_program();
    let run = |program: Program| {
        let path = path.to_path_buf();
        under_filter(program, move || Command::new(path).status().expect("it can be executed"))
    };
    let docker = compile(&default_profile(CapSet::docker_default(), &Host::current())).expect("compiles");
    assert_eq!(run(docker).code(), Some(1), "mount answers EPERM, and exit works");
    let native_only = compile(&profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)).expect("compiles");
    assert_eq!(run(native_only).signal(), Some(31), "an architecture outside the profile ends in SIGSYS");
}

#[test]
fn a_listener_reaches_its_supervisor() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("supervisor.sock");
    let supervisor = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let section = profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[{"names":["umount2"],"action":"SCMP_ACT_NOTIFY"}]}"#,
    );
    let program = compile(&section).expect("compiles");
    std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("allowed to anybody");
        let listener = program.load().expect("accepted").expect("a notifying filter has a listener");
        let mut state = State::default();
        state.set_version("1.2.0".to_owned()).set_id("c1".to_owned());
        send_listener(&path, listener.as_fd(), 42, Some("meta"), &state).expect("sent");
    })
    .join()
    .expect("sent");

    let (stream, _) = supervisor.accept().expect("a connection");
    let mut buffer = vec![0; 4096];
    let (length, fds) = skiff_sys::socket::receive(&stream, &mut buffer).expect("a message");
    let message: serde_json::Value = serde_json::from_slice(&buffer[..length]).expect("JSON");
    assert_eq!(fds.len(), 1);
    assert_eq!(message["fds"], serde_json::json!(["seccompFd"]));
    assert_eq!((message["pid"].as_i64(), message["metadata"].as_str()), (Some(42), Some("meta")));
    assert_eq!(message["state"]["id"], "c1");
}
