//! What a path holds: pictures, COCO's or VOC's layout, or TFRecords.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::records::shard::Shard;
use super::{voc_folder, DatasetError};

/// A data set by where its parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// A folder of pictures, and COCO's JSON where it lies at one of the usual places.
    Pictures {
        /// The folder.
        images: PathBuf,
        /// The JSON.
        annotations: Option<PathBuf>,
    },
    /// VOC's layout.
    Voc {
        /// The folder that holds `Annotations` and `JPEGImages`.
        root: PathBuf,
    },
    /// TFRecords, and COCO's JSON where it lies beside them.
    Records {
        /// What they are called: `val` of `val-00000-of-00005`.
        name: String,
        /// The files, in their order.
        files: Vec<PathBuf>,
        /// Shards that should be there, by file name.
        missing: Vec<String>,
        /// The JSON.
        annotations: Option<PathBuf>,
    },
}

/// Folders of pictures in a COCO folder, the likeliest first.
const PICTURE_FOLDERS: [&str; 3] = ["val2017", "val2014", "images"];

/// Finds the parts of a data set.
///
/// # Errors
/// [`DatasetError::NoDataset`], [`DatasetError::Several`], [`DatasetError::NoSplit`].
pub fn locate(path: &Path, split: Option<&str>) -> Result<Located, DatasetError> {
    let nothing = |found| {
        Err(DatasetError::NoDataset {
            path: path.to_owned(),
            found,
        })
    };
    if path.is_file() {
        return if is_picture(path)
            || path
                .extension()
                .is_some_and(|extension| extension == "json")
        {
            nothing("it is a picture or a JSON file and no data set")
        } else {
            Ok(Located::Records {
                name: name_of(path),
                files: vec![path.to_owned()],
                missing: Vec::new(),
                annotations: None,
            })
        };
    }
    if !path.is_dir() {
        return nothing("there is no such file or folder");
    }
    if let Some(root) = voc_root(path)? {
        return Ok(Located::Voc { root });
    }
    if let Some(pictures) = pictures_in(path, split)? {
        return Ok(pictures);
    }
    match records_in(path, split)? {
        Some(records) => Ok(records),
        None => nothing("it holds no pictures and no TFRecords"),
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The folder itself, `VOCdevkit`, or the only `VOC2007` or `VOC2012` in it.
fn voc_root(path: &Path) -> Result<Option<PathBuf>, DatasetError> {
    let is_root = |folder: &Path| {
        folder.join(voc_folder::ANNOTATIONS).is_dir() && folder.join(voc_folder::PICTURES).is_dir()
    };
    if is_root(path) {
        return Ok(Some(path.to_owned()));
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for parent in [path.to_owned(), path.join("VOCdevkit")] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        found.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|folder| is_root(folder)),
        );
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => {
            let folder = path.to_owned();
            let mut names: Vec<String> = found
                .iter()
                .map(|root| root.display().to_string())
                .collect();
            names.sort_unstable();
            Err(DatasetError::Several {
                path: folder,
                found: names,
            })
        }
    }
}

/// A folder of pictures: the one named by `split`, the path itself, or one of the usual ones inside.
fn pictures_in(path: &Path, split: Option<&str>) -> Result<Option<Located>, DatasetError> {
    let candidates: Vec<PathBuf> = match split {
        // A part may not lead out of the data set.
        Some(split) if Path::new(split).file_name() == Some(split.as_ref()) => {
            vec![path.join(split)]
        }
        Some(_) => Vec::new(),
        None => std::iter::once(path.to_owned())
            .chain(PICTURE_FOLDERS.map(|name| path.join(name)))
            .collect(),
    };
    let holds = |folder: &PathBuf| holds(folder, is_picture);
    let images = match candidates.into_iter().find(holds) {
        Some(images) => images,
        None if split.is_some() => {
            let others: Vec<String> = PICTURE_FOLDERS
                .iter()
                .filter(|name| holds(&path.join(name)))
                .map(|name| (*name).to_owned())
                .collect();
            return match (split, others.is_empty()) {
                (Some(split), false) => Err(DatasetError::NoSplit {
                    path: path.to_owned(),
                    split: split.to_owned(),
                    found: others,
                }),
                _ => Ok(None),
            };
        }
        None => return Ok(None),
    };
    let annotations = annotations_of(&images, path);
    Ok(Some(Located::Pictures {
        images,
        annotations,
    }))
}

fn holds(folder: &Path, is_wanted: fn(&Path) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| is_wanted(&entry.path()))
}

/// Whether a file's name is a picture's. Hidden files are none: some systems leave a `._a.jpg` beside each `a.jpg`.
pub fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase);
    let name = path.file_name().and_then(|name| name.to_str());
    matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png"))
        && name.is_some_and(|name| !name.starts_with('.'))
}

/// `annotations/instances_FOLDER.json` beside or above the pictures, `annotations.json` or
/// `instances.json`.
fn annotations_of(images: &Path, location: &Path) -> Option<PathBuf> {
    let mut names: Vec<String> = Vec::new();
    if let Some(own) = images.file_name() {
        names.push(format!("instances_{}.json", own.to_string_lossy()));
    }
    names.extend(PICTURE_FOLDERS.map(|name| format!("instances_{name}.json")));
    names.extend(["annotations.json", "instances.json"].map(str::to_owned));
    let above = images.parent().unwrap_or(location);
    let roots = [location, above];
    let folders: Vec<PathBuf> = roots
        .into_iter()
        .flat_map(|root| [root.join("annotations"), root.to_owned()])
        .collect();
    let mut candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.find(|file| file.is_file())
}

/// The records of a folder: those of `split`, the only ones, or those whose name begins with `val`.
fn records_in(path: &Path, split: Option<&str>) -> Result<Option<Located>, DatasetError> {
    let mut sets: BTreeMap<String, Vec<(Shard, PathBuf)>> = BTreeMap::new();
    let entries = std::fs::read_dir(path).map_err(|source| DatasetError::Folder {
        path: path.to_owned(),
        source,
    })?;
    for file in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| file.is_file())
    {
        if let Some(shard) = file
            .file_name()
            .and_then(|name| Shard::parse(name.to_str()?))
        {
            sets.entry(shard.set.clone())
                .or_default()
                .push((shard, file));
        }
    }
    if sets.is_empty() {
        return Ok(None);
    }
    let found: Vec<String> = sets.keys().cloned().collect();
    let is_meant = |set: &str| match split {
        Some(split) => set == split,
        None => found.len() == 1 || set.starts_with("val"),
    };
    let meant: Vec<&String> = found.iter().filter(|set| is_meant(set)).collect();
    let name = match (meant.as_slice(), split) {
        ([one], _) => (*one).clone(),
        (_, Some(split)) => {
            return Err(DatasetError::NoSplit {
                path: path.to_owned(),
                split: split.to_owned(),
                found,
            })
        }
        (_, None) => {
            return Err(DatasetError::Several {
                path: path.to_owned(),
                found,
            })
        }
    };
    let mut shards = sets.remove(&name).expect("it is one of the keys");
    shards.sort();
    let missing = Shard::missing(shards.iter().map(|(shard, _)| shard));
    let annotations = annotations_of(&path.join(&name), path);
    Ok(Some(Located::Records {
        name,
        files: shards.into_iter().map(|(_, file)| file).collect(),
        missing,
        annotations,
    }))
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

    fn told(path: &Path, split: Option<&str>) -> String {
        locate(path, split).unwrap_err().to_string()
    }

    #[test]
    fn cocos_layout_is_found_from_above_and_from_inside() {
        let files = [
            "val2017/1.jpg",
            "annotations/instances_val2017.json",
            "val2014/1.jpg",
            "annotations/instances_val2014.json",
        ];
        let coco = folder_with(&files);
        let expected = |part: &str| Located::Pictures {
            images: coco.path().join(part),
            annotations: Some(
                coco.path()
                    .join(format!("annotations/instances_{part}.json")),
            ),
        };
        let (root, inside) = (coco.path(), coco.path().join("val2014"));
        assert_eq!(locate(root, None).unwrap(), expected("val2017"));
        assert_eq!(locate(root, Some("val2014")).unwrap(), expected("val2014"));
        assert_eq!(locate(&inside, None).unwrap(), expected("val2014"));
        let told = told(root, Some("test2017"));
        assert!(
            told.ends_with("has no such part; it has val2017, val2014"),
            "{told}"
        );
    }

    #[test]
    fn a_plain_folder_has_pictures_and_no_annotations() {
        let plain = folder_with(&["a.PNG", "._b.jpg"]);
        let located = locate(plain.path(), None).unwrap();
        let images = plain.path().to_owned();
        assert_eq!(
            located,
            Located::Pictures {
                images,
                annotations: None
            }
        );
    }

    #[test]
    fn vocs_layout_is_found_in_the_development_kit() {
        let files = ["VOC2012/Annotations/a.xml", "VOC2012/JPEGImages/a.jpg"];
        let voc = folder_with(&files);
        let root = voc.path().join("VOC2012");
        let expected = Located::Voc { root: root.clone() };
        assert_eq!(locate(voc.path(), None).unwrap(), expected);
        assert_eq!(locate(&root, Some("test")).unwrap(), expected);
        let kit = folder_with(
            &files
                .map(|file| ["VOCdevkit", file].join("/"))
                .each_ref()
                .map(String::as_str),
        );
        assert_eq!(
            locate(kit.path(), None).unwrap(),
            Located::Voc {
                root: kit.path().join("VOCdevkit/VOC2012")
            }
        );
    }

    #[test]
    fn shards_come_in_order_and_missing_ones_are_named() {
        let records = folder_with(&[
            "val-00001-of-00003",
            "val-00000-of-00003",
            "train-00000-of-00001",
            "instances_val2017.json",
        ]);
        let path = |name: &str| records.path().join(name);
        let located = locate(records.path(), None).unwrap();
        let expected = Located::Records {
            name: "val".to_owned(),
            files: vec![path("val-00000-of-00003"), path("val-00001-of-00003")],
            missing: vec!["val-00002-of-00003".to_owned()],
            annotations: Some(path("instances_val2017.json")),
        };
        assert_eq!(located, expected);
        assert!(locate(records.path(), Some("train")).is_ok());
        let told = told(records.path(), Some("test"));
        assert!(told.ends_with("it has train, val"), "{told}");
        let single = locate(&path("val-00001-of-00003"), None).unwrap();
        assert!(matches!(single, Located::Records { files, .. } if files.len() == 1));
        let two = folder_with(&["a.record", "b.tfrecord"]);
        assert!(locate(two.path(), None)
            .unwrap_err()
            .to_string()
            .contains("it holds a, b; pass --split"));
    }

    #[test]
    fn what_holds_no_pictures_is_refused_with_what_is_there() {
        let empty = folder_with(&["labels.json", "a.jpg"]);
        assert!(told(&empty.path().join("none"), None).contains("no such file or folder"));
        assert!(told(&empty.path().join("labels.json"), None).contains("a JSON file"));
        assert!(told(&empty.path().join("a.jpg"), None).contains("it is a picture"));
        assert!(told(folder_with(&[]).path(), None).contains("no pictures and no TFRecords"));
    }
}
