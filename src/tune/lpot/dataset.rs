//! `dataloader` sections: which pictures, and what about them has no meaning here.

use std::path::PathBuf;

use super::fields::{Field, Section};
use super::{LpotError, Notes};

/// Pictures that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// A folder of pictures, or TFRecords.
    pub pictures: PathBuf,
    /// Their ground truth in COCO's form.
    pub annotations: Option<PathBuf>,
    /// The line of the data set's name, from one.
    pub line: usize,
}

/// Data sets with pictures that a detector can take.
const PICTURES: [&str; 7] = [
    "COCORaw",
    "COCORecord",
    "VOCRecord",
    "TFRecordDataset",
    "ImageRecord",
    "ImageFolder",
    "dummy",
];

/// Others that LPOT knows.
const OTHERS: [&str; 12] = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "FashionMNIST",
    "Imagenet",
    "ImagenetRaw",
    "COCONpy",
    "bert",
    "GLUE",
    "dummy_v2",
    "style_transfer",
    "sparse_dummy_v2",
];

/// Where the pictures and the ground truth lie below `root` unless the file says so: LPOT's.
const IMG_DIR: &str = "val2017";
const ANNO_DIR: &str = "annotations/instances_val2017.json";

/// Reads the `dataloader` of `section`.
pub fn read(section: &Section<'_>, notes: &mut Notes<'_>) -> Result<Option<Dataset>, LpotError> {
    let loader = section.section(
        "dataloader",
        &[
            "last_batch",
            "batch_size",
            "dataset",
            "filter",
            "transform",
            "shuffle",
            "distributed",
        ],
    )?;
    if let Some(field) = loader.field("batch_size") {
        if field.whole(1, u64::from(u32::MAX))? != 1 {
            notes.add(&field, "pictures run one at a time here");
        }
    }
    if let Some(field) = loader.field("last_batch") {
        field.word(&["rollover", "discard"])?;
        notes.add(&field, "pictures run one at a time here");
    }
    for key in ["filter", "transform"] {
        if let Some(field) = loader.field(key) {
            field.open_section()?;
            notes.add(
                &field,
                "the file that describes the model says how pictures are prepared",
            );
        }
    }
    notes.add_each(
        &loader,
        &["shuffle", "distributed"],
        "the seed alone decides about the order",
    );
    let known: Vec<&str> = PICTURES.into_iter().chain(OTHERS).collect();
    let sets = loader.section("dataset", &known)?;
    let mut found = None;
    for field in sets.fields() {
        if found.is_some() {
            return Err(field.refused("one data set at a time; keep one of them"));
        }
        found = Some(dataset(&field, notes)?);
    }
    Ok(found.flatten())
}

fn dataset(field: &Field<'_>, notes: &mut Notes<'_>) -> Result<Option<Dataset>, LpotError> {
    if !PICTURES.contains(&field.key) || field.key == "dummy" {
        notes.add(
            field,
            "no pictures for a detector: those of the command are taken",
        );
        return Ok(None);
    }
    let is_raw = field.key == "COCORaw";
    let known: &[&str] = if is_raw {
        &["root", "img_dir", "anno_dir", "anno", "num_cores"]
    } else {
        &["root", "anno", "num_cores"]
    };
    let section = field.section(known)?;
    section.not_both("anno_dir", "anno")?;
    notes.add_each(
        &section,
        &["num_cores"],
        "pictures are decoded on all cores",
    );
    let path = |key: &str| {
        let field = section.field(key);
        field.map(|field| field.text("a path")).transpose()
    };
    let root = PathBuf::from(section.needed("root")?.text("a path")?);
    let mut annotations = path("anno_dir")?
        .or(path("anno")?)
        .map(|own| root.join(own));
    let mut pictures = root.clone();
    if is_raw {
        pictures = root.join(path("img_dir")?.unwrap_or(IMG_DIR));
        annotations = annotations.or_else(|| Some(root.join(ANNO_DIR)));
    }
    Ok(Some(Dataset {
        pictures,
        annotations,
        line: field.line,
    }))
}
