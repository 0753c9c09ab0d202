//! Detections as pytorch-ssd's `eval_ssd.py` writes them, class by class, and the average precisions that it prints.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::measure::Bench;
use super::subject::Subject;
use super::truth::RunTruth;
use crate::accuracy::voc::{
    self, mean_average_precision, score_class_above, VocDetection, VocObject, VocStyle,
};
use crate::cli::dialect::VocEvaluation;
use crate::cli::failure::Failure;
use crate::dataset::voc_name;
use crate::library::PictureEntry;
use crate::postprocess::Detection;
use crate::sut::pool::Answer;

/// A detection as a line of a file has it: the numbers are printed, and scored as they are read again.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    class: String,
    image: String,
    /// Score, `x_min`, `y_min`, `x_max`, `y_max`, in pixels counted from one.
    numbers: [f32; 5],
}

impl Line {
    fn of(detection: &Detection, class: &str, picture: &PictureEntry) -> Self {
        let (width, height) = (picture.width as f32, picture.height as f32);
        Self {
            class: class.to_owned(),
            image: voc_name(&picture.file_name).to_owned(),
            numbers: [
                detection.score,
                detection.x_min * width + 1.0,
                detection.y_min * height + 1.0,
                detection.x_max * width + 1.0,
                detection.y_max * height + 1.0,
            ],
        }
    }

    fn text(&self) -> String {
        let numbers: Vec<String> = self.numbers.iter().map(|&number| printed(number)).collect();
        format!("{} {}", self.image, numbers.join(" "))
    }

    fn detection(&self) -> VocDetection {
        let [score, corners @ ..] = self.numbers;
        let read = |number: f32| -> f64 {
            printed(number)
                .parse()
                .expect("a printed number is a number")
        };
        VocDetection {
            image: self.image.clone(),
            class: self.class.clone(),
            score: read(score),
            corners: corners.map(read),
        }
    }
}

/// A number as numpy prints an f32: the shortest decimals, and two digits of an exponent.
fn printed(number: f32) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
    }
}

/// The class that a label means: by its name, or as VOC or COCO call the same.
fn class_of<'a>(label: &'a str, classes: &[String]) -> Option<&'a str> {
    let mut names = [label, voc::voc_name(label), voc::coco_name(label)].into_iter();
    names.find(|name| classes.iter().any(|class| class == name))
}

/// Refuses classes that the model does not know.
///
/// # Errors
/// The sentence that says which.
pub fn check_classes(evaluation: &VocEvaluation, subject: &Subject) -> Result<(), Failure> {
    let labels = &subject.description.labels;
    let labels: Vec<&str> = (0..labels.class_count())
        .filter_map(|class| labels.name(class as u32))
        .collect();
    let is_known = |class: &String| {
        let class = std::slice::from_ref(class);
        labels.iter().any(|label| class_of(label, class).is_some())
    };
    match evaluation.classes.iter().find(|class| !is_known(class)) {
        None => Ok(()),
        Some(class) => Err(Failure::usage(format!(
            "the class `{class}` is to be scored, but the model {} does not know it (its first is `{}`); pass a label file with its classes, or another model",
            subject.description.name,
            labels.first().unwrap_or(&"none"),
        ))),
    }
}

/// The lines of all answers of the first detector, picture by picture in the library's order.
pub fn lines(bench: &Bench<'_>, answers: &[Answer]) -> Vec<Line> {
    let labels = &bench.subject.description.labels;
    let pictures = bench.pictures.library.pictures();
    let mut answers: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.detector == 0)
        .collect();
    answers.sort_by_key(|answer| answer.sample);
    let of_answer = |answer: &&Answer| {
        let picture = &pictures[answer.sample.as_usize()];
        let named = answer.detections.iter().filter_map(|detection| {
            let class = class_of(labels.name(detection.class)?, &bench.voc_classes)?;
            Some(Line::of(detection, class, picture))
        });
        named.collect::<Vec<_>>()
    };
    answers.iter().flat_map(of_answer).collect()
}

/// Writes `det_test_CLASS.txt` into the folder for them and gives what the script prints.
///
/// # Errors
/// When the annotations cannot be read or a file cannot be written.
pub fn evaluate(evaluation: &VocEvaluation, bench: &Bench<'_>) -> Result<String, Failure> {
    let folder = &evaluation.eval_dir;
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    for class in &evaluation.classes {
        let own = bench.voc_lines.iter().filter(|line| line.class == *class);
        let text: String = own.map(|line| line.text() + "\n").collect();
        let path = folder.join(format!("det_test_{class}.txt"));
        fs::write(&path, text).map_err(|error| unwritable(&path, &error))?;
    }
    let objects = objects(bench)?;
    let detections: Vec<VocDetection> = bench.voc_lines.iter().map(Line::detection).collect();
    let mut text = format!("\n\n{}\n", evaluation.heading);
    let mut values = Vec::new();
    let mut without = Vec::new();
    for class in &evaluation.classes {
        let least = evaluation.least_iou;
        let score = score_class_above(class, &objects, &detections, VocStyle::Ptssd, least);
        if score.object_count == 0 {
            without.push(class.as_str());
            continue;
        }
        let value = if evaluation.eleven_points {
            score.ap_11
        } else {
            score.ap_all
        };
        let _ = writeln!(text, "{class}: {}", python(value));
        values.push(value);
    }
    if !without.is_empty() {
        let _ = writeln!(
            text,
            "no objects in the data set, so left out of the mean: {}",
            without.join(", ")
        );
    }
    let mean = mean_average_precision(&values, VocStyle::Ptssd);
    let _ = writeln!(
        text,
        "\nAverage Precision Across All Classes:{}",
        python(mean)
    );
    if let Some(model) = evaluation.summary {
        let _ = writeln!(text, "\n## Evaluation Summary ##\n{model} | mAP: {mean:.4}");
    }
    let _ = writeln!(text, "detections in {}", folder.display());
    Ok(text)
}

/// The objects in the pictures of the run.
fn objects(bench: &Bench<'_>) -> Result<Vec<VocObject>, Failure> {
    let Some(RunTruth::Voc { objects, .. }) = &bench.pictures.ground_truth else {
        return Err(Failure::usage(
            "the data set is none of Pascal VOC, which --compat pytorch-ssd scores; give one with Annotations and JPEGImages",
        ));
    };
    let pictures = bench.pictures.library.pictures().iter();
    let names: BTreeSet<&str> = pictures
        .map(|picture| voc_name(&picture.file_name))
        .collect();
    let here = objects
        .iter()
        .filter(|object| names.contains(object.image.as_str()));
    Ok(here.cloned().collect())
}

/// A number as Python prints it.
fn python(value: f64) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else {
        format!("{value:?}")
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_numpy_prints_them() {
        // str(numpy.float32(x)) of each.
        for (number, text) in [
            (1.0_f32, "1.0"),
            (0.1, "0.1"),
            (123.456_79, "123.45679"),
            (0.010_000_001, "0.010000001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (-3.25, "-3.25"),
        ] {
            assert_eq!(printed(number), text);
        }
    }

    #[test]
    fn a_line_is_read_again_as_it_was_printed() {
        let line = Line {
            class: "dog".to_owned(),
            image: "000001".to_owned(),
            numbers: [0.1, 9.0, 241.5, 196.25, 372.0],
        };
        assert_eq!(line.text(), "000001 0.1 9.0 241.5 196.25 372.0");
        // The score is the decimal's double, not the f32's.
        assert_eq!(line.detection().score.to_bits(), 0.1_f64.to_bits());
    }
}
