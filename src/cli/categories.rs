//! From a model's classes to those of some ground truth, or to another model's.

use std::collections::{BTreeMap, BTreeSet};

use crate::accuracy::voc::{coco_name, voc_name, VocObject, CLASSES};
use crate::accuracy::GroundTruth;
use crate::model::Labels;

/// None of the classes is a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the model's classes is a category of the annotations; give annotations of its own data set")]
pub struct NoCommonClass;

/// The category of each class, in the order of the classes; `None` for one that is not scored.
///
/// COCO models number their classes by category id, which holds as long as the ground truth has COCO's names under these ids. Where it
/// numbers them otherwise (1 to 80 without gaps, say), and for models with names of their own, names decide; VOC's
/// names for COCO's classes are known.
///
/// # Errors
/// [`NoCommonClass`].
pub fn categories(labels: &Labels, truth: &GroundTruth) -> Result<Vec<Option<i64>>, NoCommonClass> {
    let by_id: BTreeMap<i64, &str> = truth.categories().collect();
    let by_name: BTreeMap<&str, i64> = truth
        .categories()
        .map(|(id, name)| (coco_name(name), id))
        .collect();
    let is_coco = !matches!(labels, Labels::Names(_)) && numbers_agree(labels, &by_id);
    let categories: Vec<Option<i64>> = classes(labels)
        .map(|class| {
            if is_coco {
                labels.category_id(class).map(i64::from)
            } else {
                by_name.get(coco_name(labels.name(class)?)).copied()
            }
        })
        .collect();
    if categories.iter().all(Option::is_none) {
        return Err(NoCommonClass);
    }
    Ok(categories)
}

/// Whether no category has the id of one of COCO's classes and the name of another.
fn numbers_agree(labels: &Labels, by_id: &BTreeMap<i64, &str>) -> bool {
    let named: Vec<(i64, &str)> = classes(labels)
        .filter_map(|class| Some((i64::from(labels.category_id(class)?), labels.name(class)?)))
        .collect();
    let is_cocos = |name: &str| named.iter().any(|(_, known)| *known == name);
    named.iter().all(|(id, name)| {
        let found = by_id.get(id).map(|found| coco_name(found));
        found.is_none_or(|found| found == *name || !is_cocos(found))
    })
}

/// The class of each of a model's classes in a VOC data set; `None` for one that VOC does not have.
///
/// # Errors
/// [`NoCommonClass`].
pub fn voc_classes(
    labels: &Labels,
    objects: &[VocObject],
) -> Result<Vec<Option<String>>, NoCommonClass> {
    let mut known: BTreeSet<&str> = objects.iter().map(|object| object.class.as_str()).collect();
    if known.iter().all(|class| CLASSES.contains(class)) {
        known = CLASSES.into();
    }
    let classes: Vec<Option<String>> = classes(labels)
        .map(|class| {
            let name = labels.name(class)?;
            // A data set in VOC's form may have COCO's names.
            let mut candidates = [name, voc_name(name), coco_name(name)].into_iter();
            candidates
                .find(|name| known.contains(name))
                .map(str::to_owned)
        })
        .collect();
    if classes.iter().all(Option::is_none) {
        return Err(NoCommonClass);
    }
    Ok(classes)
}

/// Which classes two models have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommonClasses {
    /// All of them, numbered alike.
    All,
    /// Some: for each model a number by class, the same for the same name, and `None` for a class that the other lacks.
    Some([Vec<Option<i64>>; 2]),
}

impl CommonClasses {
    /// By the names of the classes; `None` when no name is in both.
    pub fn between(first: &Labels, second: &Labels) -> Option<Self> {
        if first == second {
            return Some(Self::All);
        }
        let names = |labels: &Labels| -> Vec<Option<String>> {
            let name = |class| labels.name(class).map(|name| coco_name(name).to_owned());
            classes(labels).map(name).collect()
        };
        let names = [names(first), names(second)];
        let known: [BTreeSet<&str>; 2] =
            [0, 1].map(|which: usize| names[which].iter().flatten().map(String::as_str).collect());
        let numbers: BTreeMap<&str, i64> =
            known[0].intersection(&known[1]).copied().zip(1..).collect();
        let number = |name: &Option<String>| numbers.get(name.as_deref()?).copied();
        let of = [0, 1].map(|which: usize| names[which].iter().map(number).collect());
        (!numbers.is_empty()).then_some(Self::Some(of))
    }

    /// The common number of a class of the first (0) or the second (1) model.
    pub fn of(&self, model: usize, class: u32) -> Option<i64> {
        match self {
            Self::All => Some(i64::from(class) + 1),
            Self::Some(numbers) => *numbers[model].get(class as usize)?,
        }
    }

    /// Whether both models have the same classes.
    pub const fn are_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// How many classes are in both; `None` for all of them.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Some([first, _]) => Some(first.iter().flatten().count()),
        }
    }
}

fn classes(labels: &Labels) -> impl Iterator<Item = u32> {
    0..u32::try_from(labels.class_count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(categories: &[(i64, &str)]) -> GroundTruth {
        let named = categories
            .iter()
            .map(|(id, name)| (*id, (*name).to_owned()));
        GroundTruth::of(Vec::new(), named, Vec::new()).unwrap()
    }

    #[test]
    fn cocos_ids_stand_where_names_do_not_contradict() {
        let found = categories(&Labels::Coco91, &truth(&[(1, "person"), (18, "dog")])).unwrap();
        assert_eq!(
            (found[0], found[17], found[89]),
            (Some(1), Some(18), Some(90))
        );
        let found = categories(&Labels::Coco80, &truth(&[(13, ""), (18, "Dog")])).unwrap();
        assert_eq!((found[11], found[16]), (Some(13), Some(18)));
    }

    #[test]
    fn eighty_classes_without_gaps_are_found_by_name() {
        let contiguous = truth(&[
            (1, "person"),
            (12, "stop sign"),
            (17, "dog"),
            (80, "toothbrush"),
        ]);
        for (labels, stop_sign, dog) in [(Labels::Coco91, 12, 17), (Labels::Coco80, 11, 16)] {
            let found = categories(&labels, &contiguous).unwrap();
            assert_eq!((found[stop_sign], found[dog]), (Some(12), Some(17)));
            assert_eq!(found.iter().flatten().count(), 4);
        }
    }

    #[test]
    fn models_have_the_classes_in_common_whose_names_they_share() {
        let names =
            |names: &[&str]| Labels::Names(names.iter().map(|&name| name.to_owned()).collect());
        let common = CommonClasses::between(&Labels::Coco91, &Labels::Coco91).unwrap();
        assert!(common.are_all() && common.of(0, 3) == common.of(1, 3));
        let common = CommonClasses::between(&Labels::Coco91, &Labels::Coco80).unwrap();
        assert_eq!(common.count(), Some(80));
        // A stop sign has the id 13 and is the twelfth class.
        assert_eq!(common.of(0, 12), common.of(1, 11));
        assert_eq!(common.of(0, 11), None);
        let voc = names(&["aeroplane", "unicorn"]);
        let common = CommonClasses::between(&voc, &Labels::Coco80).unwrap();
        assert_eq!((common.count(), common.of(0, 1)), (Some(1), None));
        assert_eq!(common.of(0, 0), common.of(1, 4));
        assert_eq!(
            CommonClasses::between(&names(&["unicorn"]), &voc).map(|one| one.count()),
            Some(Some(1))
        );
        assert_eq!(CommonClasses::between(&names(&["fox"]), &voc), None);
    }

    #[test]
    fn both_sets_names_are_understood() {
        let names =
            |names: &[&str]| Labels::Names(names.iter().map(|&name| name.to_owned()).collect());
        let found = categories(
            &names(&["aeroplane", "sofa", "zebra"]),
            &truth(&[(5, "airplane"), (63, "couch")]),
        );
        assert_eq!(found, Ok(vec![Some(5), Some(63), None]));
        let found = categories(&names(&["tv"]), &truth(&[(20, "tvmonitor")]));
        assert_eq!(found, Ok(vec![Some(20)]));
        assert_eq!(
            categories(&names(&["fox"]), &truth(&[(1, "dog")])),
            Err(NoCommonClass)
        );
        let found = voc_classes(&Labels::Coco91, &[]).unwrap();
        assert_eq!(found[71].as_deref(), Some("tvmonitor"));
        assert_eq!(found[4].as_deref(), Some("aeroplane"));
        assert_eq!(found[7], None);
        assert_eq!(found.iter().flatten().count(), 20);
    }
}
