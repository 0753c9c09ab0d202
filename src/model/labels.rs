//! Names of classes.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the classes of a model are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// COCO's 80 classes under their ids 1..=90; ten ids have no class.
    Coco91,
    /// COCO's 80 classes one after the other, without the ids that have no class.
    Coco80,
    /// The names of classes 0, 1, …, background left out.
    Names(Vec<String>),
}

/// How model files write [`Labels::Coco91`].
const COCO_91: &str = "coco-91";

/// How model files write [`Labels::Coco80`].
const COCO_80: &str = "coco-80";

impl Labels {
    /// The name of `class` (from zero, without background); `None` when it has none.
    pub fn name(&self, class: u32) -> Option<&str> {
        match self {
            Self::Coco91 => {
                let id = class.checked_add(1)?;
                let index = COCO.binary_search_by_key(&id, |&(id, _)| id).ok()?;
                Some(COCO[index].1)
            }
            Self::Coco80 => COCO
                .get(usize::try_from(class).ok()?)
                .map(|&(_, name)| name),
            Self::Names(names) => Some(names.get(usize::try_from(class).ok()?)?),
        }
    }

    /// COCO's category id of `class`; `None` when the labels are names, which no data set numbers, or
    /// COCO has no class of that number. An id that has no class (12, say) is one that nothing is labelled with.
    pub fn category_id(&self, class: u32) -> Option<u32> {
        match self {
            Self::Coco91 => Some(class.saturating_add(1)),
            Self::Coco80 => COCO.get(usize::try_from(class).ok()?).map(|&(id, _)| id),
            Self::Names(_) => None,
        }
    }

    /// How many classes, nameless ones included.
    pub fn class_count(&self) -> usize {
        match self {
            Self::Coco91 => 90,
            Self::Coco80 => COCO.len(),
            Self::Names(names) => names.len(),
        }
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Coco91 => serializer.serialize_str(COCO_91),
            Self::Coco80 => serializer.serialize_str(COCO_80),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Labels;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(
                    f,
                    "`labels` to be \"{COCO_91}\", \"{COCO_80}\" or a list of names"
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Labels, E> {
                match text {
                    COCO_91 => Ok(Labels::Coco91),
                    COCO_80 => Ok(Labels::Coco80),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Labels, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(Labels::Names(names))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Category id and name, as in COCO's 2014 and 2017 annotations.
const COCO: [(u32, &str); 80] = [
    (1, "person"),
    (2, "bicycle"),
    (3, "car"),
    (4, "motorcycle"),
    (5, "airplane"),
    (6, "bus"),
    (7, "train"),
    (8, "truck"),
    (9, "boat"),
    (10, "traffic light"),
    (11, "fire hydrant"),
    (13, "stop sign"),
    (14, "parking meter"),
    (15, "bench"),
    (16, "bird"),
    (17, "cat"),
    (18, "dog"),
    (19, "horse"),
    (20, "sheep"),
    (21, "cow"),
    (22, "elephant"),
    (23, "bear"),
    (24, "zebra"),
    (25, "giraffe"),
    (27, "backpack"),
    (28, "umbrella"),
    (31, "handbag"),
    (32, "tie"),
    (33, "suitcase"),
    (34, "frisbee"),
    (35, "skis"),
    (36, "snowboard"),
    (37, "sports ball"),
    (38, "kite"),
    (39, "baseball bat"),
    (40, "baseball glove"),
    (41, "skateboard"),
    (42, "surfboard"),
    (43, "tennis racket"),
    (44, "bottle"),
    (46, "wine glass"),
    (47, "cup"),
    (48, "fork"),
    (49, "knife"),
    (50, "spoon"),
    (51, "bowl"),
    (52, "banana"),
    (53, "apple"),
    (54, "sandwich"),
    (55, "orange"),
    (56, "broccoli"),
    (57, "carrot"),
    (58, "hot dog"),
    (59, "pizza"),
    (60, "donut"),
    (61, "cake"),
    (62, "chair"),
    (63, "couch"),
    (64, "potted plant"),
    (65, "bed"),
    (67, "dining table"),
    (70, "toilet"),
    (72, "tv"),
    (73, "laptop"),
    (74, "mouse"),
    (75, "remote"),
    (76, "keyboard"),
    (77, "cell phone"),
    (78, "microwave"),
    (79, "oven"),
    (80, "toaster"),
    (81, "sink"),
    (82, "refrigerator"),
    (84, "book"),
    (85, "clock"),
    (86, "vase"),
    (87, "scissors"),
    (88, "teddy bear"),
    (89, "hair drier"),
    (90, "toothbrush"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coco_classes_are_their_category_ids_less_one() {
        for (class, name) in [
            (0, Some("person")),
            (17, Some("dog")),
            (89, Some("toothbrush")),
            (11, None),
            (90, None),
            (u32::MAX, None),
        ] {
            assert_eq!(Labels::Coco91.name(class), name, "{class}");
        }
        assert_eq!(Labels::Coco91.category_id(17), Some(18));
        for (class, id, name) in [
            (0, 1, "person"),
            (11, 13, "stop sign"),
            (79, 90, "toothbrush"),
        ] {
            assert_eq!(Labels::Coco80.category_id(class), Some(id));
            assert_eq!(Labels::Coco80.name(class), Some(name));
        }
        assert_eq!(Labels::Coco80.category_id(80), None);
        assert_eq!(Labels::Names(vec!["cat".to_owned()]).category_id(0), None);
    }

    #[test]
    fn the_names_are_those_of_the_annotations() {
        let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
            eprintln!("DETBENCH_TEST_DATA is unset: skipped");
            return;
        };
        let folder = std::path::Path::new(&data).join("coco/cocomini_val2017_79");
        let annotations = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|e| e == "json"))
            .expect("an annotation file");
        let text = std::fs::read_to_string(annotations).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let categories = json["categories"].as_array().unwrap();
        assert_eq!(categories.len(), COCO.len());
        for (category, (id, name)) in categories.iter().zip(COCO) {
            assert_eq!(category["id"], id);
            assert_eq!(category["name"], name);
        }
    }
}
