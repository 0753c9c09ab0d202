//! The default pictures: five photographs that anybody can fetch, labelled by hand.
//!
//! They lie in the `PyPI` wheel of scikit-image 0.26.0, under `skimage/data/`. According to that
//! package they are free of known copyright restrictions (astronaut: NASA, public domain; camera,
//! chelsea, coffee: CC0), except that the motorcycle is from the Middlebury 2014 stereo benchmark
//! (Scharstein et al., GCPR 2014), whose authors state no licence. The labels are part of this
//! package. Five pictures show that a model and its post-processing work; they do not rank models.

use std::path::Path;

use super::coco::AnnotationSource;
use super::preprocessing::Preprocessing;
use super::{LibraryError, LibraryOptions, Note, PictureLibrary};

/// The labels as COCO instances JSON: 80 categories with COCO's ids, areas are those of the boxes.
pub const PHOTOS_ANNOTATIONS: &str = include_str!("../../configs/pictures/photos.json");

/// A file of the set, for fetching and verifying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhotoFile {
    /// The file's name, in the set's folder and in `skimage/data/` of the wheel.
    pub file_name: &'static str,
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

/// The files of the set, in the order of the labels.
pub const PHOTOS: [PhotoFile; 5] = [
    PhotoFile {
        file_name: "astronaut.png",
        size_bytes: 791_555,
        sha256: "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    },
    PhotoFile {
        file_name: "camera.png",
        size_bytes: 139_512,
        sha256: "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    },
    PhotoFile {
        file_name: "chelsea.png",
        size_bytes: 240_512,
        sha256: "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    },
    PhotoFile {
        file_name: "coffee.png",
        size_bytes: 466_706,
        sha256: "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    },
    PhotoFile {
        file_name: "motorcycle_left.png",
        size_bytes: 644_701,
        sha256: "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    },
];

/// The compiled-in labels as a source of annotations.
pub const fn photos_annotations() -> AnnotationSource {
    AnnotationSource::BuiltIn {
        name: "the built-in labels of the photos",
        text: PHOTOS_ANNOTATIONS,
    }
}

/// Opens the set in `folder`, where the files of [`PHOTOS`] have been fetched to.
///
/// # Errors
/// As [`PictureLibrary::open`].
pub fn open_photos(
    folder: &Path,
    preprocessing: Preprocessing,
    options: LibraryOptions,
) -> Result<(PictureLibrary, Vec<Note>), LibraryError> {
    PictureLibrary::open(folder, Some(photos_annotations()), preprocessing, options)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sha2::{Digest, Sha256};

    use super::super::coco::read_instances;
    use super::*;

    #[test]
    fn the_labels_name_the_files_in_order_and_boxes_lie_inside() {
        let labels = read_instances(&photos_annotations()).unwrap();
        let named = labels.images.iter().map(|image| image.file_name.as_str());
        assert!(named.eq(PHOTOS.iter().map(|file| file.file_name)));
        assert_eq!(labels.categories.len(), 80);
        let categories: BTreeSet<_> = labels.categories.iter().map(|class| class.id).collect();
        for (id, found) in (1..).zip(&labels.annotations) {
            assert_eq!(
                found.id, id,
                "ids count from one: zero is special to pycocotools"
            );
            assert!(categories.contains(&found.category_id));
            let image = labels
                .images
                .iter()
                .find(|image| image.id == found.image_id);
            let (width, height) = image.unwrap().size.unwrap();
            let [x, y, box_width, box_height] = found.bbox;
            assert!(x >= 0.0 && y >= 0.0 && box_width > 0.0 && box_height > 0.0);
            assert!(x + box_width <= f64::from(width) && y + box_height <= f64::from(height));
            assert_eq!(found.area, Some(box_width * box_height));
        }
    }

    #[test]
    fn sizes_and_sums_are_those_of_the_published_files() {
        let Some(data) = std::env::var_os("DETBENCH_TEST_DATA") else {
            eprintln!("skipped: DETBENCH_TEST_DATA is not set");
            return;
        };
        for file in PHOTOS {
            let bytes = std::fs::read(Path::new(&data).join("photos").join(file.file_name));
            let bytes = bytes.unwrap();
            assert_eq!(bytes.len() as u64, file.size_bytes);
            let sum = format!("{:x}", Sha256::digest(&bytes));
            assert_eq!(sum, file.sha256, "{}", file.file_name);
        }
    }
}
