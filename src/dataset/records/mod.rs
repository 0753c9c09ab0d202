//! Detection records: pictures with their boxes as `tf.train.Example` in TFRecord files.
//!
//! Opening reads every file once from end to end, so each checksum is checked and the boxes are known; a picture's bytes stay in
//! the file until a library loads them.

pub mod decimal;
mod encode;
mod fields;
mod labeller;
pub mod shard;
mod truth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

pub use encode::{encode, Labelled};
pub use fields::{PictureProblem, RecordObject, RecordPicture, Style};
pub use labeller::Labeller;

use super::tfrecord::RecordReader;
use super::{Dataset, DatasetError, DatasetNote, Form, Request, Truth};
use crate::library::coco::{read_instances, AnnotationSource, CocoImage};
use crate::library::{ids_by_name, ListedPicture, Place};

/// A record's picture and where its bytes are.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    picture: RecordPicture,
    place: Place,
}

/// Opens record files as one data set; `annotations` are COCO's JSON in the place of what the records say.
///
/// # Errors
/// [`DatasetError`].
pub fn open(
    name: String,
    files: &[PathBuf],
    annotations: Option<&Path>,
    request: &Request<'_>,
) -> Result<Dataset, DatasetError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads.get())
        .build();
    let read = || {
        files
            .par_iter()
            .map(|file| read_file(file))
            .collect::<Vec<_>>()
    };
    let read = match pool {
        Ok(pool) => pool.install(read),
        // Without threads of our own one file comes after the other.
        Err(_) => files.iter().map(|file| read_file(file)).collect(),
    };
    let mut found = Vec::new();
    for file in read {
        found.append(&mut file?);
    }
    if found.is_empty() {
        return Err(DatasetError::NoDataset {
            path: request.path.to_owned(),
            found: "its records are empty",
        });
    }
    let mut dataset = Dataset {
        name,
        form: Form::Records,
        pictures: Vec::new(),
        truth: None,
        truth_source: None,
        notes: Vec::new(),
    };
    match annotations {
        Some(file) => with_annotations(&mut dataset, found, file)?,
        None => with_own_truth(&mut dataset, found, request.path)?,
    }
    Ok(dataset)
}

/// All pictures of a file.
fn read_file(file: &Path) -> Result<Vec<Found>, DatasetError> {
    let shared: Arc<Path> = file.into();
    let mut reader = RecordReader::open(file)?;
    let mut found = Vec::new();
    while let Some(record) = reader.next_record()? {
        let picture =
            RecordPicture::parse(record.data).map_err(|problem| DatasetError::Record {
                file: file.to_owned(),
                record: record.number,
                offset: record.offset,
                problem,
            })?;
        let place = Place::Part {
            file: Arc::clone(&shared),
            offset: record.data_offset() + picture.encoded.start as u64,
            length: picture.encoded.len() as u64,
        };
        found.push(Found { picture, place });
    }
    Ok(found)
}

/// The truth of a COCO file; its images are found by id, else by name.
fn with_annotations(
    dataset: &mut Dataset,
    found: Vec<Found>,
    file: &Path,
) -> Result<(), DatasetError> {
    let source = AnnotationSource::from(file);
    let instances = read_instances(&source)?;
    let by_id: BTreeMap<i64, &CocoImage> = instances
        .images
        .iter()
        .map(|image| (image.id, image))
        .collect();
    let by_name: BTreeMap<&str, &CocoImage> = instances
        .images
        .iter()
        .map(|image| (image.file_name.as_str(), image))
        .collect();
    for Found { picture, place } in found {
        let own_id = picture
            .source_id
            .as_ref()
            .and_then(|id| id.parse::<i64>().ok());
        let image = own_id.and_then(|id| by_id.get(&id));
        let image = image.or_else(|| by_name.get(picture.file_name.as_str()));
        let image = image.ok_or_else(|| DatasetError::NotAnnotated {
            annotations: source.to_string(),
            picture: picture.file_name.clone(),
        })?;
        dataset.pictures.push(ListedPicture {
            file_name: image.file_name.clone(),
            place,
            image_id: image.id,
            size: image.size,
        });
    }
    refuse_repetition(&dataset.pictures, file)?;
    let count = instances.images.len() - dataset.pictures.len();
    if count > 0 {
        dataset.notes.push(DatasetNote::FewerPictures { count });
    }
    dataset.truth = Some(Truth::Coco(instances));
    dataset.truth_source = Some(source.to_string());
    Ok(())
}

/// The truth that the records tell themselves.
fn with_own_truth(
    dataset: &mut Dataset,
    found: Vec<Found>,
    path: &Path,
) -> Result<(), DatasetError> {
    let names: Vec<String> = found
        .iter()
        .enumerate()
        .map(|(position, found)| match found.picture.file_name.as_str() {
            "" => format!("picture-{:06}", position + 1),
            name => name.to_owned(),
        })
        .collect();
    let numbers = found
        .iter()
        .map(|found| found.picture.source_id.as_ref()?.parse().ok());
    let ids: Vec<i64> = numbers
        .collect::<Option<_>>()
        .unwrap_or_else(|| ids_by_name(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    let mut labelled = Vec::with_capacity(found.len());
    for ((Found { picture, place }, file_name), image_id) in found.into_iter().zip(names).zip(ids) {
        dataset.pictures.push(ListedPicture {
            file_name,
            place,
            image_id,
            size: picture.size,
        });
        labelled.push(picture);
    }
    refuse_repetition(&dataset.pictures, path)?;
    let (truth, notes) = truth::build(&dataset.pictures, &labelled);
    if let Some(Truth::Voc(_)) = &truth {
        refuse_names(&dataset.pictures, path)?;
    }
    dataset.truth_source = truth
        .is_some()
        .then(|| format!("the records of {}", path.display()));
    dataset.truth = truth;
    dataset.notes.extend(notes);
    Ok(())
}

fn refuse_repetition(pictures: &[ListedPicture], path: &Path) -> Result<(), DatasetError> {
    let mut ids: Vec<i64> = pictures.iter().map(|picture| picture.image_id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(DatasetError::PictureTwice {
            path: path.to_owned(),
            picture: pair[0].to_string(),
        }),
    }
}

/// VOC's detections name their pictures.
fn refuse_names(pictures: &[ListedPicture], path: &Path) -> Result<(), DatasetError> {
    let names = pictures
        .iter()
        .map(|picture| super::voc_name(&picture.file_name));
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(DatasetError::PictureTwice {
            path: path.to_owned(),
            picture: pair[0].to_owned(),
        }),
    }
}
