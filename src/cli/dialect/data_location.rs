//! What a data location holds, in the words of a dialect.

use std::path::{Path, PathBuf};

use super::DialectError;
use crate::dataset;

/// A data set at a data location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// What `--dataset` takes.
    pub dataset: PathBuf,
    /// Whether a ground truth lies with it. Records may hold one; that shows when they are read.
    pub may_have_truth: bool,
}

/// Looks at a data location: COCO's or VOC's folders, TFRecords, or a folder of pictures.
///
/// # Errors
/// [`DialectError::DataLocation`].
pub fn locate(location: &Path) -> Result<Located, DialectError> {
    let located = dataset::locate(location, None);
    let located = located.map_err(|error| DialectError::DataLocation {
        reason: error.to_string(),
    })?;
    Ok(Located {
        dataset: location.to_owned(),
        may_have_truth: located.may_have_truth(),
    })
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
    fn any_data_set_is_taken_and_its_truth_seen() {
        for (files, may_have_truth) in [
            (
                &["val2017/1.jpg", "annotations/instances_val2017.json"][..],
                true,
            ),
            (&["val-00000-of-00005"], true),
            (&["Annotations/a.xml", "JPEGImages/a.jpg"], true),
            (&["a.PNG"], false),
        ] {
            let folder = folder_with(files);
            let expected = Located {
                dataset: folder.path().to_owned(),
                may_have_truth,
            };
            assert_eq!(locate(folder.path()), Ok(expected), "{files:?}");
        }
    }

    #[test]
    fn what_holds_no_pictures_is_refused_with_what_is_there() {
        let empty = folder_with(&[]);
        let told = locate(&empty.path().join("none")).unwrap_err().to_string();
        assert!(
            told.starts_with("--data-location ") && told.contains("no such file or folder"),
            "{told}"
        );
        assert!(locate(empty.path()).is_err());
    }
}
