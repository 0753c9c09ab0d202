//! Whose data set some records are, and their boxes in that data set's own terms.
//!
//! Both styles write both data sets, so names and numbers of the classes decide: VOC numbers its twenty from 1 in the order of the alphabet, COCO by id
//! (1 to 90 with gaps), HiKapok's COCO from 1 to 80 without.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{voc_name, DatasetNote, Truth};
use super::decimal::{distance, pixels, widened};
use super::fields::{RecordObject, RecordPicture};
use crate::accuracy::voc::{VocObject, CLASSES};
use crate::library::coco::{CocoAnnotation, CocoCategory, CocoImage, CocoInstances};
use crate::library::ListedPicture;
use crate::model::Labels;

/// How a data set numbers its classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbering {
    Voc,
    /// COCO's ids.
    Coco,
    /// COCO's classes from 1 to 80.
    Coco80,
    /// Classes of its own.
    Own,
}

/// The truth of records; `None` when none of them has a feature for boxes.
pub fn build(
    pictures: &[ListedPicture],
    records: &[RecordPicture],
) -> (Option<Truth>, Vec<DatasetNote>) {
    if records.iter().all(|record| record.objects.is_none()) {
        return (None, Vec::new());
    }
    let tells_crowds = records.iter().any(|record| record.tells_crowds);
    let tells_difficulty = records.iter().any(|record| record.tells_difficulty);
    let objects = || {
        records
            .iter()
            .flat_map(|record| record.objects.iter().flatten())
    };
    let numbering = numbering(objects(), tells_crowds);
    let is_voc = match numbering {
        Numbering::Voc => true,
        // VOC alone tells of difficulty where COCO tells of crowds.
        Numbering::Own => tells_difficulty && !tells_crowds,
        Numbering::Coco | Numbering::Coco80 => {
            objects().next().is_none() && tells_difficulty && !tells_crowds
        }
    };
    if is_voc {
        return (Some(Truth::Voc(voc_objects(pictures, records))), Vec::new());
    }
    let mut notes = Vec::new();
    if numbering == Numbering::Coco80 {
        notes.push(DatasetNote::EightyClasses);
    }
    if !tells_crowds && objects().next().is_some() {
        notes.push(DatasetNote::NoCrowds);
    }
    let instances = coco_instances(pictures, records, numbering);
    (Some(Truth::Coco(instances)), notes)
}

fn numbering<'a>(objects: impl Iterator<Item = &'a RecordObject>, tells_crowds: bool) -> Numbering {
    let classes: BTreeSet<(Option<i64>, Option<&str>)> = objects
        .map(|object| (object.label, object.name.as_deref()))
        .collect();
    let all = |fits: &dyn Fn(i64, &str) -> bool| {
        // A number without a name fits where the class it stands for exists; so does a name without a number.
        classes.iter().all(|&(label, name)| match (label, name) {
            (Some(label), Some(name)) => fits(label, name),
            (Some(label), None) => (1..=90).contains(&label),
            (None, Some(name)) => (1..=90).any(|label| fits(label, name)),
            (None, None) => false,
        })
    };
    let index = |label: i64| u32::try_from(label).ok()?.checked_sub(1);
    let is = |labels: &Labels, label, name: &str| {
        index(label).is_some_and(|class| labels.name(class) == Some(name))
    };
    let is_voc = |label, name: &str| {
        let class = index(label).and_then(|class| CLASSES.get(class as usize));
        class.is_some_and(|class| *class == name)
    };
    // Without any name only COCO's ids can be meant. Bicycles and buses have the same numbers in both sets.
    let has_names = classes.iter().any(|(_, name)| name.is_some());
    if has_names && !tells_crowds && all(&is_voc) {
        Numbering::Voc
    } else if all(&|label, name| is(&Labels::Coco91, label, name)) {
        Numbering::Coco
    } else if all(&|label, name| is(&Labels::Coco80, label, name)) {
        Numbering::Coco80
    } else {
        Numbering::Own
    }
}

fn voc_objects(pictures: &[ListedPicture], records: &[RecordPicture]) -> Vec<VocObject> {
    let mut objects = Vec::new();
    for (picture, record) in pictures.iter().zip(records) {
        let (width, height) = record.size.unwrap_or_default();
        for object in record.objects.iter().flatten() {
            let [x_min, y_min, x_max, y_max] = object.corners;
            objects.push(VocObject {
                image: voc_name(&picture.file_name).to_owned(),
                class: class_name(object),
                corners: [
                    (x_min, width),
                    (y_min, height),
                    (x_max, width),
                    (y_max, height),
                ]
                .map(|(share, side)| pixels(share, side).value),
                is_difficult: object.is_difficult,
                is_truncated: object.is_truncated,
            });
        }
    }
    objects
}

fn class_name(object: &RecordObject) -> String {
    match (&object.name, object.label) {
        (Some(name), _) => name.clone(),
        (None, Some(label)) => format!("class {label}"),
        (None, None) => "class".to_owned(),
    }
}

fn coco_instances(
    pictures: &[ListedPicture],
    records: &[RecordPicture],
    numbering: Numbering,
) -> CocoInstances {
    let objects = || {
        records
            .iter()
            .flat_map(|record| record.objects.iter().flatten())
    };
    let categories = categories(objects(), numbering);
    let ids: BTreeMap<&str, i64> = categories
        .iter()
        .map(|category| (category.name.as_str(), category.id))
        .collect();
    let mut annotations = Vec::new();
    // From one: 0 is special to pycocotools.
    let mut numbers = 1_i64..;
    for (picture, record) in pictures.iter().zip(records) {
        let (width, height) = record.size.unwrap_or_default();
        for (object, id) in record.objects.iter().flatten().zip(&mut numbers) {
            let [left, right] = [object.corners[0], object.corners[2]].map(|x| pixels(x, width));
            let [top, bottom] = [object.corners[1], object.corners[3]].map(|y| pixels(y, height));
            let by_name = object
                .name
                .as_deref()
                .and_then(|name| ids.get(name))
                .copied();
            annotations.push(CocoAnnotation {
                id,
                image_id: picture.image_id,
                category_id: by_name.or(object.label).unwrap_or_default(),
                bbox: [
                    left.value,
                    top.value,
                    distance(left, right),
                    distance(top, bottom),
                ],
                area: object.area.map(widened),
                is_crowd: object.is_crowd,
            });
        }
    }
    let images = pictures.iter().map(|picture| CocoImage {
        id: picture.image_id,
        file_name: picture.file_name.clone(),
        size: picture.size,
    });
    CocoInstances {
        images: images.collect(),
        annotations,
        categories,
    }
}

/// COCO's eighty, or what the records name.
fn categories<'a>(
    objects: impl Iterator<Item = &'a RecordObject>,
    numbering: Numbering,
) -> Vec<CocoCategory> {
    if numbering != Numbering::Own {
        let eighty = 0..Labels::Coco80.class_count() as u32;
        let category = |class| {
            let id = Labels::Coco80.category_id(class)?;
            let name = Labels::Coco80.name(class)?.to_owned();
            Some(CocoCategory {
                id: i64::from(id),
                name,
            })
        };
        return eighty.filter_map(category).collect();
    }
    let mut named: BTreeMap<String, Option<i64>> = BTreeMap::new();
    for object in objects {
        let label = named.entry(class_name(object)).or_default();
        *label = label.or(object.label);
    }
    // Numbers are kept where every class has one of its own; else they count in the order of the names.
    let numbers: BTreeSet<i64> = named.values().flatten().copied().collect();
    let are_usable = numbers.len() == named.len();
    let numbered = named.into_iter().zip(1..);
    let category = |((name, label), position): ((String, Option<i64>), i64)| CocoCategory {
        id: label.filter(|_| are_usable).unwrap_or(position),
        name,
    };
    numbered.map(category).collect()
}
