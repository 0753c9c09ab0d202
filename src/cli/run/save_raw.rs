//! `--save-raw`: what the model gives for every picture, before any NMS, for the laboratory.

use std::fs;
use std::path::{Path, PathBuf};

use super::measure::Bench;
use super::subject::Subject;
use super::watch::loading_bar;
use crate::cli::failure::{Blame, Failure};
use crate::cli::inference::{no_raw_heads, Inference};
use crate::cli::interrupt::is_interrupted;
use crate::laboratory::folder::{RawFolder, RawPicture};
use crate::library::{PictureEntry, Place, SampleLibrary};
use crate::npz::write_npz;
use crate::tensor::{TensorData, TensorView};
use crate::units::SampleIndex;

/// Refuses a model that has nothing to save, before anything is measured.
pub fn check_subject(subject: &Subject) -> Result<(), Failure> {
    match subject.reading.raw_heads() {
        Some(_) => Ok(()),
        None => Err(no_raw_heads(&subject.description.name)),
    }
}

/// Makes the folder, so that a run does not end with a folder that cannot be made.
pub fn check_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::usage(format!("--save-raw {}: {error}", folder.display())))
}

/// Infers every picture once more, outside any measurement, and writes an archive for each.
pub fn save(bench: &Bench<'_>, folder: &Path) -> Result<(), Failure> {
    let subject = bench.subject;
    let Some((raw, anchors)) = subject.reading.raw_heads() else {
        return Err(no_raw_heads(&subject.description.name));
    };
    let description = &subject.description;
    let mut inference = Inference::open(subject, bench.runtime)?;
    let mut described = RawFolder::new(&description.name, &description.labels, raw);
    let library = &bench.pictures.library;
    let bar = loading_bar(library.total_count());
    for (index, entry) in (0..).map(SampleIndex).zip(library.pictures()) {
        if is_interrupted() {
            return Ok(());
        }
        let samples = library.load(&[index], &|_| {}).or_usage()?;
        inference.run(samples.tensor(index))?;
        let (boxes, scores) = inference.raw_heads()?;
        let file = PathBuf::from(format!("{}.npz", entry.image_id));
        write_heads(&folder.join(&file), anchors, &boxes, &scores)?;
        described.pictures.push(raw_picture(file, entry));
        bar.inc(1);
    }
    bar.finish_and_clear();
    described.write(folder).or_environment()
}

fn write_heads(
    path: &Path,
    anchors: &[[f32; 4]],
    boxes: &[f32],
    scores: &[f32],
) -> Result<(), Failure> {
    let length = |count: usize| i64::try_from(count).expect("memory holds fewer elements");
    let shape = |data: &[f32]| {
        let columns = data.len() / anchors.len().max(1);
        [length(anchors.len()), length(columns)]
    };
    let arrays = [
        ("boxes", boxes, shape(boxes)),
        ("scores", scores, shape(scores)),
        (
            "anchors",
            anchors.as_flattened(),
            shape(anchors.as_flattened()),
        ),
    ];
    let views: Vec<(&str, TensorView<'_>)> = arrays
        .iter()
        .map(|(name, data, shape)| {
            let data = TensorData::F32(data);
            (*name, TensorView { shape, data })
        })
        .collect();
    write_npz(path, &views).or_environment()
}

fn raw_picture(file: PathBuf, entry: &PictureEntry) -> RawPicture {
    RawPicture {
        file,
        picture: own_file(entry),
        image_id: entry.image_id,
        width: entry.width,
        height: entry.height,
    }
}

/// The picture's file; its name alone where it is a part of one, for `--images` to find it by.
fn own_file(entry: &PictureEntry) -> PathBuf {
    match &entry.place {
        Place::File(path) => fs::canonicalize(path).unwrap_or_else(|_| path.clone()),
        Place::Part { .. } => PathBuf::from(&entry.file_name),
    }
}
