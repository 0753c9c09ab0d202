//! The list of images to evaluate, from a file.

use std::path::Path;

use super::AccuracyError;

/// Reads image ids from a file: one a line (blank lines are passed over), or one JSON list.
///
/// # Errors
/// [`AccuracyError::Read`]; [`AccuracyError::ImageId`] with the line, or [`AccuracyError::Json`] for a list.
pub fn read_image_ids(path: &Path) -> Result<Vec<i64>, AccuracyError> {
    let text = std::fs::read_to_string(path).map_err(|source| AccuracyError::Read {
        path: path.to_owned(),
        source,
    })?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|source| AccuracyError::Json {
            origin: path.display().to_string(),
            expected: "a list of image ids",
            source,
        });
    }
    let numbered = text
        .lines()
        .map(str::trim)
        .zip(1..)
        .filter(|(line, _)| !line.is_empty());
    numbered
        .map(|(found, line)| {
            found.parse().map_err(|_| AccuracyError::ImageId {
                path: path.to_owned(),
                line,
                found: found.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_one_a_line_or_as_a_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        for text in ["139\n\n -7 \r\n", " [139,\n -7]"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_image_ids(&path).unwrap(), [139, -7]);
        }
        std::fs::write(&path, "139\nx.jpg\n").unwrap();
        let error = read_image_ids(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("line 2 holds `x.jpg`, which is not an image id"),
            "{error}"
        );
        std::fs::write(&path, "[1, 2").unwrap();
        assert!(matches!(
            read_image_ids(&path),
            Err(AccuracyError::Json { .. })
        ));
    }
}
