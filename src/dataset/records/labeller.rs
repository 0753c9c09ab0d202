//! The boxes of each picture as records hold them: shares, and classes by number and name.

use std::collections::{BTreeMap, HashMap};

use super::super::{voc_name, Truth};
use super::fields::{RecordObject, Style};
use crate::accuracy::voc::{VocObject, CLASSES};
use crate::library::coco::{CocoAnnotation, CocoCategory};
use crate::library::ListedPicture;
use crate::model::Labels;

/// A data set's boxes, found by picture.
#[derive(Debug)]
pub struct Labeller<'a> {
    boxes: Boxes<'a>,
    /// The number of each class by its name.
    numbers: BTreeMap<&'a str, i64>,
}

#[derive(Debug)]
enum Boxes<'a> {
    Coco {
        by_image: HashMap<i64, Vec<&'a CocoAnnotation>>,
        names: BTreeMap<i64, &'a str>,
    },
    Voc(HashMap<&'a str, Vec<&'a VocObject>>),
}

impl<'a> Labeller<'a> {
    /// Numbers the classes as a style does: VOC's from 1, COCO's by id or, in HiKapok's style, from 1 without gaps.
    pub fn new(truth: &'a Truth, style: Style) -> Self {
        match truth {
            Truth::Coco(instances) => {
                let mut by_image: HashMap<_, Vec<_>> = HashMap::new();
                for annotation in &instances.annotations {
                    by_image
                        .entry(annotation.image_id)
                        .or_default()
                        .push(annotation);
                }
                let categories = instances.categories.iter();
                let names = categories.map(|category| (category.id, category.name.as_str()));
                Self {
                    boxes: Boxes::Coco {
                        by_image,
                        names: names.collect(),
                    },
                    numbers: coco_numbers(&instances.categories, style),
                }
            }
            Truth::Voc(objects) => {
                let mut by_image: HashMap<_, Vec<_>> = HashMap::new();
                for object in objects {
                    by_image
                        .entry(object.image.as_str())
                        .or_default()
                        .push(object);
                }
                Self {
                    boxes: Boxes::Voc(by_image),
                    numbers: voc_numbers(objects),
                }
            }
        }
    }

    /// A picture's boxes, in the order of the data set. Boxes of a category that is not defined are left out.
    pub fn objects_of(
        &self,
        picture: &ListedPicture,
        (width, height): (u32, u32),
    ) -> Vec<RecordObject> {
        let share = |pixels: f64, side: u32| (pixels / f64::from(side)) as f32;
        match &self.boxes {
            Boxes::Coco { by_image, names } => {
                let object = |annotation: &&CocoAnnotation| {
                    let name = *names.get(&annotation.category_id)?;
                    let [x, y, across, down] = annotation.bbox;
                    Some(RecordObject {
                        corners: [
                            share(x, width),
                            share(y, height),
                            share(x + across, width),
                            share(y + down, height),
                        ],
                        label: self.numbers.get(name).copied(),
                        name: Some(name.to_owned()),
                        is_crowd: annotation.is_crowd,
                        area: annotation.area.map(|area| area as f32),
                        is_difficult: false,
                        is_truncated: false,
                    })
                };
                let found = by_image.get(&picture.image_id).into_iter().flatten();
                found.filter_map(object).collect()
            }
            Boxes::Voc(by_image) => {
                let object = |object: &&VocObject| {
                    let [x_min, y_min, x_max, y_max] = object.corners;
                    RecordObject {
                        corners: [
                            share(x_min, width),
                            share(y_min, height),
                            share(x_max, width),
                            share(y_max, height),
                        ],
                        label: self.numbers.get(object.class.as_str()).copied(),
                        name: Some(object.class.clone()),
                        is_crowd: false,
                        area: None,
                        is_difficult: object.is_difficult,
                        is_truncated: object.is_truncated,
                    }
                };
                let found = by_image
                    .get(voc_name(&picture.file_name))
                    .into_iter()
                    .flatten();
                found.map(object).collect()
            }
        }
    }
}

fn voc_numbers(objects: &[VocObject]) -> BTreeMap<&str, i64> {
    let mut names: Vec<&str> = objects.iter().map(|object| object.class.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.iter().all(|name| CLASSES.contains(name)) {
        names = CLASSES.into();
    }
    names.into_iter().zip(1..).collect()
}

fn coco_numbers(categories: &[CocoCategory], style: Style) -> BTreeMap<&str, i64> {
    let mut categories: Vec<&CocoCategory> = categories.iter().collect();
    categories.sort_by_key(|category| category.id);
    let rank = |name: &str| {
        let mut classes = (0..).take(Labels::Coco80.class_count());
        let class = classes.find(|&class| Labels::Coco80.name(class) == Some(name))?;
        Some(i64::from(class) + 1)
    };
    let are_cocos = categories
        .iter()
        .all(|category| rank(&category.name).is_some());
    let numbered = categories.into_iter().zip(1..);
    let number = |(category, position): (&'_ CocoCategory, i64)| match style {
        Style::Tfod => category.id,
        Style::Hikapok if are_cocos => rank(&category.name).unwrap_or(position),
        Style::Hikapok => position,
    };
    numbered
        .map(|(category, position)| (category.name.as_str(), number((category, position))))
        .collect()
}
