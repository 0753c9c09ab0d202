//! The pictures on which the modes differ most, drawn with what each mode found.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use embedded_graphics::pixelcolor::Rgb888;

use super::laboratory::{ModeResult, Setting};
use super::source::Source;
use crate::annotate::{annotate, side_by_side, write_png, Mark, EMPHASIS, FAINT, RIGHT, TRUTH};
use crate::cli::failure::Failure;
use crate::laboratory::compare::PictureDifference;
use crate::library::decode::decode;
use crate::model::Labels;
use crate::postprocess::Detection;

/// Weaker detections are not drawn: at a low threshold a picture has a hundred of them.
pub const DRAWN_FROM: f32 = 0.1;

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
            .map(|object| Mark {
                edges: edges_of_object(object),
                label: String::new(),
                color: TRUTH,
                is_dashed: true,
                gives_way: true,
            })
            .collect();
        let panel = |mode: &ModeResult, alone: &[Detection]| {
            let (right, wrong): (Vec<_>, Vec<_>) = alone
                .iter()
                .filter(|detection| is_drawn(detection))
                .partition(|detection| finds_an_object(mode, *index, detection));
            let both = difference
                .both
                .iter()
                .filter(|detection| is_drawn(detection));
            let mut marks = Vec::new();
            for (detections, color, gives_way) in [
                (right.clone(), RIGHT, false),
                (wrong.clone(), EMPHASIS, false),
                (both.collect(), FAINT, true),
            ] {
                let drawn = detections.into_iter();
                marks.extend(drawn.map(|one| mark_of(&source.labels, one, size, color, gives_way)));
            }
            marks.extend(of_truth.iter().cloned());
            let alone = match mode.matches {
                Some(_) => format!("{} right (green), {} wrong (red)", right.len(), wrong.len()),
                None => format!("{} (red)", wrong.len()),
            };
            let title = format!("{} alone: {alone}", mode.nms.name());
            (title, annotate(&picture, &marks))
        };
        let [first, second] = &setting.modes[..] else {
            unreachable!("only both modes have a worst picture");
        };
        let (left_title, left) = panel(first, &difference.only_first);
        let (right_title, right) = panel(second, &difference.only_second);
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

fn mark_of(
    labels: &Labels,
    detection: &Detection,
    (width, height): (f64, f64),
    color: Rgb888,
    gives_way: bool,
) -> Mark {
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
        gives_way,
    }
}

/// Whether an object of the ground truth was found by this detection, at `IoU` 0.5: objects remember the score.
#[allow(clippy::float_cmp)] // The score went over as it is.
fn finds_an_object(mode: &ModeResult, picture: usize, detection: &Detection) -> bool {
    let objects = mode.matches.iter().flat_map(|matches| &matches.objects);
    objects
        .filter(|object| object.picture == picture)
        .any(|object| object.found == Some(f64::from(detection.score)))
}

fn edges_of_object(&[x, y, width, height]: &[f64; 4]) -> [f64; 4] {
    [x, y, x + width, y + height]
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
