//! What a TFLite file says of itself besides its graph: labels, normalisation, licence.
//!
//! Metadata is a flatbuffer in one of the file's buffers; the files that it names, such as the
//! label map, are a zip archive behind the model. Both are optional and only describe, so what is
//! damaged among them is left out.

use std::io::{Cursor, Read};
use std::path::Path;

use super::flatbuffer::{Malformed, Table, Vector};
use super::schema::Model;

/// Name of the metadata in the file.
const METADATA: &str = "TFLITE_METADATA";
/// A label map is a few kilobytes.
const LABELS_SIZE_MAX: u64 = 1 << 20;
/// Longer texts are cut.
const TEXT_MAX: usize = 2000;
/// More entries than any list of the metadata has.
const ENTRIES_MAX: usize = 64;
/// `ProcessUnitOptions.NormalizationOptions`.
const NORMALIZATION: u8 = 1;
/// `AssociatedFileType`: labels of an axis, and of values.
const LABEL_FILES: [i8; 2] = [2, 3];

/// What the file says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// Name for people.
    pub title: Option<String>,
    /// Terms, in the author's words.
    pub licence: Option<String>,
    /// What is subtracted from each pixel, and what that is divided by.
    pub normalization: Option<[f32; 2]>,
    /// The lines of the label map.
    pub labels: Option<Vec<String>>,
}

/// Reads what is there.
pub(super) fn read(model: &Model<'_>) -> Metadata {
    let described = model.metadata(METADATA).ok().flatten();
    let (mut found, label_file) = described
        .and_then(|bytes| describe(bytes).ok())
        .unwrap_or_default();
    found.labels = labels(model.bytes(), label_file.as_deref());
    found
}

/// The metadata's own fields, and the name of its label map.
fn describe(bytes: &[u8]) -> Result<(Metadata, Option<String>), Malformed> {
    let root = Table::root(bytes)?;
    let text = |table: Table<'_>, id| -> Result<Option<String>, Malformed> {
        let text = table.text(id, TEXT_MAX)?;
        let line = text.lines().next().unwrap_or_default().trim();
        Ok((!line.is_empty()).then(|| line.to_owned()))
    };
    let mut found = Metadata {
        title: text(root, 0)?,
        licence: text(root, 5)?,
        ..Metadata::default()
    };
    let mut label_file = None;
    let mut file_lists = vec![root.list(6, 4)?];
    if let Some(graph) = root.list(3, 4)?.table(0)? {
        if let Some(input) = graph.list(2, 4)?.table(0)? {
            found.normalization = normalization(input.list(4, 4)?)?;
        }
        file_lists.push(graph.list(4, 4)?);
        let outputs = graph.list(3, 4)?;
        for index in 0..outputs.len().min(ENTRIES_MAX) {
            if let Some(output) = outputs.table(index)? {
                file_lists.push(output.list(6, 4)?);
            }
        }
    }
    for files in file_lists {
        for index in 0..files.len().min(ENTRIES_MAX) {
            let Some(file) = files.table(index)? else {
                continue;
            };
            if LABEL_FILES.contains(&file.i8(2, 0)?) {
                label_file = text(file, 0)?;
            }
        }
    }
    Ok((found, label_file))
}

/// The first normalisation among process units, when it is the same for all channels.
fn normalization(units: Vector<'_>) -> Result<Option<[f32; 2]>, Malformed> {
    for index in 0..units.len().min(ENTRIES_MAX) {
        let Some(unit) = units.table(index)? else {
            continue;
        };
        if unit.u8(0, 0)? != NORMALIZATION {
            continue;
        }
        let Some(options) = unit.table(1)? else {
            continue;
        };
        let same = |values: Vector<'_>| {
            let mut values = values.f32s();
            let first = values.next()?;
            (values
                .take(ENTRIES_MAX)
                .all(|other| other.to_bits() == first.to_bits())
                && first.is_finite())
            .then_some(first)
        };
        let (mean, std) = (same(options.list(0, 4)?), same(options.list(1, 4)?));
        return Ok(mean
            .zip(std)
            .filter(|(_, std)| std.is_normal())
            .map(|(mean, std)| [mean, std]));
    }
    Ok(None)
}

/// The lines of the label map in the archive behind the model: the file called `name`, or the only
/// text file.
fn labels(bytes: &[u8], name: Option<&str>) -> Option<Vec<String>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let is_text = |own: &str| Path::new(own).extension().is_some_and(|e| e == "txt");
    let texts: Vec<String> = archive
        .file_names()
        .filter_map(|own| own.ok().filter(|own| is_text(own)).map(Into::into))
        .collect();
    let chosen = match (name, &texts[..]) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => return None,
    };
    let mut text = String::new();
    let file = archive.by_name(chosen).ok()?;
    file.take(LABELS_SIZE_MAX).read_to_string(&mut text).ok()?;
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    (!lines.is_empty()).then_some(lines)
}
