//! Lists of CPU numbers as the kernel and `taskset` write them: `0-13,28`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// CPU numbers above this are taken for a mistake; Linux on x86-64 is built for at most 8192 CPUs.
pub const LARGEST_CPU: usize = 8191;

/// A set of CPU numbers, kept in ascending order without duplicates.
///
/// Parsed from and printed as `0-13,28`; serialised as that text.
///
/// ```
/// use detbench::placement::CpuList;
/// let list: CpuList = "28,0-3".parse().unwrap();
/// assert_eq!(list.as_slice(), [0, 1, 2, 3, 28]);
/// assert_eq!(list.to_string(), "0-3,28");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuList(Vec<usize>);

/// Why a text is not a CPU list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuListError {
    /// There is no number in it.
    #[error("the CPU list is empty; write CPUs and ranges such as `0-13,28`")]
    Empty,
    /// A part is neither a number nor a range.
    #[error("`{token}` in the CPU list `{text}` is neither a CPU nor a range; write `0-13,28`")]
    BadToken {
        /// The list as given.
        text: String,
        /// The part that is wrong.
        token: String,
    },
    /// A range ends before it starts.
    #[error("the range `{first}-{last}` in the CPU list `{text}` runs backwards; write `{last}-{first}`")]
    Reversed {
        /// The list as given.
        text: String,
        /// Its first CPU.
        first: usize,
        /// Its last CPU.
        last: usize,
    },
    /// A CPU is named twice.
    #[error("CPU {cpu} is twice in the CPU list `{text}`; name each CPU once")]
    Duplicate {
        /// The list as given.
        text: String,
        /// The CPU.
        cpu: usize,
    },
    /// A number is too large for a CPU.
    #[error("`{token}` in the CPU list `{text}` is above {LARGEST_CPU}, the largest CPU number there is")]
    TooLarge {
        /// The list as given.
        text: String,
        /// The number as given.
        token: String,
    },
}

impl CpuList {
    /// The CPUs in ascending order.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// How many CPUs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no CPU.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is in the list.
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.binary_search(&cpu).is_ok()
    }

    /// Whether every CPU of this list is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().all(|&cpu| other.contains(cpu))
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// Parses the kernel's own lists, where an empty line is an empty list.
    pub(crate) fn parse_kernel(text: &str) -> Option<Self> {
        match text.trim() {
            "" => Some(Self::default()),
            list => list.parse().ok(),
        }
    }
}

impl FromIterator<usize> for CpuList {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        let mut cpus: Vec<usize> = cpus.into_iter().collect();
        cpus.sort_unstable();
        cpus.dedup();
        Self(cpus)
    }
}

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, CpuListError> {
        if text.trim().is_empty() {
            return Err(CpuListError::Empty);
        }
        let mut cpus = Vec::new();
        for token in text.split(',').map(str::trim) {
            let (first, last) = token.split_once('-').unwrap_or((token, token));
            let (first, last) = (number(first, token, text)?, number(last, token, text)?);
            if first > last {
                let text = text.to_owned();
                return Err(CpuListError::Reversed { text, first, last });
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        if let Some(pair) = cpus.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CpuListError::Duplicate {
                text: text.to_owned(),
                cpu: pair[0],
            });
        }
        Ok(Self(cpus))
    }
}

fn number(digits: &str, token: &str, text: &str) -> Result<usize, CpuListError> {
    let digits = digits.trim();
    let (text, token) = (text.to_owned(), token.to_owned());
    // `str::parse` would accept a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuListError::BadToken { text, token });
    }
    match digits.parse() {
        Ok(cpu) if cpu <= LARGEST_CPU => Ok(cpu),
        _ => Err(CpuListError::TooLarge {
            text,
            token: digits.to_owned(),
        }),
    }
}

impl TryFrom<String> for CpuList {
    type Error = CpuListError;
    fn try_from(text: String) -> Result<Self, CpuListError> {
        text.parse()
    }
}

impl From<CpuList> for String {
    fn from(list: CpuList) -> Self {
        list.to_string()
    }
}

impl fmt::Display for CpuList {
    /// The shortest form: runs as ranges, `none` for an empty list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, run) in self.0.chunk_by(|a, b| a + 1 == *b).enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match run {
                [only] => write!(f, "{only}")?,
                [first, .., last] => write!(f, "{first}-{last}")?,
                [] => unreachable!("chunk_by yields no empty run"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> CpuListError {
        text.parse::<CpuList>().unwrap_err()
    }

    #[test]
    fn lists_parse_and_print_compactly() {
        for (text, printed) in [
            ("0-13,28", "0-13,28"),
            (" 3 , 1-2 ", "1-3"),
            ("5", "5"),
            ("0,2,4-4", "0,2,4"),
            ("8191", "8191"),
        ] {
            assert_eq!(text.parse::<CpuList>().unwrap().to_string(), printed);
        }
        assert_eq!(CpuList::parse_kernel("\n"), Some(CpuList::default()));
        assert_eq!(CpuList::default().to_string(), "none");
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(error(" "), CpuListError::Empty);
        for (text, token) in [
            ("0,x", "x"),
            ("0-", "0-"),
            ("-1", "-1"),
            ("1,,2", ""),
            ("+1", "+1"),
            ("1-2-3", "1-2-3"),
            ("0-7:2", "0-7:2"),
        ] {
            let expected = CpuListError::BadToken {
                text: text.to_owned(),
                token: token.to_owned(),
            };
            assert_eq!(error(text), expected);
        }
        assert!(error("5-3").to_string().contains("write `3-5`"));
        assert!(matches!(
            error("0-3,2"),
            CpuListError::Duplicate { cpu: 2, .. }
        ));
        for absurd in ["8192", "0-99999999999999999999999", "0-4294967295"] {
            assert!(matches!(error(absurd), CpuListError::TooLarge { .. }));
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(cpus in prop::collection::btree_set(0usize..200, 1..40)) {
            let list: CpuList = cpus.iter().copied().collect();
            let expected: Vec<usize> = cpus.into_iter().collect();
            prop_assert_eq!(list.as_slice(), &expected[..]);
            prop_assert_eq!(list.to_string().parse::<CpuList>().unwrap(), list);
        }
    }
}
