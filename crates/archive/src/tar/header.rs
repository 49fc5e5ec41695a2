//! The 512-byte header block and its fields (tar(5)).

use super::{Device, Error, Extent};

/// The unit of everything in an archive.
pub(crate) const BLOCK: usize = 512;

/// The dialects, told apart by the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Before POSIX.1-1988: no magic.
    V7,
    /// POSIX.
    Ustar,
    /// Schilling's, between the two: a shorter prefix.
    Star,
    /// GNU's: no prefix.
    Gnu,
}

/// A header block whose checksum is right.
pub(super) struct Header<'a> {
    block: &'a [u8; BLOCK],
    offset: u64,
}

impl<'a> Header<'a> {
    /// Checks the checksum of the block at `offset` of the stream.
    pub(super) fn parse(block: &'a [u8; BLOCK], offset: u64) -> Result<Self, Error> {
        let header = Self { block, offset };
        let stored = header.number(148, 8)?;
        let with_blanks = |i: usize, b: u8| if (148..156).contains(&i) { b' ' } else { b };
        let unsigned: i64 = block.iter().enumerate().map(|(i, b)| i64::from(with_blanks(i, *b))).sum();
        // Some old programs added the bytes as signed ones.
        let signed: i64 =
            block.iter().enumerate().map(|(i, b)| i64::from(with_blanks(i, *b).cast_signed())).sum();
        if stored != unsigned && stored != signed {
            return Err(header.invalid("checksum"));
        }
        Ok(header)
    }

    pub(super) fn invalid(&self, reason: &'static str) -> Error {
        Error::Header { offset: self.offset, reason }
    }

    pub(super) fn format(&self) -> Format {
        match &self.block[257..265] {
            b"ustar  \0" => Format::Gnu,
            m if m.starts_with(b"ustar\0") => match &self.block[508..512] {
                b"tar\0" => Format::Star,
                _ => Format::Ustar,
            },
            _ => Format::V7,
        }
    }

    /// The type flag.
    pub(super) fn kind(&self) -> u8 {
        self.block[156]
    }

    /// The name with its prefix.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = match self.format() {
            Format::Ustar => self.text(345, 155),
            Format::Star => self.text(345, 131),
            Format::V7 | Format::Gnu => b"",
        };
        match prefix {
            b"" => self.text(0, 100).to_vec(),
            _ => [prefix, self.text(0, 100)].join(&b'/'),
        }
    }

    /// The target of a link.
    pub(super) fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, Error> {
        // The file type that some programs write above the permission bits is ignored.
        Ok((self.number(100, 8)? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<i64, Error> {
        self.number(108, 8)
    }

    pub(super) fn gid(&self) -> Result<i64, Error> {
        self.number(116, 8)
    }

    pub(super) fn size(&self) -> Result<u64, Error> {
        u64::try_from(self.number(124, 12)?).map_err(|_| self.invalid("size"))
    }

    pub(super) fn mtime(&self) -> Result<i64, Error> {
        self.number(136, 12)
    }

    pub(super) fn device(&self) -> Result<Device, Error> {
        let part = |at| u32::try_from(self.number(at, 8)?).map_err(|_| self.invalid("device number"));
        match self.format() {
            Format::V7 => Ok(Device::default()),
            _ => Ok(Device { major: part(329)?, minor: part(337)? }),
        }
    }

    /// The stretches of an old GNU sparse file that stand in the header, whether more follow in extension blocks, and
    /// the file's length.
    pub(super) fn gnu_sparse(&self) -> Result<(Vec<Extent>, bool, u64), Error> {
        if self.format() != Format::Gnu {
            return Err(self.invalid("sparse file of unknown format"));
        }
        let size = u64::try_from(self.number(483, 12)?).map_err(|_| self.invalid("size"))?;
        Ok((sparse_table(&self.block[386..482], self.offset)?, self.block[482] != 0, size))
    }

    fn text(&self, at: usize, len: usize) -> &[u8] {
        until_nul(&self.block[at..at + len])
    }

    fn number(&self, at: usize, len: usize) -> Result<i64, Error> {
        number(&self.block[at..at + len]).ok_or_else(|| self.invalid("number"))
    }
}

/// A table of sparse stretches as old GNU headers and their extension blocks have it; it ends at the first empty one.
pub(super) fn sparse_table(bytes: &[u8], offset: u64) -> Result<Vec<Extent>, Error> {
    let bad = || Error::Header { offset, reason: "sparse map" };
    let field = |b: &[u8]| number(b).and_then(|n| u64::try_from(n).ok()).ok_or_else(bad);
    bytes
        .chunks_exact(24)
        .take_while(|pair| pair[0] != 0)
        .map(|pair| Ok(Extent { offset: field(&pair[..12])?, len: field(&pair[12..])? }))
        .collect()
}

/// The bytes before the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

/// A number: octal digits with blanks or NULs around them, or, with the top bit set, base-256 in two's complement.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        return base256(field);
    }
    let is_padding = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().position(|b| !is_padding(b)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_padding).unwrap_or(digits.len());
    if !digits[end..].iter().all(is_padding) {
        return None;
    }
    digits[..end].iter().try_fold(0i64, |n, b| match b {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(b - b'0')),
        _ => None,
    })
}

fn base256(field: &[u8]) -> Option<i64> {
    // The second bit is the sign; the first only marks the format.
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let fill = if negative { 0xff } else { 0 };
    let bytes: Vec<u8> = std::iter::once(first).chain(field[1..].iter().copied()).collect();
    let (high, low) = match bytes.len().checked_sub(8) {
        Some(n) => bytes.split_at(n),
        None => (&[][..], &bytes[..]),
    };
    let mut eight = [fill; 8];
    eight[8 - low.len()..].copy_from_slice(low);
    let value = i64::from_be_bytes(eight);
    (high.iter().all(|b| *b == fill) && (value < 0) == negative).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"  644 \0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o77777777)),
            (b"12 34567", None),
            (b"0000648\0", None),
            (b"-0000644", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
