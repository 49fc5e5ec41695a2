//! The device rules, held against an interpreter of the few eBPF instructions that the compiler uses and against the kernel's own v1 behaviour.

use super::*;

fn rule(
    allow: bool,
    typ: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_typ(typ).set_major(major).set_minor(minor).set_access(Some(access.to_owned()));
    rule
}

fn everything(allow: bool) -> LinuxDeviceCgroup {
    rule(allow, None, None, None, "rwm")
}

fn char_rule(allow: bool, major: i64, minor: Option<i64>, access: &str) -> LinuxDeviceCgroup {
    rule(allow, Some(LinuxDeviceType::C), Some(major), minor, access)
}

/// What the program answers for one access.
fn run(words: &[u64], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
    let kind = if kind == Kind::Block { 1 } else { 2 };
    let context = [kind | u32::from(access) << 16, major, minor];
    let mut registers = [0u64; 11];
    let mut at = 0;
    for _ in 0..100_000 {
        let word = words[at];
        let (code, to, from) = (word as u8, (word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
        let (offset, immediate) = ((word >> 16) as i16, (word >> 32) as i32 as i64 as u64);
        at += 1;
        let jump = match code {
            0x61 => {
                assert_eq!(from, 1, "only the context is ever read");
                registers[to] = context[offset as usize / 4].into();
                false
            }
            0xbf => {
                registers[to] = registers[from];
                false
            }
            0xb7 => {
                registers[to] = immediate;
                false
            }
            0x57 => {
                registers[to] &= immediate;
                false
            }
            0x77 => {
                registers[to] >>= immediate;
                false
            }
            0x15 => registers[to] == immediate,
            0x55 => registers[to] != immediate,
            0x95 => return registers[0] == 1,
            other => panic!("unknown instruction {other:#x}"),
        };
        if jump {
            at = at.checked_add_signed(offset as isize).expect("jumps go forward");
        }
    }
    panic!("the program does not end");
}

fn v1_texts(list: &[LinuxDeviceCgroup]) -> Vec<String> {
    let steps = v1_steps(list).expect("expressible");
    steps.iter().map(|step| format!("{} {}", step.file, step.value)).collect()
}

#[test]
fn dockers_list_is_a_deny_and_its_exceptions() {
    let mut list = vec![everything(true), char_rule(true, 9, None, "rwm"), everything(false)];
    list.extend([char_rule(true, 1, Some(3), "rwm"), char_rule(false, 10, Some(229), "rwm")]);
    list.extend(runtime_default_rules());
    let texts = v1_texts(&list);
    assert_eq!(texts[0], "devices.deny a", "what was before the last rule for everything is forgotten");
    assert_eq!(texts[1], "devices.allow c 1:3 rwm");
    assert_eq!(texts[2], "devices.allow c *:* m", "the denial of what is not allowed needs no write");
    assert_eq!(texts.iter().filter(|text| text.contains("c 1:3 ")).count(), 1, "doubles are written once");
    assert_eq!(texts.len(), 12);

    let words = program(&list).expect("compiles");
    assert!(run(&words, Kind::Char, 1, 3, READ | WRITE));
    assert!(run(&words, Kind::Char, 136, 7, READ | WRITE));
    assert!(run(&words, Kind::Block, 8, 0, MKNOD));
    assert!(!run(&words, Kind::Block, 8, 0, READ));
    assert!(!run(&words, Kind::Char, 10, 229, READ | WRITE));
    assert!(!run(&words, Kind::Char, 9, 1, READ));
    assert!(run(&words, Kind::Char, 10, 200, READ | WRITE), "/dev/net/tun");
}

#[test]
fn privileged_is_one_write_and_a_program_that_says_yes() {
    let list = [char_rule(true, 1, Some(3), "rwm"), everything(true)];
    assert_eq!(v1_texts(&list), ["devices.allow a"]);
    let words = program(&list).expect("compiles");
    assert!(run(&words, Kind::Block, 8, 0, FULL));
}

#[test]
fn each_access_bit_is_decided_by_the_last_rule_that_names_it() {
    let list = [
        everything(false),
        char_rule(true, 4, None, "rwm"),
        char_rule(false, 4, Some(1), "w"),
        char_rule(true, 7, Some(1), "r"),
        char_rule(true, 7, Some(1), "w"),
    ];
    let words = program(&list).expect("compiles");
    assert!(run(&words, Kind::Char, 4, 1, READ));
    assert!(!run(&words, Kind::Char, 4, 1, READ | WRITE));
    assert!(run(&words, Kind::Char, 4, 2, FULL));
    assert!(run(&words, Kind::Char, 7, 1, READ | WRITE), "two rules together");
    assert!(!run(&words, Kind::Char, 7, 1, FULL));
    assert!(run(&words, Kind::Char, 4, 1, MKNOD));
}

#[test]
fn v1_refuses_what_it_would_silently_let_through() {
    let list = [everything(false), char_rule(true, 4, None, "rwm"), char_rule(false, 4, Some(1), "w")];
    let text = v1_steps(&list).expect_err("the kernel would ignore the denial").to_string();
    assert_eq!(
        text,
        r#"invalid devices: cgroup v1 cannot deny "c 4:1 w" as an exception from the rule "c 4:* rwm""#
    );
    let exact = [everything(false), char_rule(true, 4, Some(1), "rwm"), char_rule(false, 4, Some(1), "w")];
    assert_eq!(v1_texts(&exact), ["devices.deny a", "devices.allow c 4:1 rm"]);
}

#[test]
fn a_list_of_exceptions_alone_inherits_the_rest() {
    let list = [char_rule(false, 4, Some(1), "rwm")];
    assert_eq!(v1_texts(&list), ["devices.deny c 4:1 rwm"]);
    let words = program(&list).expect("compiles");
    assert!(run(&words, Kind::Char, 1, 3, READ));
    assert!(!run(&words, Kind::Char, 4, 1, READ));
}

#[test]
fn nonsense_is_refused() {
    for (list, expected) in [
        (char_rule(true, 1, Some(3), "rx"), r#"access "rx" is not made of r, w and m"#),
        (char_rule(true, -7, None, "r"), "-7 is not a major number"),
        (char_rule(true, 1, Some(1 << 40), "r"), "1099511627776 is not a minor number"),
        (rule(true, Some(LinuxDeviceType::P), None, None, "r"), "a FIFO is not a device to be controlled"),
    ] {
        let text = program(&[list]).expect_err("nonsense").to_string();
        assert_eq!(text, format!("invalid devices: {expected}"));
    }
}

#[test]
fn every_list_of_v1_means_the_same_in_v2() {
    // All lists of three rules from a small vocabulary: where v1 can express one, an emulation of the kernel's exceptions and the program must agree.
    let vocabulary = [
        everything(true),
        everything(false),
        char_rule(true, 1, Some(3), "rw"),
        char_rule(false, 1, Some(3), "w"),
        char_rule(true, 1, None, "rwm"),
        char_rule(false, 1, None, "rwm"),
    ];
    let mut compared = 0;
    for a in &vocabulary {
        for b in &vocabulary {
            for c in &vocabulary {
                let list = [a.clone(), b.clone(), c.clone()];
                let Ok(steps) = v1_steps(&list) else { continue };
                let words = program(&list).expect("v2 expresses every list");
                for (minor, access) in
                    [(3, READ), (3, WRITE), (3, MKNOD), (3, READ | WRITE), (4, READ), (4, WRITE)]
                {
                    let v1 = emulate_v1(&steps, 1, minor, access);
                    assert_eq!(run(&words, Kind::Char, 1, minor, access), v1, "{list:?} {minor} {access}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 500, "only {compared} comparisons");
}

/// The v1 kernel's decision: the default, unless an exception matches (wholly when denied by default, in any bit when allowed).
fn emulate_v1(steps: &[Step], major: u32, minor: u32, access: u8) -> bool {
    let mut default = true;
    let mut exceptions = Vec::new();
    for step in steps {
        if step.value == "a" {
            default = step.file == "devices.allow";
            continue;
        }
        let (numbers, letters) = step.value.trim_start_matches("c ").split_once(' ').expect("three parts");
        let (major, minor) = numbers.split_once(':').expect("two numbers");
        exceptions.push((major.parse().ok(), minor.parse().ok(), parse_access(letters).expect("letters")));
    }
    let matching = |(of_major, of_minor, bits): &(Option<u32>, Option<u32>, u8)| {
        of_major.is_none_or(|it| it == major)
            && of_minor.is_none_or(|it| it == minor)
            && if default { access & bits != 0 } else { access & !bits == 0 }
    };
    default != exceptions.iter().any(matching)
}
