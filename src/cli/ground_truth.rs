//! A data set's ground truth for COCO's scorer.

use crate::accuracy::{AccuracyError, Annotation, GroundTruth, ImageFacts};
use crate::library::coco::CocoInstances;

/// The same images, boxes and categories, in the same order.
///
/// # Errors
/// [`AccuracyError::DuplicateImage`].
pub fn ground_truth(instances: CocoInstances) -> Result<GroundTruth, AccuracyError> {
    let images = instances.images.into_iter().map(|image| {
        let (width, height) = image.size.unwrap_or_default();
        ImageFacts {
            id: image.id,
            file_name: image.file_name,
            width,
            height,
        }
    });
    let categories = instances.categories.into_iter();
    let categories = categories.map(|category| (category.id, category.name));
    let annotations = instances.annotations.into_iter().map(|found| Annotation {
        id: found.id,
        image_id: found.image_id,
        category_id: found.category_id,
        bbox: found.bbox,
        area: found.area,
        iscrowd: found.is_crowd,
    });
    GroundTruth::of(images.collect(), categories, annotations.collect())
}
