//! VOC's files: annotations as XML, detections as text by class or as one JSON list.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{VocDetection, VocObject};
use crate::accuracy::AccuracyError;

fn read(path: &Path) -> Result<String, AccuracyError> {
    fs::read_to_string(path).map_err(|source| AccuracyError::Read {
        path: path.to_owned(),
        source,
    })
}

/// File names in `folder` that end in `extension`, without it, sorted.
fn stems(folder: &Path, extension: &str) -> Result<Vec<String>, AccuracyError> {
    let failed = |source| AccuracyError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut stems = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if let Some(stem) = name
            .strip_suffix(extension)
            .filter(|stem| !stem.starts_with('.'))
        {
            stems.push(stem.to_owned());
        }
    }
    stems.sort();
    Ok(stems)
}

/// Reads `DIR/Annotations/*.xml`: of the pictures named, or of all. Gives the pictures' names and their objects.
///
/// # Errors
/// [`AccuracyError`] naming the file and what it lacks.
pub fn read_annotations(
    folder: &Path,
    names: Option<Vec<String>>,
) -> Result<(Vec<String>, Vec<VocObject>), AccuracyError> {
    let annotations = folder.join("Annotations");
    let names = match names {
        Some(names) => names,
        None => stems(&annotations, ".xml")?,
    };
    if names.is_empty() {
        return Err(AccuracyError::NoAnnotations {
            folder: annotations,
        });
    }
    let mut objects = Vec::new();
    for name in &names {
        let path = annotations.join(format!("{name}.xml"));
        let text = read(&path)?;
        parse_annotation(&text, name, &mut objects)
            .map_err(|problem| AccuracyError::VocAnnotation { path, problem })?;
    }
    Ok((names, objects))
}

/// Why an annotation file is refused.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationProblem {
    /// Not XML.
    #[error("it is not XML: {0}")]
    Xml(#[from] roxmltree::Error),
    /// An object without something.
    #[error("its object {object} has no usable `{element}`")]
    Lacks {
        /// Position, from 1.
        object: usize,
        /// The element.
        element: &'static str,
    },
}

/// Adds the objects of an annotation file's text to a list, as those of the picture `image`.
///
/// # Errors
/// [`AnnotationProblem`].
pub fn parse_annotation(
    text: &str,
    image: &str,
    objects: &mut Vec<VocObject>,
) -> Result<(), AnnotationProblem> {
    let document = roxmltree::Document::parse(text)?;
    let root = document.root_element();
    let elements = root.children().filter(|node| node.has_tag_name("object"));
    for (number, element) in (1..).zip(elements) {
        let lacks = |element| AnnotationProblem::Lacks {
            object: number,
            element,
        };
        // Parts of a person have names and boxes of their own, further down.
        let child = |name| element.children().find(|node| node.has_tag_name(name));
        let words = |name| child(name).and_then(|node| node.text()).map(str::trim);
        let corners = child("bndbox").ok_or_else(|| lacks("bndbox"))?;
        let edge = |name: &'static str| {
            let edge = corners.children().find(|node| node.has_tag_name(name));
            let number = edge.and_then(|node| node.text()?.trim().parse::<f64>().ok());
            number
                .filter(|edge| edge.is_finite())
                .ok_or_else(|| lacks(name))
        };
        objects.push(VocObject {
            image: image.to_owned(),
            class: words("name").ok_or_else(|| lacks("name"))?.to_owned(),
            corners: [edge("xmin")?, edge("ymin")?, edge("xmax")?, edge("ymax")?],
            is_difficult: words("difficult").is_some_and(|word| word != "0"),
            is_truncated: words("truncated").is_some_and(|word| word != "0"),
        });
    }
    Ok(())
}

/// Reads names of pictures, one a line; VOC's lists of a class have a second column, which is passed over.
///
/// # Errors
/// [`AccuracyError::Read`].
pub fn read_image_names(path: &Path) -> Result<Vec<String>, AccuracyError> {
    let text = read(path)?;
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// One entry of a JSON list of detections.
#[derive(Deserialize, Serialize)]
struct Entry {
    image: String,
    class: String,
    score: f64,
    bbox: [f64; 4],
}

/// Reads detections: a folder with a file `…_CLASS.txt` for each class (each line `image score x_min y_min x_max
/// y_max`), or one JSON list of `{"image", "class", "score", "bbox": [x_min, y_min, x_max, y_max]}`. Pixels count from 1.
///
/// # Errors
/// [`AccuracyError`] naming the file, and its line or the detection.
pub fn read_detections(path: &Path) -> Result<Vec<VocDetection>, AccuracyError> {
    let detections = if path.is_dir() {
        let mut detections = Vec::new();
        for stem in stems(path, ".txt")? {
            let class = stem.rsplit('_').next().unwrap_or(&stem);
            let file = path.join(format!("{stem}.txt"));
            parse_lines(&file, &read(&file)?, class, &mut detections)?;
        }
        detections
    } else {
        let entries: Vec<Entry> =
            serde_json::from_str(&read(path)?).map_err(|source| AccuracyError::Json {
                origin: path.display().to_string(),
                expected: "a list of VOC detections",
                source,
            })?;
        let detection = |entry: Entry| VocDetection {
            image: entry.image,
            class: entry.class,
            score: entry.score,
            corners: entry.bbox,
        };
        entries.into_iter().map(detection).collect()
    };
    match detections.iter().position(|one| one.score.is_nan()) {
        None => Ok(detections),
        Some(index) => Err(AccuracyError::NotANumber {
            index,
            key: "score",
            value: f64::NAN,
        }),
    }
}

/// Writes detections as the JSON list that [`read_detections`] reads, each number with the fewest digits that read back the same.
///
/// # Errors
/// [`AccuracyError::NotANumber`] for what JSON cannot hold, before anything is written; [`AccuracyError::Write`].
pub fn write_detections(path: &Path, detections: &[VocDetection]) -> Result<(), AccuracyError> {
    for (index, detection) in detections.iter().enumerate() {
        let numbers = detection.corners.iter().map(|&edge| ("bbox", edge));
        for (key, value) in numbers.chain([("score", detection.score)]) {
            if !value.is_finite() {
                return Err(AccuracyError::NotANumber { index, key, value });
            }
        }
    }
    let entries: Vec<Entry> = detections
        .iter()
        .map(|detection| Entry {
            image: detection.image.clone(),
            class: detection.class.clone(),
            score: detection.score,
            bbox: detection.corners,
        })
        .collect();
    let failed = |source| AccuracyError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = BufWriter::new(fs::File::create(path).map_err(failed)?);
    serde_json::to_writer(&mut file, &entries).map_err(|error| failed(error.into()))?;
    file.flush().map_err(failed)
}

fn parse_lines(
    path: &Path,
    text: &str,
    class: &str,
    detections: &mut Vec<VocDetection>,
) -> Result<(), AccuracyError> {
    for (line, words) in (1..).zip(text.lines()) {
        if words.trim().is_empty() {
            continue;
        }
        let detection = parse_line(words, class).ok_or_else(|| AccuracyError::VocDetection {
            path: path.to_owned(),
            line,
        })?;
        detections.push(detection);
    }
    Ok(())
}

fn parse_line(words: &str, class: &str) -> Option<VocDetection> {
    let mut words = words.split_whitespace();
    let image = words.next()?.to_owned();
    let numbers: Vec<f64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let &[score, x_min, y_min, x_max, y_max] = numbers.as_slice() else {
        return None;
    };
    Some(VocDetection {
        image,
        class: class.to_owned(),
        score,
        corners: [x_min, y_min, x_max, y_max],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_object_are_no_objects() {
        let text = "<annotation><object><name>person</name><difficult>1</difficult>
            <part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>
            <bndbox><xmax>30</xmax><xmin>10.5</xmin><ymin>20</ymin><ymax>40</ymax></bndbox></object></annotation>";
        let mut objects = Vec::new();
        parse_annotation(text, "a", &mut objects).unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(
            objects[0].corners.map(f64::to_bits),
            [10.5, 20.0, 30.0, 40.0].map(f64::to_bits)
        );
        assert!(objects[0].is_difficult);
        let error = parse_annotation(&text.replace("ymax", "zmax"), "a", &mut objects).unwrap_err();
        assert_eq!(error.to_string(), "its object 1 has no usable `ymax`");
    }

    #[test]
    fn a_line_that_is_no_detection_is_refused_by_number() {
        let mut detections = Vec::new();
        let path = Path::new("det_dog.txt");
        parse_lines(
            path,
            "a 0.5 1 2 3 4\n\nb 1e-3 1 2 3 4.5\n",
            "dog",
            &mut detections,
        )
        .unwrap();
        assert_eq!(detections.len(), 2);
        let error =
            parse_lines(path, "a 0.5 1 2 3 4\nb 0.5 1 2 3", "dog", &mut detections).unwrap_err();
        assert!(
            error.to_string().starts_with("det_dog.txt, line 2"),
            "{error}"
        );
    }
}
