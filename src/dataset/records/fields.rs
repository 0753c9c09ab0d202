//! One picture of a record: which features hold what, in the two styles in which detection records are written.
//!
//! The TF Object Detection API (`create_coco_tf_record.py`, `create_pascal_tf_record.py`) names a class `image/object/class/text`,
//! HiKapok's SSD (`convert_tfrecords.py`, and Intel's `generate_coco_records.py` beside it) `image/object/bbox/label_text`; picture and
//! corners have the same keys in both.

use std::ops::Range;

use super::super::tfrecord::example::{Example, ExampleError};

/// Keys that both styles have.
pub mod key {
    pub const ENCODED: &str = "image/encoded";
    pub const FORMAT: &str = "image/format";
    pub const FILE_NAME: &str = "image/filename";
    pub const WIDTH: &str = "image/width";
    pub const HEIGHT: &str = "image/height";
    pub const X_MIN: &str = "image/object/bbox/xmin";
    pub const X_MAX: &str = "image/object/bbox/xmax";
    pub const Y_MIN: &str = "image/object/bbox/ymin";
    pub const Y_MAX: &str = "image/object/bbox/ymax";
    /// The Object Detection API's.
    pub const SOURCE_ID: &str = "image/source_id";
    pub const SHA256: &str = "image/key/sha256";
    pub const CLASS_TEXT: &str = "image/object/class/text";
    pub const CLASS_LABEL: &str = "image/object/class/label";
    pub const IS_CROWD: &str = "image/object/is_crowd";
    pub const AREA: &str = "image/object/area";
    pub const DIFFICULT: &str = "image/object/difficult";
    pub const TRUNCATED: &str = "image/object/truncated";
    /// HiKapok's.
    pub const CHANNELS: &str = "image/channels";
    pub const SHAPE: &str = "image/shape";
    pub const BOX_LABEL: &str = "image/object/bbox/label";
    pub const BOX_LABEL_TEXT: &str = "image/object/bbox/label_text";
    pub const BOX_DIFFICULT: &str = "image/object/bbox/difficult";
    pub const BOX_TRUNCATED: &str = "image/object/bbox/truncated";
}

/// Whose keys a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// The TF Object Detection API's.
    Tfod,
    /// HiKapok's.
    Hikapok,
}

/// A labelled box as a record holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordObject {
    /// `x_min, y_min, x_max, y_max` as shares of the picture.
    pub corners: [f32; 4],
    /// The class's number.
    pub label: Option<i64>,
    /// The class's name.
    pub name: Option<String>,
    /// Whether it covers a crowd, where the record says.
    pub is_crowd: bool,
    /// Pixels of the object's mask, where the record says.
    pub area: Option<f32>,
    /// Whether it is hard to see, where the record says.
    pub is_difficult: bool,
    /// Whether it goes on outside the picture, where the record says.
    pub is_truncated: bool,
}

/// What a record says of its picture.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordPicture {
    /// The file that it was; empty when the record does not say.
    pub file_name: String,
    /// What its data set calls it.
    pub source_id: Option<String>,
    /// Width and height in pixels, where the record says both.
    pub size: Option<(u32, u32)>,
    /// Where the encoded picture lies in the record's data.
    pub encoded: Range<usize>,
    /// Its boxes; `None` when the record has no feature for boxes.
    pub objects: Option<Vec<RecordObject>>,
    /// Whose keys the boxes have.
    pub style: Style,
    /// Whether crowds or areas are told, as only COCO has them.
    pub tells_crowds: bool,
    /// Whether difficulty is told, as VOC has it.
    pub tells_difficulty: bool,
}

/// Why a record is no labelled picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureProblem {
    /// Not a `tf.train.Example`.
    #[error("is not a tf.train.Example: {0}")]
    Example(#[from] ExampleError),
    /// A feature is missing without which nothing can be done.
    #[error("has no feature `{key}`, which every picture needs")]
    Lacks {
        /// The feature.
        key: &'static str,
    },
    /// Lists of one object each do not belong together.
    #[error("has {found} values in `{key}` for {expected} boxes")]
    Count {
        /// The feature.
        key: &'static str,
        /// Its values.
        found: usize,
        /// The boxes.
        expected: usize,
    },
    /// A text that is none.
    #[error("has bytes in `{key}` that are not UTF-8")]
    NotText {
        /// The feature.
        key: &'static str,
    },
    /// A corner that is not a number, or far outside the picture.
    #[error("has a corner of {value} in `{key}`; corners are shares of the picture, from 0 to 1")]
    Corner {
        /// The feature.
        key: &'static str,
        /// Its value as text.
        value: String,
    },
    /// Boxes without the picture's size: their shares cannot become pixels.
    #[error("has boxes but no usable `{key}`")]
    Size {
        /// The feature.
        key: &'static str,
    },
}

/// Corners beyond this share are damage or pixels; a box may stick out of its picture a little.
const SHARE_MAX: f32 = 2.0;

impl RecordPicture {
    /// Reads a record's data.
    ///
    /// # Errors
    /// [`PictureProblem`].
    pub fn parse(data: &[u8]) -> Result<Self, PictureProblem> {
        let example = Example::parse(data)?;
        let encoded = example.range(key::ENCODED)?;
        let encoded = encoded.filter(|range| !range.is_empty());
        let encoded = encoded.ok_or(PictureProblem::Lacks { key: key::ENCODED })?;
        let is_tfod = [key::CLASS_TEXT, key::CLASS_LABEL, key::SOURCE_ID];
        let mut style = Style::Hikapok;
        for name in is_tfod {
            if example.has(name)? {
                style = Style::Tfod;
            }
        }
        if example.has(key::BOX_LABEL)? {
            style = Style::Hikapok;
        }
        let size = size(&example)?;
        let objects = objects(&example, style)?;
        if objects.as_ref().is_some_and(|objects| !objects.is_empty()) && size.is_none() {
            let has_width = side(&example, key::WIDTH)?.is_some();
            return Err(PictureProblem::Size {
                key: if has_width { key::HEIGHT } else { key::WIDTH },
            });
        }
        let [difficult, _] = style.flags();
        Ok(Self {
            file_name: text(&example, key::FILE_NAME)?.unwrap_or_default(),
            source_id: text(&example, key::SOURCE_ID)?.filter(|id| !id.is_empty()),
            size,
            encoded,
            objects,
            style,
            tells_crowds: example.has(key::IS_CROWD)? || example.has(key::AREA)?,
            tells_difficulty: example.has(difficult)?,
        })
    }
}

impl Style {
    /// The keys of a class's number and name.
    pub const fn classes(self) -> [&'static str; 2] {
        match self {
            Self::Tfod => [key::CLASS_LABEL, key::CLASS_TEXT],
            Self::Hikapok => [key::BOX_LABEL, key::BOX_LABEL_TEXT],
        }
    }

    /// The keys of "difficult" and "truncated".
    pub const fn flags(self) -> [&'static str; 2] {
        match self {
            Self::Tfod => [key::DIFFICULT, key::TRUNCATED],
            Self::Hikapok => [key::BOX_DIFFICULT, key::BOX_TRUNCATED],
        }
    }
}

fn text(example: &Example<'_>, key: &'static str) -> Result<Option<String>, PictureProblem> {
    let strings = example.byte_strings(key)?;
    let Some(first) = strings.as_deref().and_then(<[&[u8]]>::first) else {
        return Ok(None);
    };
    as_text(first, key).map(Some)
}

fn as_text(bytes: &[u8], key: &'static str) -> Result<String, PictureProblem> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|_| PictureProblem::NotText { key })
}

fn size(example: &Example<'_>) -> Result<Option<(u32, u32)>, PictureProblem> {
    let (width, height) = (side(example, key::WIDTH)?, side(example, key::HEIGHT)?);
    Ok(width.zip(height))
}

fn side(example: &Example<'_>, key: &'static str) -> Result<Option<u32>, PictureProblem> {
    let numbers = example.integers(key)?.unwrap_or_default();
    let side = numbers.first().and_then(|&side| u32::try_from(side).ok());
    Ok(side.filter(|&side| side > 0))
}

fn objects(
    example: &Example<'_>,
    style: Style,
) -> Result<Option<Vec<RecordObject>>, PictureProblem> {
    let mut edges: [Vec<f32>; 4] = Default::default();
    let keys = [key::X_MIN, key::Y_MIN, key::X_MAX, key::Y_MAX];
    let mut is_told = false;
    for (edges, key) in edges.iter_mut().zip(keys) {
        if let Some(found) = example.floats(key)? {
            is_told = true;
            *edges = found;
        }
        let outside = |share: &&f32| !(-SHARE_MAX..=SHARE_MAX).contains(*share);
        if let Some(value) = edges.iter().find(outside) {
            let value = value.to_string();
            return Err(PictureProblem::Corner { key, value });
        }
    }
    if !is_told {
        return Ok(None);
    }
    let count = edges[0].len();
    let fits = |key, found| {
        if found == count {
            Ok(())
        } else {
            let expected = count;
            Err(PictureProblem::Count {
                key,
                found,
                expected,
            })
        }
    };
    for (edges, key) in edges.iter().zip(keys) {
        fits(key, edges.len())?;
    }
    // What a style leaves out is absent for all boxes of a record.
    let integers = |key| -> Result<Option<Vec<i64>>, PictureProblem> {
        let found = example.integers(key)?.filter(|found| !found.is_empty());
        found.iter().try_for_each(|found| fits(key, found.len()))?;
        Ok(found)
    };
    let [label, name] = style.classes();
    let [difficult, truncated] = style.flags();
    let labels = integers(label)?;
    let (crowds, difficult, truncated) = (
        integers(key::IS_CROWD)?,
        integers(difficult)?,
        integers(truncated)?,
    );
    let names = example
        .byte_strings(name)?
        .filter(|found| !found.is_empty());
    names.iter().try_for_each(|found| fits(name, found.len()))?;
    let areas = example.floats(key::AREA)?.filter(|found| !found.is_empty());
    areas
        .iter()
        .try_for_each(|found| fits(key::AREA, found.len()))?;
    let flag = |list: &Option<Vec<i64>>, at: usize| list.as_ref().is_some_and(|list| list[at] != 0);
    let object = |at: usize| {
        let name = names.as_ref().map(|names| as_text(names[at], name));
        Ok(RecordObject {
            corners: [edges[0][at], edges[1][at], edges[2][at], edges[3][at]],
            label: labels.as_ref().map(|labels| labels[at]),
            name: name.transpose()?,
            is_crowd: flag(&crowds, at),
            area: areas.as_ref().map(|areas| areas[at]),
            is_difficult: flag(&difficult, at),
            is_truncated: flag(&truncated, at),
        })
    };
    (0..count).map(object).collect::<Result<_, _>>().map(Some)
}
