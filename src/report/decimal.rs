//! Lines of decimal numbers, written without `fmt`: a run of ten million samples has ten million lines.
//!
//! Budget: 3 ns a number.

use std::io::{self, Write};

/// Text is handed to the output in parts of this size: larger ones leave the processor's cache.
const PART: usize = 1 << 16;

/// A line is no longer.
const LINE_MAX: usize = 512;

/// Numbers below this have up to eight digits, which [`eight_digits`] makes at once.
const EIGHT_DIGITS: u64 = 100_000_000;

/// Eight times the digit 0.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Bytes that are written for a field, whatever its length: two words.
const FIELD_MAX: usize = 16;

/// The digits of a column's last number. Neighbours are often equal, or count up: then the digits
/// are there already.
///
/// They are kept in a word, the first digit in the lowest byte, so that they go on in registers.
#[derive(Debug, Clone)]
pub struct Column {
    value: u64,
    text: u128,
    length: usize,
}

impl Default for Column {
    fn default() -> Self {
        Self {
            value: 0,
            text: u128::from(b'0'),
            length: 1,
        }
    }
}

impl Column {
    /// The digits of `value`, which is below 10^16, and their count.
    #[inline]
    fn digits_of(&mut self, value: u64) -> (u128, usize) {
        if value == self.value {
            return (self.text, self.length);
        }
        let last = 8 * (self.length - 1);
        let last_digit = (self.text >> last) as u8;
        let (text, length) = if value == self.value + 1 && last_digit < b'9' {
            (self.text + (1 << last), self.length)
        } else {
            digits(value)
        };
        (self.value, self.text, self.length) = (value, text, length);
        (text, length)
    }
}

/// The digits of a number below 10^16 and their count.
#[inline]
fn digits(value: u64) -> (u128, usize) {
    let (high, low) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    let first = eight_digits(if high == 0 { low } else { high });
    let zeros = (first.trailing_zeros() / 8).min(7) as usize;
    let first = u128::from((first | ZEROS) >> (8 * zeros));
    let length = 8 - zeros;
    if high == 0 {
        return (first, length);
    }
    let rest = u128::from(eight_digits(low) | ZEROS);
    (first | rest << (8 * length), length + 8)
}

/// Gathers lines and hands them to an output, part by part.
pub struct DecimalWriter<'a> {
    out: &'a mut dyn Write,
    text: Box<[u8]>,
    length: usize,
}

impl<'a> DecimalWriter<'a> {
    /// An empty text for `out`; what is left at the end goes there with [`Self::finish`].
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            text: vec![0; PART].into_boxed_slice(),
            length: 0,
        }
    }

    /// Appends the next number of a column, in decimal digits, and the byte that follows it.
    #[inline]
    pub fn number(&mut self, column: &mut Column, value: u64, then: u8) {
        if value >= EIGHT_DIGITS * EIGHT_DIGITS {
            // Four months in nanoseconds.
            for digit in value.to_string().bytes() {
                self.byte(digit);
            }
        } else {
            let (text, length) = column.digits_of(value);
            // The whole field is written, which is faster than its exact length.
            self.text[self.length..self.length + FIELD_MAX].copy_from_slice(&text.to_le_bytes());
            self.length += length;
        }
        self.byte(then);
    }

    /// Appends one byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.text[self.length] = byte;
        self.length += 1;
    }

    /// Makes room for a line, of which none is longer than `LINE_MAX`.
    ///
    /// # Errors
    /// The output's.
    #[inline]
    pub fn begin_line(&mut self) -> io::Result<()> {
        if self.length + LINE_MAX > PART {
            return self.hand_over();
        }
        Ok(())
    }

    #[cold]
    fn hand_over(&mut self) -> io::Result<()> {
        self.out.write_all(&self.text[..self.length])?;
        self.length = 0;
        Ok(())
    }

    /// Hands over what is left.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(mut self) -> io::Result<()> {
        self.hand_over()
    }
}

/// The digits of `value`, which is below 10^8, a byte each, the first one in the lowest byte.
///
/// All digits are made side by side in one word: first two numbers of four digits, then four of
/// two, then eight of one. Each division is a multiplication that is exact in its range.
#[inline]
fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(values: &[u64]) -> String {
        let mut out = Vec::new();
        let mut text = DecimalWriter::new(&mut out);
        let mut column = Column::default();
        for &value in values {
            text.begin_line().unwrap();
            text.number(&mut column, value, b',');
        }
        text.byte(b'\n');
        text.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn expected(values: &[u64]) -> String {
        let fields = values.iter().map(|value| format!("{value},"));
        fields.collect::<String>() + "\n"
    }

    #[test]
    fn every_count_of_digits_is_written_as_the_standard_library_writes_it() {
        let mut edges = vec![0, u64::MAX];
        for power in (0..20).map(|exponent| 10_u64.pow(exponent)) {
            edges.extend([power - 1, power, power + 1, power / 10 * 12]);
        }
        assert_eq!(written(&edges), expected(&edges));
        let small: Vec<u64> = (0..100_000).collect();
        assert_eq!(written(&small), expected(&small));
    }

    proptest! {
        #[test]
        fn any_numbers_are_written_as_the_standard_library_writes_them(
            values in proptest::collection::vec((any::<u64>(), 0_u32..64, 0_u64..3), 0..300)
        ) {
            let values: Vec<u64> = values
                .iter()
                .flat_map(|&(value, shift, more)| {
                    let value = value >> shift;
                    (0..=more).map(move |more| value.wrapping_add(more / 2))
                })
                .collect();
            prop_assert_eq!(written(&values), expected(&values));
        }
    }
}
