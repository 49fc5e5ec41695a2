//! Classic BPF, as much of it as filters need: a decision tree over call numbers, and tests of 64-bit arguments by their halves.
//!
//! Instructions read `struct seccomp_data` of a little-endian machine: number at 0, architecture at 4, six arguments of eight bytes from 16 on.

use std::collections::BTreeMap;

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

/// A program in the making, from its end to its beginning: jumps lead forward only, so what one leads to is there already. Code that
/// ends the same way shares its end, since the kernel translates every instruction anew for every process that loads the filter.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Code,
    answers: BTreeMap<u32, Place>,
}

/// Where control may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

/// A test jumps 255 instructions at most, a plain jump anywhere. One less leaves room for a plain jump on the way.
const REACH: usize = 254;

impl Assembler {
    /// The end of the program with this answer.
    pub(super) fn answer(&mut self, action: u32) -> Place {
        match self.answers.get(&action) {
            Some(place) if self.distance(*place) <= REACH => *place,
            _ => {
                let place = self.push(statement(RETURN, action));
                self.answers.insert(action, place);
                place
            }
        }
    }

    /// An instruction that is no jump, and what follows it.
    pub(super) fn before(&mut self, instruction: Instruction, next: Place) -> Place {
        self.follow_with(next);
        self.push(instruction)
    }

    /// `yes` where the accumulator is at least `k`, `no` where it is less.
    pub(super) fn at_least(&mut self, k: u32, yes: Place, no: Place) -> Place {
        self.branch(JUMP_IF_GREATER_OR_EQUAL, k, yes, no)
    }

    /// `yes` where the accumulator is greater than `k`, `no` where it is not.
    pub(super) fn greater(&mut self, k: u32, yes: Place, no: Place) -> Place {
        self.branch(JUMP_IF_GREATER, k, yes, no)
    }

    /// `yes` where the accumulator is `k`, `no` where it is not.
    pub(super) fn equal(&mut self, k: u32, yes: Place, no: Place) -> Place {
        self.branch(JUMP_IF_EQUAL, k, yes, no)
    }

    /// `action` where all conditions hold, `no` where one does not.
    pub(super) fn rule(
        &mut self,
        conditions: &[Condition],
        action: u32,
        low_half_only: bool,
        no: Place,
    ) -> Place {
        let mut tests = Vec::new();
        for condition in conditions {
            condition.push(&mut tests, low_half_only);
        }
        let end = tests.len() + 1;
        self.follow_with(no);
        let mut place = self.push(statement(RETURN, action));
        for (at, test) in tests.iter().enumerate().rev() {
            place = self.push(test.resolve(at, end));
        }
        place
    }

    /// The whole program, which begins at the place made last.
    pub(super) fn finish(mut self) -> Code {
        self.reversed.reverse();
        self.reversed
    }

    fn branch(&mut self, code: u16, k: u32, yes: Place, no: Place) -> Place {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.within_reach(yes), self.within_reach(no));
        let [jt, jf] = [yes, no].map(|place| self.distance(place) as u8);
        self.push(Instruction { code, jt, jf, k })
    }

    fn push(&mut self, instruction: Instruction) -> Place {
        self.reversed.push(instruction);
        Place(self.reversed.len() - 1)
    }

    /// How many instructions lie between one pushed now and a place.
    fn distance(&self, place: Place) -> usize {
        self.reversed.len() - place.0 - 1
    }

    fn within_reach(&mut self, place: Place) -> Place {
        let distance = self.distance(place);
        if distance <= REACH { place } else { self.push(statement(JUMP, distance as u32)) }
    }

    /// Lets what is pushed next run into a place.
    fn follow_with(&mut self, place: Place) {
        let distance = self.distance(place);
        if distance > 0 {
            self.push(statement(JUMP, distance as u32));
        }
    }
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
