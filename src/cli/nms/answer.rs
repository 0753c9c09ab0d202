//! The answer to one file: the op's slots, for programs and for people.

use std::io::Write;
use std::path::Path;

use comfy_table::{presets, CellAlignment, Table};
use serde::{Serialize, Serializer};

use super::NmsArgs;
use crate::cli::failure::{Blame, Failure};
use crate::laboratory::options::default_options;
use crate::laboratory::timing::median_us;
use crate::laboratory::{Overrides, RawHeads};
use crate::postprocess::tflite::{DetectionPostProcess, Options, Output};
use crate::postprocess::NmsMode;

/// What `--json` prints.
#[derive(Serialize)]
struct Document<T> {
    schema_version: u32,
    /// One for each mode; a list of them for each picture of a batch.
    results: T,
}

/// What one mode made of one picture: an entry for each slot that the op writes.
#[derive(Debug, Serialize)]
struct Answer {
    nms: NmsMode,
    num_detections: u32,
    slots: Vec<usize>,
    boxes: Vec<[Number; 4]>,
    classes: Vec<u32>,
    scores: Vec<Number>,
    median_us: Option<f64>,
}

/// A number that JSON may not have: NaN and infinities are written as strings.
#[derive(Debug, Clone, Copy)]
struct Number(f32);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f32(self.0)
        } else if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else if self.0 > 0.0 {
            serializer.serialize_str("Infinity")
        } else {
            serializer.serialize_str("-Infinity")
        }
    }
}

/// Runs the op on every picture of the file.
pub fn run(
    args: &NmsArgs,
    input: &Path,
    overrides: &Overrides,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let heads = RawHeads::read(input, args.quantizations()).or_usage()?;
    let options = overrides
        .apply(default_options(heads.columns()))
        .or_usage()?;
    let answers = (0..heads.picture_count())
        .map(|picture| answers(args, input, &heads, picture, options))
        .collect::<Result<Vec<_>, _>>()?;
    let written = if args.json {
        write_json(out, heads.is_batch(), &answers)
    } else {
        write_text(out, &heads, &answers)
    };
    written.or_environment()
}

fn write_json(
    out: &mut impl Write,
    is_batch: bool,
    answers: &[Vec<Answer>],
) -> std::io::Result<()> {
    if is_batch {
        let results = answers;
        serde_json::to_writer(
            &mut *out,
            &Document {
                schema_version: 1,
                results,
            },
        )?;
    } else {
        let results = &answers[0];
        serde_json::to_writer(
            &mut *out,
            &Document {
                schema_version: 1,
                results,
            },
        )?;
    }
    writeln!(out)
}

/// The answers of the modes that were asked for to one picture.
fn answers(
    args: &NmsArgs,
    input: &Path,
    heads: &RawHeads,
    picture: usize,
    options: Options,
) -> Result<Vec<Answer>, Failure> {
    let modes = args.nms.modes().iter();
    let answers = modes.map(|&mode| {
        let options = Options {
            use_regular_nms: mode == NmsMode::Regular,
            ..options
        };
        let mut op = DetectionPostProcess::new(options).with_revision(args.tflite_revision.into());
        let mut output = Output::default();
        let median_us = heads.with_picture(picture, |inputs| {
            let mut call = || op.run(inputs, &mut output);
            match args.repeat {
                Some(repeat) => median_us(call, repeat).map(Some),
                None => call().map(|()| None),
            }
        });
        let median_us = median_us.map_err(|error| {
            let file = input.display();
            Failure::usage(if heads.is_batch() {
                format!("{file}, picture {picture} of the batch: {error}")
            } else {
                format!("{file}: {error}")
            })
        })?;
        let classes = usize::try_from(options.num_classes).unwrap_or(0);
        Ok(Answer::new(
            mode,
            &output,
            &written_slots(options, classes, &output),
            median_us,
        ))
    });
    answers.collect()
}

/// The slots that the op writes: in regular mode as many as detections are wanted, zeros included; in fast
/// mode those of the classes of each box that was kept.
fn written_slots(options: Options, classes: usize, output: &Output) -> Vec<usize> {
    let each = options.max_classes_per_detection.unsigned_abs() as usize;
    let wanted = options.max_detections.unsigned_abs() as usize;
    match options.mode() {
        NmsMode::Regular => (0..wanted.min(output.scores.len())).collect(),
        NmsMode::Fast => (0..output.num_detections as usize)
            .flat_map(|kept| (0..each.min(classes)).map(move |class| kept * each + class))
            .collect(),
    }
}

impl Answer {
    fn new(nms: NmsMode, output: &Output, slots: &[usize], median_us: Option<f64>) -> Self {
        Self {
            nms,
            num_detections: output.num_detections as u32,
            slots: slots.to_vec(),
            boxes: slots
                .iter()
                .map(|&slot| output.boxes[slot].map(Number))
                .collect(),
            classes: slots
                .iter()
                .map(|&slot| output.classes[slot] as u32)
                .collect(),
            scores: slots
                .iter()
                .map(|&slot| Number(output.scores[slot]))
                .collect(),
            median_us,
        }
    }

    /// The entries that are detections.
    fn detection_count(&self) -> usize {
        match self.nms {
            NmsMode::Regular => (self.num_detections as usize).min(self.slots.len()),
            NmsMode::Fast => self.slots.len(),
        }
    }
}

fn write_text(
    out: &mut impl Write,
    heads: &RawHeads,
    answers: &[Vec<Answer>],
) -> std::io::Result<()> {
    for (picture, answers) in answers.iter().enumerate() {
        if heads.is_batch() {
            writeln!(out, "Picture {picture}")?;
        }
        for answer in answers {
            write!(
                out,
                "{} NMS: {} detections from {} anchors x {} columns",
                answer.nms.name(),
                answer.num_detections,
                heads.anchor_count(),
                heads.columns()
            )?;
            match answer.median_us {
                Some(median) => writeln!(out, ", median {median:.1} us a call")?,
                None => writeln!(out)?,
            }
            if answer.detection_count() > 0 {
                writeln!(out, "{}", table(answer))?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn table(answer: &Answer) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["slot", "class", "score", "y_min", "x_min", "y_max", "x_max"]);
    for row in 0..answer.detection_count() {
        let edges = answer.boxes[row].map(|edge| format!("{:.4}", edge.0));
        let head = [
            answer.slots[row].to_string(),
            answer.classes[row].to_string(),
            format!("{:.4}", answer.scores[row].0),
        ];
        table.add_row(head.into_iter().chain(edges));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
