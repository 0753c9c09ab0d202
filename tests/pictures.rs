//! Decoding and resizing are equal to Pillow, OpenCV and TensorFlow 1, byte for byte.
//!
//! The digests were computed by those (`tests/golden/pictures/README.md`), never by this crate.

use std::path::{Path, PathBuf};

use detbench::library::decode::{decode, read_size, Picture};
use detbench::library::preprocessing::Resize;
use detbench::library::resize::{Pixels, Resizer};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Digests<T> {
    pictures: Vec<T>,
}

#[derive(Deserialize)]
struct Golden {
    file: String,
    width: u32,
    height: u32,
    rgb: String,
    resized: Vec<Resized>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Resized {
    width: u32,
    height: u32,
    pillow_bilinear: String,
    opencv_linear: String,
    tf_bilinear: String,
}

#[derive(Deserialize)]
struct TestData {
    file: String,
    width: u32,
    height: u32,
    rgb: String,
    #[serde(rename = "pillow-bilinear-300x300")]
    pillow_bilinear: String,
    #[serde(rename = "opencv-linear-300x300")]
    opencv_linear: String,
}

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures")
}

fn digests<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(golden_folder().join(name)).unwrap();
    serde_json::from_str::<Digests<T>>(&text).unwrap().pictures
}

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn resized(method: Resize, width: u32, height: u32, picture: &Picture) -> String {
    match Resizer::new(method, width, height).resize(picture) {
        Pixels::U8(bytes) => digest(bytes),
        Pixels::F32(floats) => {
            let bytes = floats.iter().flat_map(|value| value.to_le_bytes());
            digest(&bytes.collect::<Vec<_>>())
        }
    }
}

#[test]
fn every_kind_of_golden_file_decodes_to_pillows_bytes() {
    let mut differing = Vec::new();
    for golden in digests::<Golden>("digests.json") {
        let bytes = std::fs::read(golden_folder().join(&golden.file)).unwrap();
        let picture = decode(&bytes).unwrap_or_else(|error| panic!("{}: {error}", golden.file));
        let size = (picture.width, picture.height);
        assert_eq!(size, (golden.width, golden.height), "{}", golden.file);
        assert_eq!(read_size(&bytes), Ok(size), "{}", golden.file);
        if digest(&picture.rgb) != golden.rgb {
            differing.push(golden.file);
        }
    }
    assert_eq!(differing, Vec::<String>::new());
}

#[test]
fn each_resize_equals_its_golden_origin_at_every_size() {
    let mut differing = Vec::new();
    for golden in digests::<Golden>("digests.json") {
        let bytes = std::fs::read(golden_folder().join(&golden.file)).unwrap();
        let picture = decode(&bytes).unwrap();
        for size in &golden.resized {
            for (method, expected) in [
                (Resize::PillowBilinear, &size.pillow_bilinear),
                (Resize::OpencvLinear, &size.opencv_linear),
                (Resize::TfBilinear, &size.tf_bilinear),
            ] {
                if resized(method, size.width, size.height, &picture) != *expected {
                    let (width, height) = (size.width, size.height);
                    differing.push(format!("{} {method:?} {width}x{height}", golden.file));
                }
            }
        }
    }
    assert_eq!(differing, Vec::<String>::new());
}

#[test]
fn real_photographs_are_equal_to_golden_digests_of_pillow_and_opencv() {
    let Some(data) = std::env::var_os("DETBENCH_TEST_DATA").map(PathBuf::from) else {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
        return;
    };
    let mut differing = Vec::new();
    for expected in digests::<TestData>("test_data_digests.json") {
        let bytes = std::fs::read(data.join(&expected.file)).unwrap();
        let picture = decode(&bytes).unwrap();
        assert_eq!(
            (picture.width, picture.height),
            (expected.width, expected.height)
        );
        for (what, found, wanted) in [
            ("decoded", digest(&picture.rgb), &expected.rgb),
            (
                "pillow",
                resized(Resize::PillowBilinear, 300, 300, &picture),
                &expected.pillow_bilinear,
            ),
            (
                "opencv",
                resized(Resize::OpencvLinear, 300, 300, &picture),
                &expected.opencv_linear,
            ),
        ] {
            if found != *wanted {
                differing.push(format!("{} {what}", expected.file));
            }
        }
    }
    assert_eq!(differing, Vec::<String>::new());
}
