//! `NumPy`'s file format, as far as anchors need it: little-endian f32, `[rows, 4]`.

/// Why bytes are not such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// Not `NumPy`'s format, or cut short.
    #[error("it is not a complete .npy file")]
    Malformed,
    /// Another type, order or shape.
    #[error("it should hold little-endian f32 in C order with four columns, but its header says {header}")]
    Contents {
        /// The header's text.
        header: String,
    },
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads rows of four.
pub fn read_rows(bytes: &[u8]) -> Result<Vec<[f32; 4]>, NpyError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::Malformed)?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (u32::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
        _ => return Err(NpyError::Malformed),
    };
    let length = usize::try_from(length).map_err(|_| NpyError::Malformed)?;
    let (header, data) = rest.split_at_checked(length).ok_or(NpyError::Malformed)?;
    let header = String::from_utf8_lossy(header);
    // A Python dict with fixed keys; spaces carry no meaning.
    let compact: String = header.chars().filter(|c| !c.is_whitespace()).collect();
    let shape = compact
        .split_once("'shape':(")
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(shape, _)| shape);
    let rows = shape
        .and_then(|shape| shape.strip_suffix(",4"))
        .and_then(|rows| rows.parse::<usize>().ok());
    let typed = compact.contains("'descr':'<f4'") && compact.contains("'fortran_order':False");
    let (Some(rows), true) = (rows, typed) else {
        return Err(NpyError::Contents {
            header: header.trim().to_owned(),
        });
    };
    if rows.checked_mul(16) != Some(data.len()) {
        return Err(NpyError::Malformed);
    }
    let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let row = |r: &[u8]| {
        [
            value(&r[..4]),
            value(&r[4..8]),
            value(&r[8..12]),
            value(&r[12..]),
        ]
    };
    Ok(data.chunks_exact(16).map(row).collect())
}

/// Writes rows of four, byte by byte as `NumPy` 1.x and 2.x do.
pub fn write_rows(rows: &[[f32; 4]]) -> Vec<u8> {
    let mut header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 4), }}",
        rows.len()
    );
    // The data begin at a multiple of 64; a line feed ends the header.
    let used = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(used.next_multiple_of(64) - used));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    let length = u16::try_from(header.len()).expect("the header is one short line");
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_writing_and_reading() {
        let rows = vec![[0.5, 1.0, -2.0, 3.25], [f32::MIN, f32::MAX, 0.0, 1e-30]];
        let bytes = write_rows(&rows);
        assert_eq!(bytes.len() % 64, 32, "the data begin at a multiple of 64");
        assert_eq!(read_rows(&bytes), Ok(rows));
        for length in 0..bytes.len() {
            assert!(read_rows(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn numpys_own_file_reads_and_is_what_we_write() {
        let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
            eprintln!("DETBENCH_TEST_DATA is unset: skipped");
            return;
        };
        let path = "models/anchors_ssd300_tfod_1917x4_ycxchw.npy";
        let bytes = std::fs::read(std::path::Path::new(&data).join(path)).unwrap();
        let rows = read_rows(&bytes).unwrap();
        assert_eq!(rows.len(), 1917);
        assert_eq!(write_rows(&rows), bytes);
    }

    #[test]
    fn other_contents_are_refused_by_name() {
        let doubles = String::from_utf8_lossy(&write_rows(&[]))
            .replace("<f4", "<f8")
            .into_bytes();
        // The magic byte is no UTF-8, so put it back.
        let doubles = [
            &[0x93],
            doubles.strip_prefix("\u{FFFD}".as_bytes()).unwrap(),
        ]
        .concat();
        let error = read_rows(&doubles).unwrap_err();
        assert!(error.to_string().contains("<f8"), "{error}");
    }
}
