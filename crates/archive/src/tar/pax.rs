//! PAX extended headers (POSIX.1-2017, pax, "pax Extended Header"), with the records of star (`SCHILY.xattr.`) and of
//! GNU's sparse formats 0.0, 0.1 and 1.0.

use std::collections::HashSet;

use super::{Extent, Timestamp};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records that matter here. What is absent leaves the header block's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<PaxSparse>,
}

/// A sparse file in PAX form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    /// Where the map is: `true` for format 1.0, which puts it in front of the contents.
    pub(super) map_in_data: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Vec<Extent>,
    /// An offset of format 0.0 whose length has not come yet.
    pending: Option<u64>,
}

impl Pax {
    /// Adds the records of a header to those known so far; `None` for what is not a list of records.
    pub(super) fn parse(mut self, mut bytes: &[u8]) -> Option<Self> {
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes)?;
            self.set(key, value)?;
            bytes = rest;
        }
        self.forget_earlier_xattrs();
        match &self.sparse {
            Some(PaxSparse { pending: Some(_), .. }) => None,
            _ => Some(self),
        }
    }

    /// Of an attribute given more than once the last counts.
    fn forget_earlier_xattrs(&mut self) {
        let mut names = HashSet::new();
        let last: Vec<bool> =
            self.xattrs.iter().rev().map(|(name, _)| names.insert(name.as_slice())).collect();
        if names.len() < last.len() {
            let mut last = last.into_iter().rev();
            self.xattrs.retain(|_| last.next().unwrap_or(true));
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = |v: &[u8]| (!v.contains(&0)).then(|| v.to_vec());
        match key {
            // An empty value takes an earlier record back.
            b"path" => self.path = if value.is_empty() { None } else { Some(text(value)?) },
            b"linkpath" => self.link = if value.is_empty() { None } else { Some(text(value)?) },
            b"size" => self.size = optional(value, unsigned)?,
            b"uid" => self.uid = optional(value, signed)?,
            b"gid" => self.gid = optional(value, signed)?,
            b"mtime" => self.mtime = optional(value, timestamp)?,
            b"GNU.sparse.name" => self.sparse().name = Some(text(value)?),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse().real_size = Some(unsigned(value)?),
            b"GNU.sparse.major" => match value {
                b"0" => {}
                b"1" => self.sparse().map_in_data = true,
                _ => return None,
            },
            b"GNU.sparse.minor" => matches!(value, b"0" | b"1").then_some(())?,
            b"GNU.sparse.numblocks" => drop(unsigned(value)?),
            b"GNU.sparse.offset" => {
                let offset = unsigned(value)?;
                if self.sparse().pending.replace(offset).is_some() {
                    return None;
                }
            }
            b"GNU.sparse.numbytes" => {
                let sparse = self.sparse();
                let offset = sparse.pending.take()?;
                sparse.map.push(Extent { offset, len: unsigned(value)? });
            }
            b"GNU.sparse.map" => self.sparse().map = map_list(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((text(name).filter(|n| !n.is_empty())?, value.to_vec()));
                }
            }
        }
        Some(())
    }

    fn sparse(&mut self) -> &mut PaxSparse {
        self.sparse.get_or_insert_default()
    }
}

/// `length key=value\n`, where the length counts itself.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|b| *b == b' ')?;
    let len = usize::try_from(unsigned(&bytes[..blank])?).ok()?;
    let body = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=').filter(|i| *i > 0)?;
    Some((&body[..equals], &body[equals + 1..], &bytes[len..]))
}

/// `offset,length,offset,length…` of sparse format 0.1.
fn map_list(value: &[u8]) -> Option<Vec<Extent>> {
    if value.is_empty() {
        return Some(Vec::new());
    }
    let numbers: Vec<u64> = value.split(|b| *b == b',').map(unsigned).collect::<Option<_>>()?;
    let pairs = numbers.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|p| Extent { offset: p[0], len: p[1] }).collect())
}

fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

/// A decimal number without a sign.
pub(super) fn unsigned(digits: &[u8]) -> Option<u64> {
    (!digits.is_empty()).then_some(())?;
    digits.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

fn signed(digits: &[u8]) -> Option<i64> {
    match digits.strip_prefix(b"-") {
        Some(digits) => i64::try_from(unsigned(digits)?).ok().map(|n| -n),
        None => unsigned(digits)?.try_into().ok(),
    }
}

/// Seconds with an optional fraction of any length.
fn timestamp(value: &[u8]) -> Option<Timestamp> {
    let negative = value.starts_with(b"-");
    let (whole, fraction) = match value.iter().position(|b| *b == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    let secs = signed(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |n, i| n * 10 + u32::from(fraction.get(i).map_or(0, |b| b - b'0')));
    match (negative, nanos) {
        (true, 1..) => Some(Timestamp { secs: secs.checked_sub(1)?, nanos: 1_000_000_000 - nanos }),
        _ => Some(Timestamp { secs, nanos }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        let pax = Pax::default().parse(b"12 path=abc\n6 x=1\n18 mtime=1.000000\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"abc"[..]));
        assert_eq!(pax.mtime, Some(Timestamp { secs: 1, nanos: 0 }));
        for bad in [
            &b"12 path=abc"[..],
            b"13 path=abc\n",
            b"11 path=abc\n",
            b"6 =11\n",
            b"99999999999999999999999 a=b\n",
            b"path=abc\n",
            b"14 path=ab\0cd\n",
            b"10 size=x\n",
            b"25 GNU.sparse.offset=10\n",
            b"22 GNU.sparse.map=1,2,3\n",
        ] {
            assert_eq!(Pax::default().parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn an_empty_value_takes_a_record_back() {
        let pax = Pax::default().parse(b"12 path=abc\n").unwrap().parse(b"8 path=\n");
        assert_eq!(pax.unwrap().path, None);
    }

    #[test]
    fn the_last_of_several_values_of_an_attribute_counts() {
        let pax = Pax::default()
            .parse(b"22 SCHILY.xattr.a.b=1\n22 SCHILY.xattr.a.c=2\n22 SCHILY.xattr.a.b=3\n")
            .unwrap();
        let wanted = [(b"a.c".to_vec(), b"2".to_vec()), (b"a.b".to_vec(), b"3".to_vec())];
        assert_eq!(pax.xattrs, wanted);
    }

    #[test]
    fn times_round_down() {
        for (text, secs, nanos) in [
            (&b"1350244992.023960108"[..], 1350244992, 23960108),
            (b"1.5", 1, 500_000_000),
            (b"-1.5", -2, 500_000_000),
            (b"-0.5", -1, 500_000_000),
            (b"-2", -2, 0),
            (b"0.0000000019", 0, 1),
        ] {
            assert_eq!(timestamp(text), Some(Timestamp { secs, nanos }), "{text:?}");
        }
    }
}
