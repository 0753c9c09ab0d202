//! What the laboratory tells: a text that answers which mode to take, and the same as JSON.

mod json;
mod text;

use std::path::{Path, PathBuf};

pub use self::json::write_json;
pub use self::text::write_text;
use super::laboratory::Setting;
use super::source::Specimen;
use crate::accuracy::matching::Object;
use crate::accuracy::GroundTruth;
use crate::laboratory::compare::PictureDifference;

/// Everything that the laboratory found.
pub struct Study<'a> {
    /// The model or the file.
    pub title: &'a str,
    /// The ground truth, where there is one.
    pub truth: Option<&'a GroundTruth>,
    /// The pictures.
    pub specimens: &'a [Specimen],
    /// By point of the sweep.
    pub settings: &'a [Setting],
    /// The pictures that differ most at the first point.
    pub worst: &'a [(usize, PictureDifference)],
    /// Their drawings, if they were asked for.
    pub drawn: &'a [PathBuf],
    /// What an inference took, by picture, where the laboratory ran a model.
    pub inference_us: &'a [f64],
    /// Draws of each interval.
    pub resamples: u32,
    /// Their seed.
    pub seed: u64,
}

/// The middle and the ninth tenth of a picture's time.
fn quantiles(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |rank: usize| sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0);
    let count = sorted.len();
    (at(count.div_ceil(2)), at((count * 9).div_ceil(10)))
}

/// Who found the objects of the ground truth, at `IoU` 0.5.
struct Found<'a> {
    both: usize,
    only_first: Vec<&'a Object>,
    only_second: Vec<&'a Object>,
    neither: usize,
}

impl<'a> Found<'a> {
    fn new(setting: &'a Setting) -> Option<Self> {
        let [first, second] = &setting.modes[..] else {
            return None;
        };
        let first = &first.matches.as_ref()?.objects;
        let second = &second.matches.as_ref()?.objects;
        let mut found = Self {
            both: 0,
            only_first: Vec::new(),
            only_second: Vec::new(),
            neither: 0,
        };
        for (in_first, in_second) in first.iter().zip(second) {
            match (in_first.found, in_second.found) {
                (Some(_), Some(_)) => found.both += 1,
                (Some(_), None) => found.only_first.push(in_first),
                (None, Some(_)) => found.only_second.push(in_second),
                (None, None) => found.neither += 1,
            }
        }
        let best_first = |a: &&Object, b: &&Object| b.found.partial_cmp(&a.found).expect("no NaN");
        found.only_first.sort_by(best_first);
        found.only_second.sort_by(best_first);
        Some(found)
    }
}

impl Study<'_> {
    fn category(&self, id: i64) -> String {
        let name = self.truth.and_then(|truth| {
            let found = truth.categories().find(|(known, _)| *known == id);
            found.map(|(_, name)| name.to_owned())
        });
        name.filter(|name| !name.is_empty())
            .unwrap_or_else(|| id.to_string())
    }

    fn name(&self, picture: usize) -> String {
        file_name(&self.specimens[picture].picture)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
