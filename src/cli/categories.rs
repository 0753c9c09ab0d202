//! From a model's classes to the categories of some ground truth.

use crate::accuracy::GroundTruth;
use crate::model::Labels;

/// None of the classes is a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the model's classes is a category of the annotations; give annotations of its own data set")]
pub struct NoCommonClass;

/// The category of each class, in the order of the classes; `None` for one that is not scored.
///
/// COCO models number their classes by category id; other models name theirs, and the names are looked up.
///
/// # Errors
/// [`NoCommonClass`].
pub fn categories(labels: &Labels, truth: &GroundTruth) -> Result<Vec<Option<i64>>, NoCommonClass> {
    let classes = 0..u32::try_from(labels.class_count()).unwrap_or(u32::MAX);
    let categories: Vec<Option<i64>> = classes
        .map(|class| match labels {
            Labels::Coco91 | Labels::Coco80 => labels.category_id(class).map(i64::from),
            Labels::Names(_) => {
                let name = labels.name(class)?;
                let found = truth.categories().find(|(_, known)| *known == name);
                found.map(|(id, _)| id)
            }
        })
        .collect();
    if categories.iter().all(Option::is_none) {
        return Err(NoCommonClass);
    }
    Ok(categories)
}
