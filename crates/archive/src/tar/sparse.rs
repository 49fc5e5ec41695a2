//! Maps of sparse files.

use super::Extent;

/// The most stretches a file may have.
pub(super) const MAX_EXTENTS: usize = 1 << 20;

/// A map that cannot be.
pub(super) struct Invalid;

/// Ascending, disjoint, within a file of `size` bytes, and `stored` bytes in all.
pub(super) fn check(map: &[Extent], size: u64, stored: u64) -> Option<()> {
    let (mut end, mut total) = (0u64, 0u64);
    for extent in map {
        (extent.offset >= end).then_some(())?;
        end = extent.offset.checked_add(extent.len)?;
        total += extent.len;
    }
    (end <= size && size <= i64::MAX as u64 && total == stored).then_some(())
}

/// Reads the map of format 1.0 block by block: a count, then an offset and a length each, a line each.
#[derive(Default)]
pub(super) struct MapParser {
    number: Option<u64>,
    count: Option<u64>,
    offset: Option<u64>,
    map: Vec<Extent>,
}

impl MapParser {
    /// Reads a block; `true` when the map is complete (the rest of the block is padding).
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<bool, Invalid> {
        for byte in block {
            match byte {
                b'0'..=b'9' => {
                    let n = self.number.unwrap_or(0).checked_mul(10).ok_or(Invalid)?;
                    self.number = Some(n.checked_add(u64::from(byte - b'0')).ok_or(Invalid)?);
                }
                b'\n' => {
                    let number = self.number.take().ok_or(Invalid)?;
                    if self.line(number)? {
                        return Ok(true);
                    }
                }
                _ => return Err(Invalid),
            }
        }
        Ok(false)
    }

    fn line(&mut self, number: u64) -> Result<bool, Invalid> {
        let count = match self.count {
            None if number > MAX_EXTENTS as u64 => return Err(Invalid),
            None => *self.count.insert(number),
            Some(count) => {
                match self.offset.take() {
                    None => self.offset = Some(number),
                    Some(offset) => self.map.push(Extent { offset, len: number }),
                }
                count
            }
        };
        Ok(self.map.len() as u64 == count)
    }

    pub(super) fn finish(self) -> Vec<Extent> {
        self.map
    }
}
