//! The pictures on which the modes differ most, drawn with what each mode found.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use embedded_graphics::pixelcolor::Rgb888;

use super::laboratory::{ModeResult, Setting};
use super::source::Source;
use crate::annotate::{annotate, side_by_side, write_png, Mark, EMPHASIS, FAINT, TRUTH};
use crate::cli::failure::Failure;
use crate::laboratory::compare::PictureDifference;
use crate::library::decode::decode;
use crate::model::Labels;
use crate::postprocess::{Detection, NmsMode};

/// Weaker detections are not drawn: at a low threshold a picture has a hundred of them.
const DRAWN_FROM: f32 = 0.1;

/// Draws what each mode made of the pictures that differ most; gives the files.
pub fn draw(
    folder: &Path,
    source: &Source,
    setting: &Setting,
    worst: &[(usize, PictureDifference)],
) -> Result<Vec<PathBuf>, Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::usage(format!("--draw {}: {error}", folder.display())))?;
    let objects = objects_by_picture(setting);
    let mut written = Vec::new();
    for (rank, (index, difference)) in (1..).zip(worst) {
        let specimen = &source.specimens[*index];
        let file = fs::read(&specimen.picture).map_err(|error| {
            Failure::usage(format!(
                "{} cannot be read for drawing: {error}; name the folder of the pictures with --images",
                specimen.picture.display()
            ))
        })?;
        let picture = decode(&file)
            .map_err(|error| Failure::usage(format!("{}: {error}", specimen.picture.display())))?;
        let size = (f64::from(picture.width), f64::from(picture.height));
        let of_truth: Vec<Mark> = objects
            .get(index)
            .into_iter()
            .flatten()
            .map(|&[x, y, width, height]| Mark {
                edges: [x, y, x + width, y + height],
                label: String::new(),
                color: TRUTH,
                is_dashed: true,
            })
            .collect();
        let panel = |mode: &ModeResult, alone: &[Detection], other: NmsMode| {
            let mut marks = marks_of(&source.labels, alone, size, EMPHASIS);
            marks.extend(marks_of(&source.labels, &difference.both, size, FAINT));
            marks.extend(of_truth.iter().cloned());
            let count = |detections: &[Detection]| {
                detections
                    .iter()
                    .filter(|detection| is_drawn(detection))
                    .count()
            };
            let title = format!(
                "{}: {} from score {DRAWN_FROM}, red: {} that {} lacks",
                mode.nms.name(),
                count(&mode.detections[*index]),
                count(alone),
                other.name()
            );
            (title, annotate(&picture, &marks))
        };
        let [first, second] = &setting.modes[..] else {
            unreachable!("only both modes have a worst picture");
        };
        let (left_title, left) = panel(first, &difference.only_first, second.nms);
        let (right_title, right) = panel(second, &difference.only_second, first.nms);
        let whole = side_by_side(&[(&left_title, &left), (&right_title, &right)]);
        let stem = specimen
            .picture
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let path = folder.join(format!("{rank:02}-{stem}.png"));
        write_png(&path, &whole)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        written.push(path);
    }
    Ok(written)
}

fn marks_of(
    labels: &Labels,
    detections: &[Detection],
    (width, height): (f64, f64),
    color: Rgb888,
) -> Vec<Mark> {
    let mark = |detection: &Detection| {
        let name = labels.name(detection.class);
        let name = name.map_or_else(|| format!("class {}", detection.class), str::to_owned);
        Mark {
            edges: [
                f64::from(detection.x_min) * width,
                f64::from(detection.y_min) * height,
                f64::from(detection.x_max) * width,
                f64::from(detection.y_max) * height,
            ],
            label: format!("{name} {:.2}", detection.score),
            color,
            is_dashed: false,
        }
    };
    let drawn = detections.iter().filter(|detection| is_drawn(detection));
    drawn.map(mark).collect()
}

fn is_drawn(detection: &Detection) -> bool {
    detection.score >= DRAWN_FROM
}

/// Boxes of the ground truth by position of the picture.
fn objects_by_picture(setting: &Setting) -> HashMap<usize, Vec<[f64; 4]>> {
    let mut objects: HashMap<usize, Vec<[f64; 4]>> = HashMap::new();
    let matches = setting.modes.first().and_then(|mode| mode.matches.as_ref());
    for object in matches.iter().flat_map(|matches| &matches.objects) {
        objects.entry(object.picture).or_default().push(object.bbox);
    }
    objects
}
