//! Lines of decimal numbers, written without `fmt`: a run of ten million samples has ten million lines.
//!
//! Budget: 2 ns a number.

use std::io::{self, Write};

/// Text is handed to the output in parts of this size: larger ones leave the processor's cache.
const PART: usize = 1 << 16;

/// Room that is left at the end of a part, for the longest number that may still come.
const NUMBER_MAX: usize = 24;

/// Digits that [`eight_digits`] makes at once.
const EIGHT_DIGITS: u64 = 100_000_000;

/// Gathers text and hands it to an output, part by part.
pub struct DecimalWriter<'a> {
    out: &'a mut dyn Write,
    text: Box<[u8; PART]>,
    length: usize,
}

impl<'a> DecimalWriter<'a> {
    /// An empty text for `out`; what is left at the end goes there with [`Self::finish`].
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            text: Box::new([0; PART]),
            length: 0,
        }
    }

    /// Appends one byte.
    ///
    /// # Errors
    /// The output's.
    #[inline]
    pub fn byte(&mut self, byte: u8) -> io::Result<()> {
        self.make_room()?;
        self.text[self.length] = byte;
        self.length += 1;
        Ok(())
    }

    /// Appends a number in decimal digits and the byte that follows it.
    ///
    /// # Errors
    /// The output's.
    #[inline]
    pub fn number(&mut self, value: u64, then: u8) -> io::Result<()> {
        self.make_room()?;
        if value < 10 {
            self.text[self.length] = b'0' + value as u8;
            self.length += 1;
        } else {
            self.long_number(value);
        }
        self.text[self.length] = then;
        self.length += 1;
        Ok(())
    }

    #[inline]
    fn long_number(&mut self, value: u64) {
        let (high, low) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
        if high == 0 {
            return self.significant(low);
        }
        if high >= EIGHT_DIGITS {
            self.significant(high / EIGHT_DIGITS);
            self.digits(eight_digits(high % EIGHT_DIGITS), 8);
        } else {
            self.significant(high);
        }
        self.digits(eight_digits(low), 8);
    }

    /// Appends a number of up to eight digits without leading zeros.
    #[inline]
    fn significant(&mut self, value: u64) {
        let digits = eight_digits(value);
        let zeros = (digits.trailing_zeros() / 8).min(7);
        self.digits(digits >> (8 * zeros), 8 - zeros as usize);
    }

    /// Appends the first `count` digits; the rest of the eight bytes is overwritten by what follows.
    #[inline]
    fn digits(&mut self, digits: u64, count: usize) {
        let text = (digits | 0x3030_3030_3030_3030).to_le_bytes();
        self.text[self.length..self.length + 8].copy_from_slice(&text);
        self.length += count;
    }

    #[inline]
    fn make_room(&mut self) -> io::Result<()> {
        if self.length + NUMBER_MAX + 1 > PART {
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
        for &value in values {
            text.number(value, b',').unwrap();
        }
        text.byte(b'\n').unwrap();
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
            values in proptest::collection::vec((any::<u64>(), 0_u32..64), 0..300)
        ) {
            let values: Vec<u64> = values.iter().map(|&(value, shift)| value >> shift).collect();
            prop_assert_eq!(written(&values), expected(&values));
        }
    }
}
