//! Classic BPF, as much of it as filters need: a decision tree over call numbers, and tests of 64-bit arguments by their halves.
//!
//! Instructions read `struct seccomp_data` of a little-endian machine: number at 0, architecture at 4, six arguments of eight bytes from 16 on.

use super::Instruction;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

pub(super) type Code = Vec<Instruction>;

/// A test of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u32,
    pub(super) test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    MaskedEqual { mask: u64, value: u64 },
}

pub(super) fn load_number() -> Instruction {
    statement(LOAD, NUMBER)
}

pub(super) fn load_architecture() -> Instruction {
    statement(LOAD, ARCHITECTURE)
}

pub(super) fn answer(action: u32) -> Instruction {
    statement(RETURN, action)
}

/// `first` where the accumulator is at least `k`, `second` where it is less.
pub(super) fn at_least(k: u32, first: Code, second: Code) -> Code {
    branch(JUMP_IF_GREATER_OR_EQUAL, k, first, second)
}

/// `first` where the accumulator is greater than `k`, `second` where it is not.
pub(super) fn greater(k: u32, first: Code, second: Code) -> Code {
    branch(JUMP_IF_GREATER, k, first, second)
}

/// `first` where the accumulator is `k`, `second` where it is not.
pub(super) fn equal(k: u32, first: Code, second: Code) -> Code {
    branch(JUMP_IF_EQUAL, k, first, second)
}

/// The second part follows the test, the first follows the second. Neither may fall out at its end.
fn branch(code: u16, k: u32, first: Code, second: Code) -> Code {
    let mut out = Vec::with_capacity(first.len() + second.len() + 2);
    match u8::try_from(second.len()) {
        Ok(distance) => out.push(Instruction { code, jt: distance, jf: 0, k }),
        Err(_) => {
            // a test jumps 255 instructions at most, a plain jump anywhere
            out.push(Instruction { code, jt: 0, jf: 1, k });
            out.push(statement(JUMP, second.len() as u32));
        }
    }
    out.extend(second);
    out.extend(first);
    out
}

/// `action` where all conditions hold; where one does not, control goes on behind the code.
pub(super) fn rule(conditions: &[Condition], action: u32, low_half_only: bool) -> Code {
    let mut tests = Vec::new();
    for condition in conditions {
        condition.push(&mut tests, low_half_only);
    }
    let end = tests.len() + 1;
    let mut code: Code = tests.iter().enumerate().map(|(at, test)| test.resolve(at, end)).collect();
    code.push(answer(action));
    code
}

fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// Where a test goes on: the next instruction, some further on, or behind the whole rule.
#[derive(Clone, Copy)]
enum Next {
    On,
    Skip(u8),
    Fail,
}

/// An instruction whose jumps are not yet distances.
struct Pending {
    code: u16,
    k: u32,
    yes: Next,
    no: Next,
}

impl Pending {
    fn plain(code: u16, k: u32) -> Self {
        Self { code, k, yes: Next::On, no: Next::On }
    }

    fn resolve(&self, at: usize, end: usize) -> Instruction {
        let distance = |next| match next {
            Next::On => 0,
            Next::Skip(count) => count,
            // six arguments of at most six instructions each never reach 255
            Next::Fail => (end - at - 1) as u8,
        };
        Instruction { code: self.code, jt: distance(self.yes), jf: distance(self.no), k: self.k }
    }
}

impl Condition {
    fn push(&self, out: &mut Vec<Pending>, low_half_only: bool) {
        let low = ARGUMENTS + 8 * self.argument;
        let high = low + 4;
        let halves = |value: u64| ((value >> 32) as u32, value as u32);
        let test = |code, k, yes, no| Pending { code, k, yes, no };
        let load = |offset| Pending::plain(LOAD, offset);
        match self.test {
            Test::Equal(value) => {
                let (upper, lower) = halves(value);
                if !low_half_only {
                    out.extend([load(high), test(JUMP_IF_EQUAL, upper, Next::On, Next::Fail)]);
                }
                out.extend([load(low), test(JUMP_IF_EQUAL, lower, Next::On, Next::Fail)]);
            }
            Test::NotEqual(value) => {
                let (upper, lower) = halves(value);
                if !low_half_only {
                    out.extend([load(high), test(JUMP_IF_EQUAL, upper, Next::On, Next::Skip(2))]);
                }
                out.extend([load(low), test(JUMP_IF_EQUAL, lower, Next::Fail, Next::On)]);
            }
            Test::MaskedEqual { mask, value } => {
                let ((upper_mask, lower_mask), (upper, lower)) = (halves(mask), halves(value & mask));
                for (offset, mask, value, counts) in
                    [(high, upper_mask, upper, !low_half_only), (low, lower_mask, lower, true)]
                {
                    if mask != 0 && counts {
                        let compare = test(JUMP_IF_EQUAL, value, Next::On, Next::Fail);
                        out.extend([load(offset), Pending::plain(AND, mask), compare]);
                    }
                }
            }
            // The upper half decides unless it is equal; then the lower one does.
            Test::Greater(value) | Test::GreaterOrEqual(value) => {
                let (upper, lower) = halves(value);
                if !low_half_only {
                    out.extend([
                        load(high),
                        test(JUMP_IF_GREATER, upper, Next::Skip(3), Next::On),
                        test(JUMP_IF_EQUAL, upper, Next::On, Next::Fail),
                    ]);
                }
                let strict = matches!(self.test, Test::Greater(_));
                let code = if strict { JUMP_IF_GREATER } else { JUMP_IF_GREATER_OR_EQUAL };
                out.extend([load(low), test(code, lower, Next::On, Next::Fail)]);
            }
            Test::Less(value) | Test::LessOrEqual(value) => {
                let (upper, lower) = halves(value);
                if !low_half_only {
                    out.extend([
                        load(high),
                        test(JUMP_IF_GREATER, upper, Next::Fail, Next::On),
                        test(JUMP_IF_EQUAL, upper, Next::On, Next::Skip(2)),
                    ]);
                }
                let strict = matches!(self.test, Test::Less(_));
                let code = if strict { JUMP_IF_GREATER_OR_EQUAL } else { JUMP_IF_GREATER };
                out.extend([load(low), test(code, lower, Next::Fail, Next::On)]);
            }
        }
    }
}
