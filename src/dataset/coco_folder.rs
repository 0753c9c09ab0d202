//! A folder of pictures, with COCO's JSON or without.

use std::path::Path;

use super::{Dataset, DatasetError, DatasetNote, Form, Truth};
use crate::library::coco::{read_instances, AnnotationSource};
use crate::library::list_folder;

/// Lists the pictures: those that the annotations name, or without annotations all.
///
/// # Errors
/// [`DatasetError`].
pub fn open(
    images: &Path,
    annotations: Option<&Path>,
    skip_missing: bool,
) -> Result<Dataset, DatasetError> {
    let source = annotations.map(AnnotationSource::from);
    let instances = source.as_ref().map(read_instances).transpose()?;
    let truth = source.as_ref().zip(instances.as_ref());
    let (pictures, notes) = list_folder(images, truth, skip_missing)?;
    let name = images.file_name().unwrap_or(images.as_os_str());
    Ok(Dataset {
        name: name.to_string_lossy().into_owned(),
        form: match source {
            Some(_) => Form::CocoFolder,
            None => Form::Plain,
        },
        pictures,
        truth: instances.map(Truth::Coco),
        truth_source: source.map(|source| source.to_string()),
        notes: notes.into_iter().map(DatasetNote::Pictures).collect(),
    })
}
