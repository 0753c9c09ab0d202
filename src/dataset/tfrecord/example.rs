//! `tf.train.Example`: named lists of bytes, floats or whole numbers, in protocol buffers' encoding.
//!
//! Reading borrows: a list is decoded when it is asked for, and a picture's bytes are never copied.
//!
//! ```text
//! Example  { 1: Features }            BytesList { 1: bytes, repeated }
//! Features { 1: map<string, Feature> } FloatList { 1: fixed32, repeated, packed or not }
//! Feature  { 1: BytesList | 2: FloatList | 3: Int64List }   Int64List { 1: varint, repeated, packed or not }
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

/// A list of more values than this is taken for damage; it bounds what a record can make us allocate.
pub const LIST_MAX: usize = 100_000;

/// Why bytes are no example, or not the one that was expected. `at` counts from the data's first byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExampleError {
    /// A field or a number runs over the end of its message.
    #[error("its field at byte {at} runs over the end")]
    EndsEarly {
        /// Where the field begins.
        at: usize,
    },
    /// A number that is no number, a field without a number, or a kind of field that has not been used for decades.
    #[error("byte {at} begins no field")]
    NoField {
        /// Where it should begin.
        at: usize,
    },
    /// A feature's key that is not UTF-8.
    #[error("the key at byte {at} is not text")]
    Key {
        /// Where the key begins.
        at: usize,
    },
    /// A feature of another kind than its meaning asks for.
    #[error("`{key}` does not hold {expected}")]
    Kind {
        /// The feature.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// More values than any picture has.
    #[error("`{key}` has more than {LIST_MAX} values")]
    TooMany {
        /// The feature.
        key: &'static str,
    },
}

/// An example in its encoded form.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    data: &'a [u8],
}

/// The fields of the lists in a feature.
const BYTES_LIST: u64 = 1;
const FLOAT_LIST: u64 = 2;
const INT64_LIST: u64 = 3;

impl<'a> Example<'a> {
    /// Takes a record's data for an example, after a look at every feature's key.
    ///
    /// # Errors
    /// [`ExampleError`] where the messages are not whole.
    pub fn parse(data: &'a [u8]) -> Result<Self, ExampleError> {
        let example = Self { data };
        example.each_feature(&mut |_, _| ())?;
        Ok(example)
    }

    /// Calls with every feature's key and value, in the order of the data.
    fn each_feature(&self, call: &mut dyn FnMut(&'a str, Span<'a>)) -> Result<(), ExampleError> {
        let mut fields = Fields::of(Span {
            data: self.data,
            at: 0,
        });
        while let Some(field) = fields.next()? {
            if let (1, Value::Bytes(features)) = field {
                let mut entries = Fields::of(features);
                while let Some(entry) = entries.next()? {
                    if let (1, Value::Bytes(entry)) = entry {
                        let (key, value) = key_and_value(entry)?;
                        call(key, value);
                    }
                }
            }
        }
        Ok(())
    }

    /// A feature's value; of a repeated key the last one counts.
    fn find(&self, key: &str) -> Result<Option<Span<'a>>, ExampleError> {
        let mut found = None;
        self.each_feature(&mut |name, value| {
            if name == key {
                found = Some(value);
            }
        })?;
        Ok(found)
    }

    /// Whether there is such a feature.
    ///
    /// # Errors
    /// [`ExampleError`].
    pub fn has(&self, key: &str) -> Result<bool, ExampleError> {
        self.find(key).map(|found| found.is_some())
    }

    /// A list of byte strings; `None` without such a feature.
    ///
    /// # Errors
    /// [`ExampleError`].
    pub fn byte_strings(&self, key: &'static str) -> Result<Option<Vec<&'a [u8]>>, ExampleError> {
        let spans = self.spans(key)?;
        Ok(spans.map(|spans| spans.into_iter().map(|span| span.data).collect()))
    }

    /// Where the only byte string of a feature lies in the data; `None` without such a feature.
    ///
    /// # Errors
    /// [`ExampleError`].
    pub fn range(&self, key: &'static str) -> Result<Option<Range<usize>>, ExampleError> {
        let expected = "one byte string";
        match self.spans(key)?.as_deref() {
            None => Ok(None),
            Some([only]) => Ok(Some(only.at..only.at + only.data.len())),
            Some(_) => Err(ExampleError::Kind { key, expected }),
        }
    }

    fn spans(&self, key: &'static str) -> Result<Option<Vec<Span<'a>>>, ExampleError> {
        let expected = "byte strings";
        self.list(key, BYTES_LIST, expected, |value, out| {
            let Value::Bytes(span) = value else {
                return None;
            };
            out.push(span);
            Some(())
        })
    }

    /// A list of floats; `None` without such a feature.
    ///
    /// # Errors
    /// [`ExampleError`].
    pub fn floats(&self, key: &'static str) -> Result<Option<Vec<f32>>, ExampleError> {
        self.list(key, FLOAT_LIST, "floats", |value, out| match value {
            Value::Fixed32(bits) => {
                out.push(f32::from_bits(bits));
                Some(())
            }
            Value::Bytes(packed) => {
                let (numbers, rest) = packed.data.as_chunks::<4>();
                let room = (LIST_MAX + 1).saturating_sub(out.len());
                let numbers = numbers.iter().take(room);
                out.extend(numbers.map(|bytes| f32::from_le_bytes(*bytes)));
                rest.is_empty().then_some(())
            }
            Value::Varint(_) | Value::Fixed64 => None,
        })
    }

    /// A list of whole numbers; `None` without such a feature.
    ///
    /// # Errors
    /// [`ExampleError`].
    pub fn integers(&self, key: &'static str) -> Result<Option<Vec<i64>>, ExampleError> {
        self.list(key, INT64_LIST, "whole numbers", |value, out| match value {
            Value::Varint(number) => {
                out.push(number.cast_signed());
                Some(())
            }
            Value::Bytes(packed) => {
                let mut rest = packed.data;
                while !rest.is_empty() && out.len() <= LIST_MAX {
                    let (number, length) = varint(rest)?;
                    out.push(number.cast_signed());
                    rest = &rest[length..];
                }
                Some(())
            }
            Value::Fixed32(_) | Value::Fixed64 => None,
        })
    }

    fn list<T>(
        &self,
        key: &'static str,
        kind: u64,
        expected: &'static str,
        take: impl Fn(Value<'a>, &mut Vec<T>) -> Option<()>,
    ) -> Result<Option<Vec<T>>, ExampleError> {
        let Some(feature) = self.find(key)? else {
            return Ok(None);
        };
        let mut values = Vec::new();
        let mut lists = Fields::of(feature);
        while let Some((found, list)) = lists.next()? {
            // Of several kinds, which no writer makes, the last one would count: an error here.
            let (true, Value::Bytes(list)) = (found == kind, list) else {
                return Err(ExampleError::Kind { key, expected });
            };
            let mut fields = Fields::of(list);
            while let Some((field, value)) = fields.next()? {
                if field == 1 {
                    take(value, &mut values).ok_or(ExampleError::Kind { key, expected })?;
                }
                if values.len() > LIST_MAX {
                    return Err(ExampleError::TooMany { key });
                }
            }
        }
        Ok(Some(values))
    }
}

fn key_and_value(entry: Span<'_>) -> Result<(&str, Span<'_>), ExampleError> {
    let (mut key, mut value) = (
        "",
        Span {
            data: &[],
            at: entry.at,
        },
    );
    let mut fields = Fields::of(entry);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(text)) => {
                let text_or = std::str::from_utf8(text.data);
                key = text_or.map_err(|_| ExampleError::Key { at: text.at })?;
            }
            (2, Value::Bytes(feature)) => value = feature,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Some bytes, and where they begin in the data.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    data: &'a [u8],
    at: usize,
}

/// A field's value.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    /// Nothing of an example is of this kind; passed over.
    Fixed64,
    Bytes(Span<'a>),
}

/// The fields of a message, one after the other.
struct Fields<'a> {
    message: Span<'a>,
    next: usize,
}

impl<'a> Fields<'a> {
    const fn of(message: Span<'a>) -> Self {
        Self { message, next: 0 }
    }

    /// The next field's number and value.
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, ExampleError> {
        let at = self.message.at + self.next;
        let ends_early = ExampleError::EndsEarly { at };
        let mut rest = &self.message.data[self.next..];
        if rest.is_empty() {
            return Ok(None);
        }
        let (tag, length) = varint(rest).ok_or(ExampleError::NoField { at })?;
        rest = &rest[length..];
        let (number, kind) = (tag >> 3, tag & 7);
        if number == 0 {
            return Err(ExampleError::NoField { at });
        }
        let value = match kind {
            0 => {
                let (value, length) = varint(rest).ok_or(ends_early)?;
                rest = &rest[length..];
                Value::Varint(value)
            }
            1 => {
                rest = rest.get(8..).ok_or(ends_early)?;
                Value::Fixed64
            }
            2 => {
                let (length, width) = varint(rest).ok_or(ends_early.clone())?;
                rest = &rest[width..];
                let length = usize::try_from(length).ok();
                let length = length.filter(|&length| length <= rest.len());
                let (bytes, after) = rest.split_at(length.ok_or(ends_early)?);
                let begin = self.message.data.len() - rest.len();
                rest = after;
                Value::Bytes(Span {
                    data: bytes,
                    at: self.message.at + begin,
                })
            }
            5 => {
                let (bytes, after) = rest.split_first_chunk::<4>().ok_or(ends_early)?;
                rest = after;
                Value::Fixed32(u32::from_le_bytes(*bytes))
            }
            _ => return Err(ExampleError::NoField { at }),
        };
        self.next = self.message.data.len() - rest.len();
        Ok(Some((number, value)))
    }
}

/// A number of seven bits a byte, low bits first, and how many bytes it took.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (position, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has room for one bit.
        if position == 9 && byte > 1 {
            return None;
        }
        number |= bits << (7 * position);
        if byte & 0x80 == 0 {
            return Some((number, position + 1));
        }
    }
    None
}

/// A list for an example that is written.
#[derive(Debug, Clone, PartialEq)]
pub enum List<'a> {
    /// Byte strings.
    Bytes(Vec<&'a [u8]>),
    /// Floats.
    Floats(Vec<f32>),
    /// Whole numbers.
    Integers(Vec<i64>),
}

/// Encodes an example; features come in the order of their keys, so that equal ones have equal bytes.
pub fn encode(features: &BTreeMap<&str, List<'_>>) -> Vec<u8> {
    let mut map = Vec::new();
    for (key, list) in features {
        let (kind, list) = match list {
            List::Bytes(strings) => {
                let mut list = Vec::new();
                for string in strings {
                    put_bytes(&mut list, 1, string);
                }
                (BYTES_LIST, list)
            }
            List::Floats(numbers) => {
                let packed: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                (FLOAT_LIST, packed_list(&packed))
            }
            List::Integers(numbers) => {
                let mut packed = Vec::new();
                for number in numbers {
                    put_varint(&mut packed, number.cast_unsigned());
                }
                (INT64_LIST, packed_list(&packed))
            }
        };
        let mut entry = Vec::with_capacity(list.len() + key.len() + 32);
        put_bytes(&mut entry, 1, key.as_bytes());
        let mut feature = Vec::with_capacity(list.len() + 16);
        put_bytes(&mut feature, kind, &list);
        put_bytes(&mut entry, 2, &feature);
        put_bytes(&mut map, 1, &entry);
    }
    let mut example = Vec::with_capacity(map.len() + 16);
    put_bytes(&mut example, 1, &map);
    example
}

/// Of no numbers nothing is written, as the official encoder has it.
fn packed_list(packed: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    if !packed.is_empty() {
        put_bytes(&mut list, 1, packed);
    }
    list
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{image/height: [3], t: [b"ab"], f: [1.5, 2.5]}` as the Python package `tfrecord` 1.14.6 encodes it.
    const INDEPENDENT: [u8; 57] = [
        0x0a, 0x37, 0x0a, 0x15, 0x0a, 0x0c, b'i', b'm', b'a', b'g', b'e', b'/', b'h', b'e', b'i',
        b'g', b'h', b't', 0x12, 0x05, 0x1a, 0x03, 0x0a, 0x01, 0x03, 0x0a, 0x11, 0x0a, 0x01, b'f',
        0x12, 0x0c, 0x12, 0x0a, 0x0a, 0x08, 0x00, 0x00, 0xc0, 0x3f, 0x00, 0x00, 0x20, 0x40, 0x0a,
        0x0b, 0x0a, 0x01, b't', 0x12, 0x06, 0x0a, 0x04, 0x0a, 0x02, b'a', b'b',
    ];

    #[test]
    fn an_example_of_another_program_is_read() {
        let example = Example::parse(&INDEPENDENT).unwrap();
        assert_eq!(example.integers("image/height"), Ok(Some(vec![3])));
        assert_eq!(example.floats("f"), Ok(Some(vec![1.5, 2.5])));
        assert_eq!(example.byte_strings("t"), Ok(Some(vec![b"ab".as_slice()])));
        assert_eq!(example.range("t"), Ok(Some(55..57)));
        assert_eq!(example.floats("g"), Ok(None));
        assert!(example.has("f").unwrap() && !example.has("g").unwrap());
        let told = example.floats("t").unwrap_err().to_string();
        assert_eq!(told, "`t` does not hold floats");
    }

    #[test]
    fn what_is_written_is_what_the_other_program_writes() {
        let features = BTreeMap::from([
            ("image/height", List::Integers(vec![3])),
            ("f", List::Floats(vec![1.5, 2.5])),
            ("t", List::Bytes(vec![b"ab"])),
        ]);
        let mut ours = encode(&features);
        let mut theirs = INDEPENDENT.to_vec();
        // The same entries in another order.
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
        let example = encode(&features);
        let example = Example::parse(&example).unwrap();
        assert_eq!(example.floats("f"), Ok(Some(vec![1.5, 2.5])));
    }

    #[test]
    fn lists_are_read_packed_and_not() {
        // One Int64List {7, -1} unpacked, one FloatList {0.5} unpacked.
        let mut feature = vec![0x1a, 13, 0x08, 7, 0x08];
        feature.extend([0xff; 9]);
        feature.push(1);
        let mut entry = vec![0x0a, 1, b'i', 0x12, feature.len() as u8];
        entry.extend(&feature);
        let mut map = vec![0x0a, entry.len() as u8];
        map.extend(&entry);
        map.extend([
            0x0a, 12, 0x0a, 1, b'f', 0x12, 7, 0x12, 5, 0x0d, 0, 0, 0, 0x3f,
        ]);
        let mut data = vec![0x0a, map.len() as u8];
        data.extend(&map);
        let example = Example::parse(&data).unwrap();
        assert_eq!(example.integers("i"), Ok(Some(vec![7, -1])));
        assert_eq!(example.floats("f"), Ok(Some(vec![0.5])));
        let negative = BTreeMap::from([("i", List::Integers(vec![7, -1, i64::MIN]))]);
        let data = encode(&negative);
        let read = Example::parse(&data).unwrap().integers("i");
        assert_eq!(read, Ok(Some(vec![7, -1, i64::MIN])));
    }

    #[test]
    fn cut_and_overlong_messages_are_refused_where_they_break() {
        for end in 1..INDEPENDENT.len() {
            assert!(Example::parse(&INDEPENDENT[..end]).is_err(), "{end}");
        }
        let overlong = [
            0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
        ];
        let told = Example::parse(&overlong).unwrap_err();
        assert_eq!(told, ExampleError::EndsEarly { at: 0 });
        let told = Example::parse(&[0xff; 20]).unwrap_err();
        assert_eq!(told, ExampleError::NoField { at: 0 });
        let many = BTreeMap::from([("i", List::Integers(vec![1; LIST_MAX + 1]))]);
        let data = encode(&many);
        let told = Example::parse(&data).unwrap().integers("i").unwrap_err();
        assert_eq!(told, ExampleError::TooMany { key: "i" });
        let many = BTreeMap::from([("f", List::Floats(vec![1.0; LIST_MAX + 9]))]);
        let data = encode(&many);
        let told = Example::parse(&data).unwrap().floats("f").unwrap_err();
        assert_eq!(told, ExampleError::TooMany { key: "f" });
    }
}
