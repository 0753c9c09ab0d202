//! COCO ground truth, read as pycocotools reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::Deserialize;

use super::AccuracyError;

/// Images, categories and annotated boxes.
///
/// Segmentations, captions and everything else in the file are passed over.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundTruth {
    /// Ascending.
    image_ids: Vec<i64>,
    /// Names by id, ascending.
    categories: BTreeMap<i64, String>,
    /// In the order of the file.
    annotations: Vec<Annotation>,
    /// In the order of the file.
    images: Vec<ImageFacts>,
}

/// What the ground truth says of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageFacts {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub id: i64,
    /// Its file.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub file_name: String,
    /// Pixels in a row; 0 when the file does not say.
    #[serde(default, deserialize_with = "side_or_zero")]
    pub width: u32,
    /// Rows; 0 when the file does not say.
    #[serde(default, deserialize_with = "side_or_zero")]
    pub height: u32,
}

/// Scoring does not need a picture's name, so nothing that stands there is an error.
fn text_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

/// As little as it needs a picture's size.
fn side_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_f64().map_or(0, |side| side as u32))
}

/// One annotated object.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Annotation {
    /// Its own id.
    #[serde(default, deserialize_with = "id")]
    pub id: i64,
    /// The picture's.
    #[serde(deserialize_with = "id")]
    pub image_id: i64,
    /// The class's.
    #[serde(deserialize_with = "id")]
    pub category_id: i64,
    /// x, y, width, height in pixels.
    pub bbox: [f64; 4],
    /// Of the mask, not of the box; the box's when the file has none.
    pub area: Option<f64>,
    /// Whether it covers many objects.
    #[serde(default, deserialize_with = "flag")]
    pub iscrowd: bool,
}

#[derive(Deserialize)]
struct File {
    images: Vec<ImageFacts>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Category {
    #[serde(deserialize_with = "id")]
    id: i64,
    #[serde(default)]
    name: String,
}

impl GroundTruth {
    /// Reads a file such as `instances_val2017.json`.
    ///
    /// # Errors
    /// [`AccuracyError::Read`], [`AccuracyError::Json`] with line and column, [`AccuracyError::DuplicateImage`].
    pub fn read(path: &Path) -> Result<Self, AccuracyError> {
        let text = std::fs::read(path).map_err(|source| AccuracyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, || path.display().to_string())
    }

    fn parse(text: &[u8], origin: impl Fn() -> String) -> Result<Self, AccuracyError> {
        let file: File = serde_json::from_slice(text).map_err(|source| AccuracyError::Json {
            origin: origin(),
            expected: "COCO ground truth",
            source,
        })?;
        let categories = file
            .categories
            .into_iter()
            .map(|category| (category.id, category.name));
        Self::of(file.images, categories, file.annotations)
    }

    /// The same with these categories alone.
    #[must_use]
    pub fn of_categories(&self, kept: &BTreeSet<i64>) -> Self {
        let mut own = self.clone();
        own.categories.retain(|id, _| kept.contains(id));
        own.annotations
            .retain(|annotation| kept.contains(&annotation.category_id));
        own
    }

    /// Ground truth from its parts; of a repeated category the last name counts.
    ///
    /// # Errors
    /// [`AccuracyError::DuplicateImage`].
    pub fn of(
        images: Vec<ImageFacts>,
        categories: impl IntoIterator<Item = (i64, String)>,
        annotations: Vec<Annotation>,
    ) -> Result<Self, AccuracyError> {
        let mut image_ids: Vec<i64> = images.iter().map(|image| image.id).collect();
        image_ids.sort_unstable();
        if let Some(pair) = image_ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(AccuracyError::DuplicateImage { id: pair[0] });
        }
        Ok(Self {
            image_ids,
            categories: categories.into_iter().collect(),
            annotations,
            images,
        })
    }

    /// The ids of all images, ascending.
    pub fn image_ids(&self) -> &[i64] {
        &self.image_ids
    }

    /// The pictures, in the order of the file.
    pub fn images(&self) -> &[ImageFacts] {
        &self.images
    }

    /// The ids of the pictures that have an annotation.
    pub fn annotated_images(&self) -> HashSet<i64> {
        let annotations = self.annotations.iter();
        annotations.map(|annotation| annotation.image_id).collect()
    }

    /// The categories' ids and names, ascending by id.
    pub fn categories(&self) -> impl ExactSizeIterator<Item = (i64, &str)> {
        self.categories
            .iter()
            .map(|(&id, name)| (id, name.as_str()))
    }

    /// The annotations that count when `images` (ascending) are evaluated, in the order in which they are matched.
    ///
    /// An annotation's id is a key in pycocotools: images list the ids of their annotations, and what an id stands
    /// for is the *last* annotation that has it. So each occurrence of a repeated id counts, as the last one.
    pub(super) fn effective_annotations(&self, images: &[i64]) -> Vec<Annotation> {
        let images: HashSet<i64> = images.iter().copied().collect();
        let counts = |annotation: &Annotation| {
            images.contains(&annotation.image_id)
                && self.categories.contains_key(&annotation.category_id)
        };
        let last: HashMap<i64, &Annotation> = self
            .annotations
            .iter()
            .map(|annotation| (annotation.id, annotation))
            .collect();
        let mut occurrences: Vec<&Annotation> = self
            .annotations
            .iter()
            .filter(|&annotation| counts(annotation))
            .collect();
        occurrences.sort_by_key(|annotation| annotation.image_id);
        occurrences
            .into_iter()
            .map(|occurrence| *last[&occurrence.id])
            .filter(|annotation| counts(annotation))
            .collect()
    }
}

impl FromStr for GroundTruth {
    type Err = AccuracyError;

    fn from_str(text: &str) -> Result<Self, AccuracyError> {
        Self::parse(text.as_bytes(), || "the text".into())
    }
}

/// An id: a whole number, which some writers spell `1.0`.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct Id;

    impl Visitor<'_> for Id {
        type Value = i64;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a whole number")
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
            Ok(value)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
            i64::try_from(value)
                .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
            // Beyond 2^53 a float no longer says which whole number was meant.
            if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
                Ok(value as i64)
            } else {
                Err(E::invalid_value(de::Unexpected::Float(value), &self))
            }
        }
    }

    deserializer.deserialize_any(Id)
}

/// A flag: 0 or 1 in COCO's files, `true` or `false` in others.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Flag;

    impl Visitor<'_> for Flag {
        type Value = bool;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("0, 1, true or false")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<bool, E> {
            Ok(value != 0)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
            Ok(value != 0)
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<bool, E> {
            Ok(value != 0.0)
        }
    }

    deserializer.deserialize_any(Flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_text_is_refused_with_its_line() {
        let error =
            GroundTruth::from_str("{\"images\": [\n{\"id\": 1},\n{\"id\": }]}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the text is not COCO ground truth: expected value at line 3 column 8"
        );
        let error = GroundTruth::from_str("{\"images\": [{\"id\": 1.5}]}").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("expected a whole number at line 1"),
            "{error}"
        );
    }

    #[test]
    fn images_that_share_an_id_are_refused() {
        let error =
            GroundTruth::from_str(r#"{"images":[{"id":7},{"id":3},{"id":7}]}"#).unwrap_err();
        assert!(
            matches!(error, AccuracyError::DuplicateImage { id: 7 }),
            "{error}"
        );
    }

    #[test]
    fn ids_may_be_whole_floats_and_flags_may_be_words() {
        let text = r#"{"images":[{"id":2.0}],"categories":[{"id":1}],"annotations":[
            {"id":-5,"image_id":2,"category_id":1.0,"bbox":[0,1,2,3],"iscrowd":true,"segmentation":{"counts":"x"}}]}"#;
        let truth = GroundTruth::from_str(text).unwrap();
        let annotations = truth.effective_annotations(truth.image_ids());
        assert_eq!(
            annotations,
            [Annotation {
                id: -5,
                image_id: 2,
                category_id: 1,
                bbox: [0.0, 1.0, 2.0, 3.0],
                area: None,
                iscrowd: true
            }]
        );
    }

    #[test]
    fn each_occurrence_of_a_repeated_annotation_id_counts_as_the_last_one() {
        let annotation = |id: i64, image: i64, x: i64| {
            format!(
                r#"{{"id":{id},"image_id":{image},"category_id":1,"bbox":[{x},0,9,9],"area":81}}"#
            )
        };
        let text = format!(
            r#"{{"images":[{{"id":2}},{{"id":1}}],"categories":[{{"id":1}}],"annotations":[{}]}}"#,
            [
                annotation(4, 2, 10),
                annotation(5, 1, 20),
                annotation(4, 1, 30)
            ]
            .join(",")
        );
        let truth = GroundTruth::from_str(&text).unwrap();
        let found = |images: &[i64]| -> Vec<(i64, f64)> {
            let annotations = truth.effective_annotations(images);
            annotations
                .iter()
                .map(|annotation| (annotation.image_id, annotation.bbox[0]))
                .collect()
        };
        assert_eq!(found(&[1, 2]), [(1, 20.0), (1, 30.0), (1, 30.0)]);
        assert_eq!(found(&[2]), []);
    }
}
