//! What a data location holds: a folder of pictures, or the layout in which COCO is published.

use std::path::{Path, PathBuf};

use super::DialectError;

/// Pictures, and their annotations where they lie at the usual places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The folder of pictures.
    pub images: PathBuf,
    /// COCO's JSON.
    pub annotations: Option<PathBuf>,
}

/// Folders of pictures in a data location, the likeliest first.
const PICTURE_FOLDERS: [&str; 3] = ["val2017", "val2014", "images"];

/// Finds the pictures and annotations of a data location.
///
/// # Errors
/// [`DialectError::NoPictures`].
pub fn locate(location: &Path) -> Result<Located, DialectError> {
    let nothing = |found| DialectError::NoPictures {
        flag: "--data-location",
        path: location.to_owned(),
        found,
    };
    if !location.exists() {
        return Err(nothing("there is no such folder"));
    }
    if !location.is_dir() {
        return Err(nothing("it is a file"));
    }
    let inside = PICTURE_FOLDERS.map(|name| location.join(name));
    let mut candidates = std::iter::once(location.to_owned()).chain(inside);
    let Some(images) = candidates.find(|folder| holds(folder, is_picture)) else {
        return Err(nothing(if holds(location, is_tfrecord) {
            "it holds TFRecords, which are not read here"
        } else {
            "it holds no pictures"
        }));
    };
    let annotations = annotations_of(&images, location);
    Ok(Located {
        images,
        annotations,
    })
}

fn holds(folder: &Path, is_wanted: fn(&Path) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| is_wanted(&entry.path()))
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png"))
}

/// `coco_val.record`, `validation.tfrecord`, `val-00000-of-00005`.
fn is_tfrecord(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(".record") || name.contains(".tfrecord") || name.contains("-of-0")
}

/// `annotations/instances_FOLDER.json` beside or above the pictures, `annotations.json` or
/// `instances.json`.
fn annotations_of(images: &Path, location: &Path) -> Option<PathBuf> {
    let mut names: Vec<String> = PICTURE_FOLDERS
        .iter()
        .map(|name| format!("instances_{name}.json"))
        .collect();
    if let Some(own) = images.file_name() {
        names.insert(0, format!("instances_{}.json", own.to_string_lossy()));
    }
    names.extend(["annotations.json", "instances.json"].map(str::to_owned));
    let above = images.parent().unwrap_or(location);
    let roots = [location, above];
    let folders = roots
        .into_iter()
        .flat_map(|root| [root.join("annotations"), root.to_owned()]);
    let folders: Vec<PathBuf> = folders.collect();
    let mut candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        folder
    }

    #[test]
    fn cocos_layout_is_found_from_above_and_from_inside() {
        let files = ["val2017/1.jpg", "annotations/instances_val2017.json"];
        let coco = folder_with(&files);
        let expected = Located {
            images: coco.path().join("val2017"),
            annotations: Some(coco.path().join(files[1])),
        };
        assert_eq!(locate(coco.path()), Ok(expected.clone()));
        assert_eq!(locate(&coco.path().join("val2017")), Ok(expected));
    }

    #[test]
    fn a_plain_folder_has_pictures_and_no_annotations() {
        let plain = folder_with(&["a.PNG"]);
        let located = locate(plain.path()).unwrap();
        assert_eq!(
            (located.images.as_path(), located.annotations),
            (plain.path(), None)
        );
    }

    #[test]
    fn what_holds_no_pictures_is_refused_with_what_is_there() {
        let records = folder_with(&["val-00000-of-00005"]);
        let told = locate(records.path()).unwrap_err().to_string();
        assert!(told.contains("TFRecords"), "{told}");
        let told = locate(&records.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(told.contains("no such folder"), "{told}");
        let empty = folder_with(&[]);
        assert!(locate(empty.path()).is_err());
    }
}
