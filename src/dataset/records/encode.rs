//! A picture and its boxes as a record.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::super::tfrecord::example::{encode as encode_example, List};
use super::fields::{key, RecordObject, Style};
use crate::library::decode::PictureFormat;

/// What a record says, before it is encoded.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// The file that it was.
    pub file_name: &'a str,
    /// The picture's id in its data set.
    pub image_id: i64,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// What kind of file it is.
    pub format: PictureFormat,
    /// The file, untouched.
    pub encoded: &'a [u8],
    /// Its boxes; `None` when nothing is known of them.
    pub objects: Option<&'a [RecordObject]>,
    /// Whether the data set is VOC: difficult and truncated boxes, pictures named by their files.
    pub is_voc: bool,
}

/// The data of a record.
///
/// HiKapok's style has no keys for the picture's id, crowds and areas; COCO's are written with the other style's keys, which its readers
/// pass over.
pub fn encode(picture: &Labelled<'_>, style: Style) -> Vec<u8> {
    let (width, height) = (i64::from(picture.size.0), i64::from(picture.size.1));
    let source_id = if picture.is_voc {
        picture.file_name.to_owned()
    } else {
        picture.image_id.to_string()
    };
    let format = match (style, picture.format) {
        (Style::Tfod, PictureFormat::Jpeg) => "jpeg",
        (Style::Tfod, PictureFormat::Png) => "png",
        (Style::Hikapok, PictureFormat::Jpeg) => "JPEG",
        (Style::Hikapok, PictureFormat::Png) => "PNG",
    };
    let digest = match style {
        Style::Tfod => format!("{:x}", Sha256::digest(picture.encoded)),
        Style::Hikapok => String::new(),
    };
    let mut features = BTreeMap::from([
        (key::ENCODED, List::Bytes(vec![picture.encoded])),
        (key::FORMAT, List::Bytes(vec![format.as_bytes()])),
        (
            key::FILE_NAME,
            List::Bytes(vec![picture.file_name.as_bytes()]),
        ),
        (key::WIDTH, List::Integers(vec![width])),
        (key::HEIGHT, List::Integers(vec![height])),
    ]);
    match style {
        Style::Tfod => {
            features.insert(key::SHA256, List::Bytes(vec![digest.as_bytes()]));
            features.insert(key::SOURCE_ID, List::Bytes(vec![source_id.as_bytes()]));
        }
        Style::Hikapok => {
            features.insert(key::CHANNELS, List::Integers(vec![3]));
            features.insert(key::SHAPE, List::Integers(vec![height, width, 3]));
            if !picture.is_voc {
                features.insert(key::SOURCE_ID, List::Bytes(vec![source_id.as_bytes()]));
            }
        }
    }
    if let Some(objects) = picture.objects {
        insert_objects(&mut features, objects, style, picture.is_voc);
    }
    encode_example(&features)
}

fn insert_objects<'a>(
    features: &mut BTreeMap<&str, List<'a>>,
    objects: &'a [RecordObject],
    style: Style,
    is_voc: bool,
) {
    let corners = [key::X_MIN, key::Y_MIN, key::X_MAX, key::Y_MAX];
    for (edge, key) in corners.into_iter().enumerate() {
        let edges = objects.iter().map(|object| object.corners[edge]);
        features.insert(key, List::Floats(edges.collect()));
    }
    let integers = |of: fn(&RecordObject) -> i64| List::Integers(objects.iter().map(of).collect());
    let [label, name] = style.classes();
    features.insert(label, integers(|object| object.label.unwrap_or_default()));
    let names = objects
        .iter()
        .map(|object| object.name.as_deref().unwrap_or_default().as_bytes());
    features.insert(name, List::Bytes(names.collect()));
    let [difficult, truncated] = style.flags();
    if is_voc || style == Style::Hikapok {
        features.insert(difficult, integers(|object| i64::from(object.is_difficult)));
        features.insert(truncated, integers(|object| i64::from(object.is_truncated)));
    }
    if !is_voc {
        features.insert(key::IS_CROWD, integers(|object| i64::from(object.is_crowd)));
        let areas: Option<Vec<f32>> = objects.iter().map(|object| object.area).collect();
        if let Some(areas) = areas {
            features.insert(key::AREA, List::Floats(areas));
        }
    }
}
