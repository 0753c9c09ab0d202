//! Pascal VOC as it is published: `Annotations/NAME.xml`, `JPEGImages/NAME.jpg`, and lists of names in `ImageSets/Main`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{voc_name, Dataset, DatasetError, DatasetNote, Form, Request, Truth};
use crate::accuracy::voc::{read_annotations, read_image_names};
use crate::library::{ids_by_name, ListedPicture, Place};

/// The folder of the pictures.
pub const PICTURES: &str = "JPEGImages";

/// The folder of the XML files.
pub const ANNOTATIONS: &str = "Annotations";

/// Lists the pictures that have annotations, sorted by name, or those of `ImageSets/Main/SPLIT.txt` in its order.
///
/// # Errors
/// [`DatasetError`].
pub fn open(root: &Path, request: &Request<'_>) -> Result<Dataset, DatasetError> {
    let names = match request.split {
        None => None,
        Some(split) => Some(listed_names(root, split)?),
    };
    let (names, mut objects) = read_annotations(root, names)?;
    let files = picture_files(&root.join(PICTURES))?;
    let ids = ids_by_name(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut missing = Vec::new();
    let mut pictures = Vec::with_capacity(names.len());
    for (name, image_id) in names.iter().zip(ids) {
        match files.get(name) {
            Some(file_name) => pictures.push(ListedPicture {
                file_name: file_name.clone(),
                place: Place::File(root.join(PICTURES).join(file_name)),
                image_id,
                size: None,
            }),
            None => missing.push(name.clone()),
        }
    }
    let mut notes = Vec::new();
    if let Some(first) = missing.first() {
        if !request.skip_missing || pictures.is_empty() {
            return Err(DatasetError::MissingPictures {
                root: root.to_owned(),
                missing: missing.len(),
                first: first.clone(),
                total: names.len(),
            });
        }
        notes.push(DatasetNote::SkippedPictures {
            count: missing.len(),
        });
        missing.sort_unstable();
        objects.retain(|object| missing.binary_search(&object.image).is_err());
    }
    let name = root.file_name().unwrap_or(root.as_os_str());
    let name = name.to_string_lossy();
    Ok(Dataset {
        name: match request.split {
            Some(split) => format!("{name} {split}"),
            None => name.into_owned(),
        },
        form: Form::VocFolder,
        pictures,
        truth: Some(Truth::Voc(objects)),
        truth_source: Some(root.join(ANNOTATIONS).display().to_string()),
        notes,
    })
}

/// The names in `ImageSets/Main/SPLIT.txt`.
fn listed_names(root: &Path, split: &str) -> Result<Vec<String>, DatasetError> {
    let lists = root.join("ImageSets").join("Main");
    let known = split_names(&lists);
    if !known.iter().any(|name| name == split) {
        return Err(DatasetError::NoSplit {
            path: root.to_owned(),
            split: split.to_owned(),
            found: if known.is_empty() {
                vec!["no lists in ImageSets/Main".to_owned()]
            } else {
                known
            },
        });
    }
    Ok(read_image_names(&lists.join(format!("{split}.txt")))?)
}

/// The lists of pictures; those of single classes (`dog_test`) are left out.
fn split_names(lists: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(lists) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let stem = name.strip_suffix(".txt")?;
        (!stem.contains('_')).then(|| stem.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// The pictures' files by their names without extension.
fn picture_files(folder: &Path) -> Result<BTreeMap<String, String>, DatasetError> {
    let failed = |source| DatasetError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name
            .to_str()
            .filter(|name| super::locate::is_picture(Path::new(name)))
        {
            files.insert(voc_name(name).to_owned(), name.to_owned());
        }
    }
    Ok(files)
}
