//! `FlatBuffers`: tables, vectors and strings behind offsets that are all checked.
//!
//! Nothing is copied, and nothing is followed before it is asked for: a hostile file costs no more
//! than the part of it that somebody reads. Offsets only ever lead to reads of known length, so
//! tables that point at each other cannot loop here.

/// What is wrong with the bytes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub(super) struct Malformed {
    /// From the beginning of the buffer.
    pub(super) offset: usize,
    /// What was found there.
    pub(super) what: &'static str,
}

type Read<T> = Result<T, Malformed>;

/// A table: numbered fields, each of which may be absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Two bytes for each field: how far behind `at` it lies, or zero when it is absent.
    slots: &'a [u8],
}

/// `N` bytes at `at`.
fn word<const N: usize>(bytes: &[u8], at: usize) -> Read<[u8; N]> {
    let found = at.checked_add(N).and_then(|end| bytes.get(at..end));
    found
        .and_then(|slice| slice.try_into().ok())
        .ok_or(Malformed {
            offset: at,
            what: "something behind the end of the file",
        })
}

/// Where the offset at `at` leads.
fn follow(bytes: &[u8], at: usize) -> Read<usize> {
    let distance = u32::from_le_bytes(word(bytes, at)?);
    let target = usize::try_from(distance)
        .ok()
        .and_then(|distance| at.checked_add(distance))
        .filter(|&target| target < bytes.len());
    target.ok_or(Malformed {
        offset: at,
        what: "an offset that leads out of the file",
    })
}

impl<'a> Table<'a> {
    /// The table that the first offset of `bytes` leads to.
    pub(super) fn root(bytes: &'a [u8]) -> Read<Self> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Read<Self> {
        let wrong = Malformed {
            offset: at,
            what: "a table without a list of its fields",
        };
        let back = i64::from(i32::from_le_bytes(word(bytes, at)?));
        let slots = i64::try_from(at)
            .ok()
            .and_then(|at| at.checked_sub(back))
            .and_then(|list| usize::try_from(list).ok())
            .ok_or(wrong)?;
        let length = usize::from(u16::from_le_bytes(word(bytes, slots)?));
        // The first four bytes are the lengths of the list and of the table.
        let list = length
            .checked_sub(4)
            .and_then(|_| bytes.get(slots + 4..slots.checked_add(length)?));
        Ok(Self {
            bytes,
            at,
            slots: list.ok_or(wrong)?,
        })
    }

    /// Where this table lies.
    pub(super) fn offset(self) -> usize {
        self.at
    }

    fn field(self, id: usize) -> Option<usize> {
        let slot = self.slots.get(2 * id..2 * id + 2)?;
        let behind = usize::from(u16::from_le_bytes([slot[0], slot[1]]));
        (behind != 0).then_some(self.at + behind)
    }

    fn scalar<const N: usize>(self, id: usize) -> Read<Option<[u8; N]>> {
        self.field(id).map(|at| word(self.bytes, at)).transpose()
    }

    /// Field `id`, or `default` when it is absent; so are the next ones.
    pub(super) fn u8(self, id: usize, default: u8) -> Read<u8> {
        Ok(self.scalar(id)?.map_or(default, u8::from_le_bytes))
    }

    pub(super) fn i8(self, id: usize, default: i8) -> Read<i8> {
        Ok(self.scalar(id)?.map_or(default, i8::from_le_bytes))
    }

    pub(super) fn i32(self, id: usize, default: i32) -> Read<i32> {
        Ok(self.scalar(id)?.map_or(default, i32::from_le_bytes))
    }

    pub(super) fn u32(self, id: usize, default: u32) -> Read<u32> {
        Ok(self.scalar(id)?.map_or(default, u32::from_le_bytes))
    }

    pub(super) fn u64(self, id: usize, default: u64) -> Read<u64> {
        Ok(self.scalar(id)?.map_or(default, u64::from_le_bytes))
    }

    pub(super) fn f32(self, id: usize, default: f32) -> Read<f32> {
        Ok(self.scalar(id)?.map_or(default, f32::from_le_bytes))
    }

    /// The table that field `id` points to.
    pub(super) fn table(self, id: usize) -> Read<Option<Self>> {
        let Some(at) = self.field(id) else {
            return Ok(None);
        };
        Self::at(self.bytes, follow(self.bytes, at)?).map(Some)
    }

    /// The list that field `id` points to, of elements of `width` bytes.
    pub(super) fn vector(self, id: usize, width: usize) -> Read<Option<Vector<'a>>> {
        let Some(at) = self.field(id) else {
            return Ok(None);
        };
        let target = follow(self.bytes, at)?;
        let length = u32::from_le_bytes(word(self.bytes, target)?);
        let start = target + 4;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_mul(width))
            .and_then(|size| size.checked_add(start))
            .filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(Malformed {
            offset: target,
            what: "a list longer than the file",
        })?;
        Ok(Some(Vector {
            bytes: self.bytes,
            start,
            end,
            width,
        }))
    }

    /// The list that field `id` points to; an absent one is empty.
    pub(super) fn list(self, id: usize, width: usize) -> Read<Vector<'a>> {
        let absent = Vector {
            bytes: self.bytes,
            start: 0,
            end: 0,
            width,
        };
        Ok(self.vector(id, width)?.unwrap_or(absent))
    }

    /// The text of field `id`, at most its first `length_max` bytes; empty when it is absent.
    pub(super) fn text(self, id: usize, length_max: usize) -> Read<String> {
        let raw = self.list(id, 1)?.raw();
        Ok(String::from_utf8_lossy(&raw[..raw.len().min(length_max)]).into_owned())
    }
}

/// A list of elements of equal width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
    width: usize,
}

impl<'a> Vector<'a> {
    /// How many elements.
    pub(super) fn len(self) -> usize {
        (self.end - self.start) / self.width
    }

    /// The bytes of all elements.
    pub(super) fn raw(self) -> &'a [u8] {
        &self.bytes[self.start..self.end]
    }

    /// The elements, when they are i32.
    pub(super) fn i32s(self) -> impl ExactSizeIterator<Item = i32> + 'a {
        let (words, _) = self.raw().as_chunks();
        words.iter().map(|&word| i32::from_le_bytes(word))
    }

    /// The elements, when they are i64.
    pub(super) fn i64s(self) -> impl ExactSizeIterator<Item = i64> + 'a {
        let (words, _) = self.raw().as_chunks();
        words.iter().map(|&word| i64::from_le_bytes(word))
    }

    /// The elements, when they are f32.
    pub(super) fn f32s(self) -> impl ExactSizeIterator<Item = f32> + 'a {
        let (words, _) = self.raw().as_chunks();
        words.iter().map(|&word| f32::from_le_bytes(word))
    }

    /// Element `index`, when they are tables; `None` behind the end.
    pub(super) fn table(self, index: usize) -> Read<Option<Table<'a>>> {
        if index >= self.len() {
            return Ok(None);
        }
        let at = self.start + 4 * index;
        Table::at(self.bytes, follow(self.bytes, at)?).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root table of two fields: an i32 and a list of i32.
    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(12_u32.to_le_bytes()); // 0: root at 12
        bytes.extend([8_u16, 12, 4, 8].map(u16::to_le_bytes).concat()); // 4: list of fields
        bytes.extend(8_i32.to_le_bytes()); // 12: the table, its fields at 4
        bytes.extend((-7_i32).to_le_bytes()); // 16: field 0
        bytes.extend(4_u32.to_le_bytes()); // 20: field 1 points to 24
        bytes.extend([2_u32, 5, 6].map(u32::to_le_bytes).concat()); // 24: two elements
        bytes
    }

    #[test]
    fn fields_are_read_and_absent_ones_have_their_default() {
        let bytes = file();
        let table = Table::root(&bytes).unwrap();
        assert_eq!(table.i32(0, 1), Ok(-7));
        assert_eq!(table.i32(2, 9), Ok(9));
        let list: Vec<i32> = table.list(1, 4).unwrap().i32s().collect();
        assert_eq!(list, [5, 6]);
        assert_eq!(table.list(3, 4).unwrap().len(), 0);
        assert!(table.table(3).unwrap().is_none());
    }

    #[test]
    fn whatever_byte_is_changed_or_cut_reading_ends_in_a_value_or_an_offset() {
        let whole = file();
        let read = |bytes: &[u8]| {
            let table = Table::root(bytes)?;
            table.i32(0, 0)?;
            let list = table.list(1, 4)?;
            assert!(list.raw().len() <= bytes.len());
            list.table(0)?;
            table.list(1, 1 << 40).map(Vector::len)
        };
        for length in 0..whole.len() {
            if let Err(error) = read(&whole[..length]) {
                assert!(error.offset <= whole.len(), "{error}");
            }
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut bytes = whole.clone();
                bytes[length] = value;
                let _ = read(&bytes);
            }
        }
    }
}
