//! COCO "instances" annotations: which pictures there are, and what the labels are called.
//!
//! Scores are computed elsewhere, from the same text; here it is read strictly enough that a
//! broken file is named before anything is measured.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Where annotations come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnnotationSource {
    /// A file.
    File(PathBuf),
    /// Labels that are compiled into the program.
    BuiltIn {
        /// What messages call them.
        name: &'static str,
        /// The JSON.
        text: &'static str,
    },
}

impl AnnotationSource {
    /// The JSON itself.
    ///
    /// # Errors
    /// [`CocoError::Read`].
    pub fn text(&self) -> Result<String, CocoError> {
        match self {
            Self::File(path) => fs::read_to_string(path).map_err(|source| CocoError::Read {
                path: path.clone(),
                source,
            }),
            Self::BuiltIn { text, .. } => Ok((*text).to_owned()),
        }
    }
}

impl fmt::Display for AnnotationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn { name, .. } => f.write_str(name),
        }
    }
}

impl From<&Path> for AnnotationSource {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

/// Why annotations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CocoError {
    /// The file cannot be read, or is not UTF-8.
    #[error("{}: {source}; give a COCO instances JSON file", path.display())]
    Read {
        /// The annotations file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not JSON, or not of COCO's shape; the message says line and column.
    #[error("{annotations}: {source}; it must be a COCO instances JSON file")]
    Syntax {
        /// The annotations.
        annotations: String,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
    /// An id that is a string, a float or anything else but a whole number.
    #[error("{annotations}: {list}[{position}].{key} is {found}; ids must be whole numbers")]
    Id {
        /// The annotations.
        annotations: String,
        /// `images`, `annotations` or `categories`.
        list: &'static str,
        /// Position in the list, from zero.
        position: usize,
        /// `id`, `image_id` or `category_id`.
        key: &'static str,
        /// What is there instead.
        found: String,
    },
    /// Two pictures, boxes or classes have the same id.
    #[error(
        "{annotations}: {list}[{first}] and {list}[{second}] both have id {id}; ids must be unique"
    )]
    DuplicateId {
        /// The annotations.
        annotations: String,
        /// `images`, `annotations` or `categories`.
        list: &'static str,
        /// The id.
        id: i64,
        /// Position of the first, from zero.
        first: usize,
        /// Position of the second.
        second: usize,
    },
    /// A file name that leads out of the pictures' folder.
    #[error("{annotations}: images[{position}].file_name is {file_name:?}; it must be a path inside the pictures' folder")]
    FileName {
        /// The annotations.
        annotations: String,
        /// Position in `images`, from zero.
        position: usize,
        /// What is there.
        file_name: String,
    },
    /// The list of pictures is empty.
    #[error("{annotations}: its \"images\" list is empty; give annotations that name pictures")]
    NoImages {
        /// The annotations.
        annotations: String,
    },
}

/// A COCO instances file.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoInstances {
    /// The pictures, in file order.
    pub images: Vec<CocoImage>,
    /// The boxes, in file order.
    pub annotations: Vec<CocoAnnotation>,
    /// The classes, in file order.
    pub categories: Vec<CocoCategory>,
}

/// A picture of a COCO file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CocoImage {
    /// Unique in the file.
    pub id: i64,
    /// Relative to the pictures' folder.
    pub file_name: String,
    /// Width and height in pixels, where both are given.
    pub size: Option<(u32, u32)>,
}

/// A labelled box of a COCO file.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoAnnotation {
    /// The box's own id.
    pub id: i64,
    /// The picture it is in.
    pub image_id: i64,
    /// Its class.
    pub category_id: i64,
    /// `x, y, width, height` in pixels from the upper left corner.
    pub bbox: [f64; 4],
    /// Area of the object in pixels, where given.
    pub area: Option<f64>,
    /// Whether the box covers a crowd; absent means no.
    pub is_crowd: bool,
}

/// A class of a COCO file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CocoCategory {
    /// The class's id: 1..=90 with gaps in COCO itself.
    pub id: i64,
    /// What people call it.
    pub name: String,
}

/// Reads annotations.
///
/// # Errors
/// See [`CocoError`].
pub fn read_instances(source: &AnnotationSource) -> Result<CocoInstances, CocoError> {
    parse_instances(&source.text()?, &source.to_string())
}

/// Parses the text of annotations; `annotations` is what messages call them.
///
/// # Errors
/// See [`CocoError`].
pub fn parse_instances(text: &str, annotations: &str) -> Result<CocoInstances, CocoError> {
    let file: File = serde_json::from_str(text).map_err(|source| CocoError::Syntax {
        annotations: annotations.to_owned(),
        source,
    })?;
    let images = images(file.images, annotations)?;
    let boxes = file.annotations.into_iter().enumerate();
    let mut seen = Seen::new(annotations, "annotations");
    let boxes = boxes.map(|(position, raw)| {
        let id = |key, id: Id| id.check(annotations, "annotations", position, key);
        Ok(CocoAnnotation {
            id: seen.first_time(id("id", raw.id)?, position)?,
            image_id: id("image_id", raw.image_id)?,
            category_id: id("category_id", raw.category_id)?,
            bbox: raw.bbox,
            area: raw.area,
            is_crowd: matches!(raw.iscrowd, Some(Flag(true))),
        })
    });
    let categories = file.categories.into_iter().enumerate();
    let mut seen = Seen::new(annotations, "categories");
    let categories = categories.map(|(position, raw)| {
        let id = raw.id.check(annotations, "categories", position, "id")?;
        Ok(CocoCategory {
            id: seen.first_time(id, position)?,
            name: raw.name,
        })
    });
    Ok(CocoInstances {
        images,
        annotations: boxes.collect::<Result<_, CocoError>>()?,
        categories: categories.collect::<Result<_, CocoError>>()?,
    })
}

fn images(raw: Vec<Image>, annotations: &str) -> Result<Vec<CocoImage>, CocoError> {
    if raw.is_empty() {
        return Err(CocoError::NoImages {
            annotations: annotations.to_owned(),
        });
    }
    let mut seen = Seen::new(annotations, "images");
    let mut images = Vec::with_capacity(raw.len());
    for (position, image) in raw.into_iter().enumerate() {
        let id = image.id.check(annotations, "images", position, "id")?;
        seen.first_time(id, position)?;
        let inside = |part| matches!(part, std::path::Component::Normal(_));
        let path = Path::new(&image.file_name);
        if image.file_name.is_empty() || !path.components().all(inside) {
            return Err(CocoError::FileName {
                annotations: annotations.to_owned(),
                position,
                file_name: image.file_name,
            });
        }
        images.push(CocoImage {
            id,
            file_name: image.file_name,
            size: image.width.zip(image.height),
        });
    }
    Ok(images)
}

/// The ids of one list, each of which may come once.
struct Seen<'a> {
    annotations: &'a str,
    list: &'static str,
    positions: BTreeMap<i64, usize>,
}

impl<'a> Seen<'a> {
    fn new(annotations: &'a str, list: &'static str) -> Self {
        Self {
            annotations,
            list,
            positions: BTreeMap::new(),
        }
    }

    fn first_time(&mut self, id: i64, position: usize) -> Result<i64, CocoError> {
        match self.positions.insert(id, position) {
            None => Ok(id),
            Some(first) => Err(CocoError::DuplicateId {
                annotations: self.annotations.to_owned(),
                list: self.list,
                id,
                first,
                second: position,
            }),
        }
    }
}

/// The file as it is written; unknown keys (licences, segmentations) are passed over.
#[derive(serde::Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(serde::Deserialize)]
struct Image {
    id: Id,
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(serde::Deserialize)]
struct Annotation {
    id: Id,
    image_id: Id,
    category_id: Id,
    bbox: [f64; 4],
    area: Option<f64>,
    iscrowd: Option<Flag>,
}

#[derive(serde::Deserialize)]
struct Category {
    id: Id,
    name: String,
}

/// An id, or what stands in its place, so that the message can name the entry.
enum Id {
    Whole(i64),
    Other(String),
}

impl Id {
    fn check(
        self,
        annotations: &str,
        list: &'static str,
        position: usize,
        key: &'static str,
    ) -> Result<i64, CocoError> {
        match self {
            Self::Whole(id) => Ok(id),
            Self::Other(found) => Err(CocoError::Id {
                annotations: annotations.to_owned(),
                list,
                position,
                key,
                found,
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id (a whole number)")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Id, E> {
                Ok(Id::Whole(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Id, E> {
                let whole = i64::try_from(value).map(Id::Whole);
                Ok(whole.unwrap_or_else(|_| Id::Other(value.to_string())))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Id, E> {
                Ok(Id::Other(format!("{value:?}")))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Id, E> {
                Ok(Id::Other(format!("{value:?}")))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Id, E> {
                Ok(Id::Other(value.to_string()))
            }
            fn visit_unit<E: Error>(self) -> Result<Id, E> {
                Ok(Id::Other("null".to_owned()))
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

/// `iscrowd`: 0 or 1 in COCO, a Boolean in some exports.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0 or 1")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
                match value {
                    0 | 1 => Ok(Flag(value == 1)),
                    _ => Err(E::invalid_value(
                        serde::de::Unexpected::Unsigned(value),
                        &self,
                    )),
                }
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the expected numbers are exact")]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse_instances(text, "labels.json")
            .unwrap_err()
            .to_string()
    }

    fn with_images(images: &str) -> String {
        format!(r#"{{"images": [{images}], "annotations": [], "categories": []}}"#)
    }

    #[test]
    fn broken_json_is_named_with_line_and_column() {
        let found = message("{\"images\": [\n  {\"id\": 1,,\n");
        assert!(found.starts_with("labels.json: "), "{found}");
        assert!(found.contains("line 2 column 12"), "{found}");
        let found = message(r#"{"annotations": [], "categories": []}"#);
        assert!(found.contains("missing field `images`"), "{found}");
        let found = message(r#"{"images": [], "annotations": [{"area": NaN}]}"#);
        assert!(found.contains("line 1 column"), "{found}");
    }

    #[test]
    fn an_id_that_is_no_whole_number_names_its_entry() {
        for (id, said) in [
            (r#""7""#, r#"images[1].id is "7";"#),
            ("7.5", "images[1].id is 7.5;"),
            ("7.0", "images[1].id is 7.0;"),
            ("null", "images[1].id is null;"),
            ("1e400", "number out of range"),
            ("18446744073709551615", "is 18446744073709551615;"),
        ] {
            let images = format!(
                r#"{{"id": 1, "file_name": "a.jpg"}}, {{"id": {id}, "file_name": "b.jpg"}}"#
            );
            let found = message(&with_images(&images));
            assert!(found.contains(said), "{found}");
        }
        let annotations = r#"{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [],
            "annotations": [{"id": 1, "image_id": "a", "category_id": 1, "bbox": [0, 0, 1, 1]}]}"#;
        let found = message(annotations);
        assert!(
            found.contains(r#"annotations[0].image_id is "a""#),
            "{found}"
        );
    }

    #[test]
    fn two_pictures_with_one_id_are_both_named() {
        let entry = r#"{"id": 5, "file_name": "a.jpg"}"#;
        let found = message(&with_images(&format!("{entry}, {entry}")));
        assert!(
            found.contains("images[0] and images[1] both have id 5"),
            "{found}"
        );
    }

    #[test]
    fn file_names_stay_inside_the_folder() {
        for name in ["", "../a.jpg", "/a.jpg"] {
            let entry = format!(r#"{{"id": 5, "file_name": {name:?}}}"#);
            let found = message(&with_images(&entry));
            assert!(found.contains("images[0].file_name"), "{found}");
        }
        assert!(message(&with_images("")).contains("\"images\" list is empty"));
    }

    #[test]
    fn crowd_flags_and_areas_may_be_absent() {
        let file = parse_instances(
            r#"{"info": {"year": 2017}, "licenses": [],
            "images": [{"id": 1, "file_name": "a/b.jpg", "width": 4, "height": 3, "coco_url": ""}],
            "annotations": [
              {"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0.5, 1, 1],
               "segmentation": [[1, 2, 3]]},
              {"id": 2, "image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "iscrowd": 1,
               "area": 0.5, "segmentation": {"counts": [1, 2], "size": [3, 4]}}],
            "categories": [{"id": 3, "name": "car", "supercategory": "vehicle"}]}"#,
            "labels.json",
        )
        .unwrap();
        assert_eq!(file.images[0].size, Some((4, 3)));
        let crowds = file.annotations.iter().map(|found| found.is_crowd);
        assert_eq!(crowds.collect::<Vec<_>>(), [false, true]);
        assert_eq!(file.annotations[0].area, None);
        assert_eq!(file.annotations[0].bbox, [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(file.categories[0].name, "car");
    }
}
