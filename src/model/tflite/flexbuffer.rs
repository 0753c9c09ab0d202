//! `FlexBuffers`, as far as the options of a custom operator need them: one map of numbers.

use std::collections::BTreeMap;

use super::flatbuffer::Malformed;

/// More keys than any operator's options have.
const KEYS_MAX: usize = 64;

/// The types of a value, as its type byte holds them above the two bits of its width.
mod kind {
    pub(super) const INT: u8 = 1;
    pub(super) const UINT: u8 = 2;
    pub(super) const FLOAT: u8 = 3;
    pub(super) const INDIRECT_INT: u8 = 6;
    pub(super) const INDIRECT_UINT: u8 = 7;
    pub(super) const INDIRECT_FLOAT: u8 = 8;
    pub(super) const MAP: u8 = 9;
    pub(super) const BOOL: u8 = 26;
}

/// Reads the map that `bytes` are; keys whose values are no numbers are left out.
pub(super) fn numbers(bytes: &[u8]) -> Result<BTreeMap<String, f64>, Malformed> {
    let buffer = Buffer { bytes };
    let wrong = |offset, what| Malformed { offset, what };
    // The last two bytes say what the root is and how wide it is; it lies before them.
    let [.., root_type, root_width] = bytes else {
        return Err(wrong(0, "an empty list of options"));
    };
    let root = (bytes.len() - 2).checked_sub(usize::from(*root_width));
    let root = root.ok_or(wrong(bytes.len(), "options without a root"))?;
    if root_type >> 2 != kind::MAP {
        return Err(wrong(root, "options that are no map"));
    }
    let width = 1_usize << (root_type & 3);
    let values = buffer.back(root, usize::from(*root_width))?;
    let before = |count: usize| {
        let at = values.checked_sub(count * width);
        at.ok_or(wrong(values, "a map without keys"))
    };
    let count = buffer.length(before(1)?, width)?;
    let key_width = buffer.length(before(2)?, width)?;
    let keys = buffer.back(before(3)?, width)?;
    if count > KEYS_MAX {
        return Err(wrong(values, "a map of more keys than options have"));
    }
    let mut map = BTreeMap::new();
    for index in 0..count {
        let key = buffer.back(keys + index * key_width, key_width)?;
        let tail = bytes.get(key..).unwrap_or_default();
        let end = tail.iter().position(|&byte| byte == 0);
        let end = end.ok_or(wrong(key, "a key without an end"))?;
        let at = values + index * width;
        let packed = buffer.unsigned(values + count * width + index, 1)?;
        let packed = u8::try_from(packed).expect("one byte was read");
        if let Some(number) = buffer.number(packed, at, width)? {
            map.insert(String::from_utf8_lossy(&tail[..end]).into_owned(), number);
        }
    }
    Ok(map)
}

struct Buffer<'a> {
    bytes: &'a [u8],
}

impl Buffer<'_> {
    fn outside(offset: usize) -> Malformed {
        Malformed {
            offset,
            what: "a value outside the options",
        }
    }

    /// A number of 1, 2, 4 or 8 bytes.
    fn unsigned(&self, at: usize, width: usize) -> Result<u64, Malformed> {
        let slice = at
            .checked_add(width)
            .and_then(|end| self.bytes.get(at..end));
        let slice = slice.filter(|_| matches!(width, 1 | 2 | 4 | 8));
        let mut word = [0; 8];
        let slice = slice.ok_or(Self::outside(at))?;
        word[..width].copy_from_slice(slice);
        Ok(u64::from_le_bytes(word))
    }

    fn length(&self, at: usize, width: usize) -> Result<usize, Malformed> {
        usize::try_from(self.unsigned(at, width)?).map_err(|_| Self::outside(at))
    }

    /// Offsets lead back.
    fn back(&self, at: usize, width: usize) -> Result<usize, Malformed> {
        let distance = self.length(at, width)?;
        at.checked_sub(distance).ok_or(Self::outside(at))
    }

    fn number(&self, packed: u8, at: usize, width: usize) -> Result<Option<f64>, Malformed> {
        let (at, width, direct) = match packed >> 2 {
            kind::INDIRECT_INT => (self.back(at, width)?, 1 << (packed & 3), kind::INT),
            kind::INDIRECT_UINT => (self.back(at, width)?, 1 << (packed & 3), kind::UINT),
            kind::INDIRECT_FLOAT => (self.back(at, width)?, 1 << (packed & 3), kind::FLOAT),
            direct => (at, width, direct),
        };
        let bits = self.unsigned(at, width)?;
        Ok(match (direct, width) {
            (kind::INT, _) => {
                let unused = 64 - 8 * width;
                Some(((bits << unused).cast_signed() >> unused) as f64)
            }
            (kind::UINT | kind::BOOL, _) => Some(bits as f64),
            (kind::FLOAT, 4) => Some(f64::from(f32::from_bits(bits as u32))),
            (kind::FLOAT, 8) => Some(f64::from_bits(bits)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// {"a": -2, "b": 0.5, "c": true}, with values of four bytes.
    fn options() -> Vec<u8> {
        let mut bytes = b"a\0b\0c\0".to_vec(); // 0, 2, 4
        bytes.push(3); // 6: three keys
        bytes.extend([7, 6, 5]); // 7: how far back each key lies
        bytes.extend([0, 0]); // 10: room
        bytes.extend(5_u32.to_le_bytes()); // 12: the keys lie at 7
        bytes.extend(1_u32.to_le_bytes()); // 16: their width
        bytes.extend(3_u32.to_le_bytes()); // 20: three values
        bytes.extend((-2_i32).to_le_bytes()); // 24
        bytes.extend(0.5_f32.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend([1 << 2 | 2, 3 << 2 | 2, 26 << 2 | 2]); // 36: their types
        bytes.extend([15, 9 << 2 | 2, 1]); // 39: the root leads to 24
        bytes
    }

    #[test]
    fn a_map_of_numbers_is_read_by_key() {
        let map = numbers(&options()).unwrap();
        let expected = [("a", -2.0), ("b", 0.5), ("c", 1.0)];
        assert_eq!(map, expected.map(|(key, v)| (key.to_owned(), v)).into());
    }

    #[test]
    fn damaged_options_are_refused_or_read_but_never_overrun() {
        let whole = options();
        for length in 0..whole.len() {
            let _ = numbers(&whole[..length]);
            for value in 0..=255 {
                let mut bytes = whole.clone();
                bytes[length] = value;
                let _ = numbers(&bytes);
            }
        }
        assert!(numbers(&[]).is_err());
    }
}
