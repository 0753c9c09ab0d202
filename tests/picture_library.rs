//! Opening and loading folders of pictures, as a user meets it.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use detbench::library::coco::AnnotationSource;
use detbench::library::decode::decode;
use detbench::library::photos::{open_photos, PHOTOS};
use detbench::library::preprocessing::{ColorOrder, ElementType, Layout, Preprocessing, Resize};
use detbench::library::{
    LibraryError, LibraryOptions, Note, PictureLibrary, Preprocessor, SampleLibrary, SampleMut,
};
use detbench::tensor::TensorData;
use detbench::units::SampleIndex;
use tempfile::TempDir;

fn bytes_of_300() -> Preprocessing {
    Preprocessing {
        height: 300,
        width: 300,
        element: ElementType::U8,
        layout: Layout::Nhwc,
        color: ColorOrder::Rgb,
        resize: Resize::PillowBilinear,
        mean: [0.0; 3],
        scale: [1.0; 3],
    }
}

fn options() -> LibraryOptions {
    LibraryOptions {
        threads: NonZeroUsize::new(2).unwrap(),
        ..LibraryOptions::default()
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/pictures")
        .join(name)
}

/// A folder with copies of golden pictures under the given names.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(golden(source), path).unwrap();
    }
    folder
}

/// A folder of two pictures: `b.jpg` is 45x37 and `a.png` is 23x19.
fn two() -> TempDir {
    folder(&[("b.jpg", "baseline_420.jpg"), ("a.png", "rgb_8.png")])
}

fn annotations(folder: &TempDir, images: &str) -> AnnotationSource {
    let path = folder.path().join("labels.json");
    let text = format!(
        r#"{{"images": [{images}], "annotations": [
            {{"id": 1, "image_id": 5, "category_id": 3, "bbox": [0, 0, 2, 2]}},
            {{"id": 2, "image_id": 99, "category_id": 3, "bbox": [0, 0, 2, 2]}}
        ], "categories": [{{"id": 3, "name": "car"}}]}}"#
    );
    fs::write(&path, text).unwrap();
    path.as_path().into()
}

fn open(
    folder: &TempDir,
    annotations: Option<AnnotationSource>,
    options: LibraryOptions,
) -> Result<(PictureLibrary, Vec<Note>), LibraryError> {
    PictureLibrary::open(folder.path(), annotations, bytes_of_300(), options)
}

fn names(library: &PictureLibrary) -> Vec<(&str, i64)> {
    let pictures = library.pictures().iter();
    let names = pictures.map(|picture| (picture.file_name.as_str(), picture.image_id));
    names.collect()
}

#[test]
fn pictures_come_in_the_order_of_the_annotations_with_golden_pictures() {
    let folder = two();
    let images = r#"{"id": 5, "file_name": "b.jpg", "width": 45, "height": 37},
                    {"id": 2, "file_name": "a.png", "width": 23, "height": 19}"#;
    let labels = annotations(&folder, images);
    let (library, notes) = open(&folder, Some(labels.clone()), options()).unwrap();
    assert_eq!(names(&library), [("b.jpg", 5), ("a.png", 2)]);
    assert_eq!(library.annotations(), Some(&labels));
    assert_eq!(notes, [Note::DanglingAnnotations { count: 1 }]);
}

#[test]
fn without_annotations_pictures_are_sorted_by_name_with_golden_pictures() {
    let folder = two();
    fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    fs::write(folder.path().join("._a.png"), "another system's leftovers").unwrap();
    let (library, notes) = open(&folder, None, options()).unwrap();
    assert_eq!(names(&library), [("a.png", 1), ("b.jpg", 2)]);
    assert_eq!(
        (library.pictures()[1].width, library.pictures()[1].height),
        (45, 37)
    );
    assert!(library.annotations().is_none() && notes.is_empty());
}

#[test]
fn missing_pictures_are_an_error_that_names_them_unless_they_may_be_skipped_with_golden_pictures() {
    let folder = two();
    let images = r#"{"id": 1, "file_name": "x.jpg"}, {"id": 5, "file_name": "b.jpg"},
                    {"id": 7, "file_name": "y.jpg"}"#;
    let labels = annotations(&folder, images);
    let message = open(&folder, Some(labels.clone()), options())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("labels.json: 2 of its 3 pictures are not in"),
        "{message}"
    );
    assert!(
        message.contains("x.jpg, y.jpg; fetch them or pass --skip-missing"),
        "{message}"
    );
    let skipping = LibraryOptions {
        skip_missing: true,
        ..options()
    };
    let (library, notes) = open(&folder, Some(labels), skipping).unwrap();
    assert_eq!(names(&library), [("b.jpg", 5)]);
    let texts: Vec<_> = notes.iter().map(ToString::to_string).collect();
    assert!(
        texts[0].contains("2 pictures of the annotations are missing"),
        "{texts:?}"
    );
    assert!(
        texts[1].contains("1 pictures in the folder are not in the annotations"),
        "{texts:?}"
    );
}

#[test]
fn another_size_than_the_annotations_give_is_noted_with_golden_pictures() {
    let folder = two();
    let images = r#"{"id": 5, "file_name": "b.jpg", "width": 37, "height": 45},
                    {"id": 2, "file_name": "a.png"}"#;
    let labels = annotations(&folder, images);
    let (library, notes) = open(&folder, Some(labels), options()).unwrap();
    assert_eq!(library.pictures()[0].width, 37);
    assert_eq!(library.pictures()[1].width, 23);
    let text = notes[1].to_string();
    assert!(
        text.contains("b.jpg (37x45 in the annotations, 45x37 in the file)"),
        "{text}"
    );
}

#[test]
fn a_wrong_extension_is_read_by_content_and_noted_with_golden_pictures() {
    let folder = folder(&[("a.jpg", "rgb_8.png"), ("b.PNG", "rgb_8.png")]);
    let (_, notes) = open(&folder, None, options()).unwrap();
    let pictures = vec!["a.jpg".to_owned()];
    assert_eq!(notes, [Note::WrongExtension { pictures }]);
}

#[test]
fn broken_and_absent_things_are_named_with_golden_pictures() {
    let folder = two();
    fs::write(folder.path().join("c.jpg"), "").unwrap();
    let message = open(&folder, None, options()).unwrap_err().to_string();
    assert!(message.contains("c.jpg: the file is empty"), "{message}");
    fs::write(folder.path().join("c.jpg"), "<html>").unwrap();
    let message = open(&folder, None, options()).unwrap_err().to_string();
    assert!(
        message.contains("c.jpg: it is neither JPEG nor PNG"),
        "{message}"
    );

    let nothing = tempfile::tempdir().unwrap();
    let message = open(&nothing, None, options()).unwrap_err().to_string();
    assert!(
        message.contains("no JPEG or PNG pictures in this folder"),
        "{message}"
    );
    let absent = nothing.path().join("absent");
    let error = PictureLibrary::open(&absent, None, bytes_of_300(), options()).unwrap_err();
    assert!(error.to_string().contains("absent: "), "{error}");
    let labels = Some(AnnotationSource::File(absent.join("labels.json")));
    let error = open(&two(), labels, options()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("give a COCO instances JSON file"),
        "{error}"
    );
}

#[test]
fn the_first_broken_picture_is_named_whatever_the_threads_do_with_golden_pictures() {
    let files: Vec<_> = (10..40).map(|number| format!("{number}.jpg")).collect();
    let copies: Vec<_> = files
        .iter()
        .map(|name| (name.as_str(), "baseline_420.jpg"))
        .collect();
    let folder = folder(&copies);
    let (library, _) = open(&folder, None, options()).unwrap();
    // The second thread begins about the middle and meets the second broken file first.
    for broken in ["24.jpg", "25.jpg", "38.jpg"] {
        let path = folder.path().join(broken);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    }
    let all: Vec<_> = (0..30).rev().map(SampleIndex).collect();
    for _ in 0..10 {
        let error = library.load(&all, &|_| ()).unwrap_err().to_string();
        assert!(
            error.contains("24.jpg: the JPEG file ends early"),
            "{error}"
        );
    }
}

#[test]
fn loaded_samples_are_the_decoded_and_resized_pictures_with_golden_pictures() {
    let folder = two();
    let limited = LibraryOptions {
        performance_count: NonZeroUsize::new(1),
        ..options()
    };
    let (library, _) = open(&folder, None, limited).unwrap();
    assert_eq!((library.total_count(), library.performance_count()), (2, 1));
    let progress = AtomicUsize::new(0);
    let last = SampleIndex(1);
    let loaded = library
        .load(&[last, last], &|done| {
            progress.fetch_max(done, Ordering::Relaxed);
        })
        .unwrap();
    assert_eq!(progress.into_inner(), 1);
    assert!(loaded.contains(last) && !loaded.contains(SampleIndex(0)));
    assert_eq!(loaded.indices(), [last]);
    assert_eq!(loaded.picture_size(last), (45, 37));
    assert_eq!(loaded.size_bytes(), 270_000);

    let encoded = library.load_encoded(&[last], &|_| ()).unwrap();
    let file = fs::read(golden("baseline_420.jpg")).unwrap();
    assert_eq!(encoded.file(last), file);
    let mut out = vec![0; 270_000];
    let mut preprocessor = Preprocessor::new(&bytes_of_300());
    preprocessor.prepare(&decode(&file).unwrap(), SampleMut::U8(&mut out));
    let tensor = loaded.tensor(last);
    assert_eq!(tensor.shape, [1, 300, 300, 3]);
    assert_eq!(tensor.data, TensorData::U8(&out));
}

#[test]
#[should_panic(expected = "sample 0 was not loaded")]
fn a_sample_that_was_not_loaded_is_a_bug_with_golden_pictures() {
    let (library, _) = open(&two(), None, options()).unwrap();
    let _ = library.load(&[], &|_| ()).unwrap().tensor(SampleIndex(0));
}

#[test]
fn the_photos_open_without_a_note_about_them() {
    let Some(data) = std::env::var_os("DETBENCH_TEST_DATA") else {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
        return;
    };
    let folder = Path::new(&data).join("photos");
    let (library, notes) = open_photos(&folder, bytes_of_300(), options()).unwrap();
    assert_eq!(library.total_count(), PHOTOS.len());
    // The folder holds other pictures too.
    assert!(notes
        .iter()
        .all(|note| matches!(note, Note::NotAnnotated { .. })));
}

#[test]
fn all_of_a_coco_set_loads_in_its_order() {
    let Some(data) = std::env::var_os("DETBENCH_TEST_DATA") else {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
        return;
    };
    let set = Path::new(&data).join("coco/cocomini_val2017_79");
    let is_json = |path: &PathBuf| path.extension().is_some_and(|found| found == "json");
    let mut entries = fs::read_dir(&set)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let labels = entries.find(is_json).unwrap();
    let (library, notes) = PictureLibrary::open(
        &set.join("images"),
        Some(labels.as_path().into()),
        bytes_of_300(),
        options(),
    )
    .unwrap();
    assert_eq!((library.total_count(), notes), (79, vec![]));
    let all: Vec<_> = (0..79).map(SampleIndex).collect();
    let loaded = library.load(&all, &|_| ()).unwrap();
    for (&index, picture) in all.iter().zip(library.pictures()) {
        assert_eq!(loaded.picture_size(index), (picture.width, picture.height));
    }
}
