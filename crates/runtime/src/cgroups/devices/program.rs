//! The compiler from device rules to an eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
//!
//! The kernel calls it with `struct bpf_cgroup_dev_ctx` (access and type, major, minor) and takes 1 for yes. Rules are tried from the last to the
//! first. Each access bit is decided by the last rule that names it, so a rule that allows only some of the bits asked for takes these off the request and
//! lets the earlier rules decide about the rest.

use super::{FULL, Kind, Rule, Rules};

/// The registers' roles.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

const TYPE_BLOCK: i32 = 1;
const TYPE_CHAR: i32 = 2;

#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    fn new(code: u8, to: u8, immediate: i32) -> Self {
        Self { code, to, from: 0, offset: 0, immediate }
    }

    /// `struct bpf_insn` on a little-endian machine.
    fn word(self) -> u64 {
        u64::from(self.code)
            | u64::from(self.to | self.from << 4) << 8
            | u64::from(self.offset as u16) << 16
            | u64::from(self.immediate as u32) << 32
    }
}

pub(super) fn compile(rules: &Rules) -> Vec<u64> {
    let load = |to, offset| Instruction { code: LOAD_WORD, to, from: CONTEXT, offset, immediate: 0 };
    let mut code = vec![
        load(TYPE, 0),
        Instruction { code: MOVE_REGISTER, to: ACCESS, from: TYPE, offset: 0, immediate: 0 },
        Instruction::new(AND, TYPE, 0xffff),
        Instruction::new(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.rules.iter().rev() {
        code.extend(block(rule));
    }
    // Without a rule for everything the ancestors decide: the kernel asks their programs too.
    code.extend(answer(rules.everything.unwrap_or(true)));
    code.into_iter().map(Instruction::word).collect()
}

fn answer(allow: bool) -> [Instruction; 2] {
    [Instruction::new(MOVE, ANSWER, i32::from(allow)), Instruction::new(EXIT, 0, 0)]
}

/// The instructions of one rule; whoever it does not decide about goes on behind them.
fn block(rule: &Rule) -> Vec<Instruction> {
    let kind = if rule.kind == Kind::Block { TYPE_BLOCK } else { TYPE_CHAR };
    let mut code = vec![Instruction::new(JUMP_IF_NOT_EQUAL, TYPE, kind)];
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        code.extend(number.map(|number| Instruction::new(JUMP_IF_NOT_EQUAL, register, number as i32)));
    }
    if rule.access != FULL && rule.allow {
        code.push(Instruction::new(AND, ACCESS, i32::from(FULL & !rule.access)));
        code.push(Instruction::new(JUMP_IF_NOT_EQUAL, ACCESS, 0));
    } else if rule.access != FULL {
        code.push(Instruction { code: MOVE_REGISTER, to: ANSWER, from: ACCESS, offset: 0, immediate: 0 });
        code.push(Instruction::new(AND, ANSWER, rule.access.into()));
        code.push(Instruction::new(JUMP_IF_EQUAL, ANSWER, 0));
    }
    code.extend(answer(rule.allow));
    let end = code.len();
    for (at, instruction) in code.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_IF_EQUAL | JUMP_IF_NOT_EQUAL) {
            instruction.offset = (end - at - 1) as i16;
        }
    }
    code
}
