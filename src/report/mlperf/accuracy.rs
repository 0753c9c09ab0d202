//! `mlperf_log_accuracy.json`: the answers, one entry a line.
//!
//! Verifiers go through this file line by line and by the position of the fields, so the layout
//! is fixed down to the blanks.

use std::io::{self, Write};

use crate::units::{SampleId, SampleIndex};

/// One logged answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccuracyAnswer {
    /// The sample's number in the test.
    pub id: SampleId,
    /// Which sample of the library.
    pub index: SampleIndex,
    /// The answer's bytes; for detections see [`detection_bytes`].
    pub data: Vec<u8>,
}

/// One detection as the scorers read it: image index, `y_min`, `x_min`, `y_max`, `x_max` as shares
/// of the picture, score, class.
pub type DetectionRecord = [f32; 7];

/// The bytes of a picture's detections: little-endian, seven numbers a detection.
pub fn detection_bytes(detections: &[DetectionRecord]) -> Vec<u8> {
    let numbers = detections.iter().flatten();
    numbers.flat_map(|number| number.to_le_bytes()).collect()
}

/// Writes the answers in the order given, which is that of their completion.
///
/// # Errors
/// The system's.
pub fn write(
    answers: impl IntoIterator<Item = AccuracyAnswer>,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(b"[")?;
    let mut hex = String::new();
    for (position, answer) in answers.into_iter().enumerate() {
        hex.clear();
        for byte in &answer.data {
            hex.push(HEX[usize::from(byte >> 4)]);
            hex.push(HEX[usize::from(byte & 15)]);
        }
        let comma = if position == 0 { "" } else { "," };
        write!(
            out,
            "{comma}\n{{ \"seq_id\" : {}, \"qsl_idx\" : {}, \"data\" : \"{hex}\" }}",
            answer.id.0, answer.index.0
        )?;
    }
    out.write_all(b"\n]\n")
}

const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_log_is_four_bytes_and_a_full_one_has_a_line_an_answer() {
        let mut out = Vec::new();
        write([], &mut out).unwrap();
        assert_eq!(out, b"[\n]\n");
        let answer = |id, data| AccuracyAnswer {
            id: SampleId(id),
            index: SampleIndex(id + 1),
            data,
        };
        let mut out = Vec::new();
        let bytes = detection_bytes(&[[1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0]]);
        write([answer(0, bytes), answer(1, Vec::new())], &mut out).unwrap();
        // The first entry is LoadGen's own for these numbers.
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[\n{ \"seq_id\" : 0, \"qsl_idx\" : 1, \"data\" : \
             \"0000803F000000000000803E0000003F0000403F0000803F00000040\" },\n\
             { \"seq_id\" : 1, \"qsl_idx\" : 2, \"data\" : \"\" }\n]\n"
        );
    }
}
