//! Detections drawn on their picture, for people to look at.
//!
//! Input: a decoded picture and marks in its pixels. Output: another picture, and PNG files. Knows nothing of
//! models or scores.

mod palette;
mod text;

use std::io;
use std::path::Path;

use embedded_graphics::pixelcolor::Rgb888;

pub use palette::{color, EMPHASIS, FAINT, RIGHT, TRUTH};

use crate::library::decode::Picture;
use text::Lettering;

/// A box to draw, with words.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Left, top, right, bottom in pixels; may lie outside the picture.
    pub edges: [f64; 4],
    /// What stands at the box; empty for nothing.
    pub label: String,
    /// The colour of line and label.
    pub color: Rgb888,
    /// Whether the line is broken.
    pub is_dashed: bool,
    /// Whether the words are left out where others stand already.
    pub gives_way: bool,
}

/// The picture with the marks drawn on it, the first one on top.
pub fn annotate(picture: &Picture, marks: &[Mark]) -> Picture {
    let mut drawn = picture.clone();
    let lettering = Lettering::for_picture(picture);
    for mark in marks.iter().rev() {
        outline(&mut drawn, mark, lettering.scale());
    }
    // Labels after all lines, so that no line crosses a word; the best detection chooses its place first.
    let mut taken = Vec::new();
    for mark in marks.iter().filter(|mark| !mark.label.is_empty()) {
        lettering.label(&mut drawn, mark, &mut taken);
    }
    drawn
}

/// Pictures of one height beside each other, each under its title.
///
/// # Panics
/// When the heights differ.
pub fn side_by_side(panels: &[(&str, &Picture)]) -> Picture {
    const GAP: u32 = 8;
    let height = panels.first().map_or(0, |(_, picture)| picture.height);
    let lettering = panels.first().map_or(Lettering::SMALL, |(_, picture)| {
        Lettering::for_picture(picture)
    });
    let title_rows = lettering.line_height() + 4;
    let gaps = GAP * panels.len().saturating_sub(1) as u32;
    let width = gaps + panels.iter().map(|(_, picture)| picture.width).sum::<u32>();
    let mut whole = Picture {
        width,
        height: height + title_rows,
        rgb: vec![255; 3 * (width * (height + title_rows)) as usize],
    };
    let mut left = 0;
    for (title, picture) in panels {
        assert_eq!(picture.height, height, "panels are of one height");
        for row in 0..height {
            let from = 3 * (row * picture.width) as usize;
            let to = 3 * ((row + title_rows) * width + left) as usize;
            let len = 3 * picture.width as usize;
            whole.rgb[to..to + len].copy_from_slice(&picture.rgb[from..from + len]);
        }
        let room = picture.width;
        lettering.title(&mut whole, title, left, room);
        left += picture.width + GAP;
    }
    whole
}

/// Writes a picture as PNG.
///
/// # Errors
/// What the system says.
pub fn write_png(path: &Path, picture: &Picture) -> io::Result<()> {
    let (width, height) = (picture.width, picture.height);
    image::save_buffer_with_format(
        path,
        &picture.rgb,
        width,
        height,
        image::ExtendedColorType::Rgb8,
        image::ImageFormat::Png,
    )
    .map_err(|error| match error {
        image::ImageError::IoError(error) => error,
        other => io::Error::other(other),
    })
}

/// Draws the lines of a box, `thickness + 1` pixels wide, just inside its edges and the picture's.
fn outline(picture: &mut Picture, mark: &Mark, thickness: u32) {
    /// Pixels of a dash, and of the gap after it.
    const DASH: i64 = 6;
    let [left, top, right, bottom] = clipped(picture, mark.edges);
    let width = i64::from(thickness) + 1;
    let is_drawn = |along: i64| !mark.is_dashed || along / DASH % 2 == 0;
    for offset in 0..width {
        for x in (left..=right).filter(|&x| is_drawn(x - left)) {
            set(picture, x, (top + offset).min(bottom), mark.color);
            set(picture, x, (bottom - offset).max(top), mark.color);
        }
        for y in (top..=bottom).filter(|&y| is_drawn(y - top)) {
            set(picture, (left + offset).min(right), y, mark.color);
            set(picture, (right - offset).max(left), y, mark.color);
        }
    }
}

/// The edges as pixels of the picture; NaN and what lies outside becomes the nearest edge.
fn clipped(picture: &Picture, [left, top, right, bottom]: [f64; 4]) -> [i64; 4] {
    let within = |edge: f64, side: u32| {
        let last = f64::from(side) - 1.0;
        // A float becomes the nearest integer that there is, NaN zero.
        edge.min(last).max(0.0).round() as i64
    };
    [
        within(left, picture.width),
        within(top, picture.height),
        within(right, picture.width),
        within(bottom, picture.height),
    ]
}

fn set(picture: &mut Picture, x: i64, y: i64, color: Rgb888) {
    use embedded_graphics::pixelcolor::RgbColor;
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
        return;
    };
    if x < picture.width && y < picture.height {
        let at = 3 * (y as usize * picture.width as usize + x as usize);
        picture.rgb[at..at + 3].copy_from_slice(&[color.r(), color.g(), color.b()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32) -> Picture {
        Picture {
            width,
            height,
            rgb: vec![128; 3 * (width * height) as usize],
        }
    }

    fn mark(edges: [f64; 4]) -> Mark {
        Mark {
            edges,
            label: "dog 0.93".to_owned(),
            color: color(0),
            is_dashed: false,
            gives_way: false,
        }
    }

    #[test]
    fn boxes_beyond_the_picture_are_drawn_at_its_edge() {
        let odd = [
            [-50.0, -1e30, 1e30, 500.0],
            [f64::NAN, f64::NAN, f64::NAN, f64::NAN],
            [90.0, 90.0, 10.0, 10.0],
            [f64::INFINITY, 0.0, f64::NEG_INFINITY, 3.0],
        ];
        for edges in odd {
            for (width, height) in [(100, 80), (1, 1), (3, 200)] {
                let drawn = annotate(&grey(width, height), &[mark(edges)]);
                assert_eq!(drawn.rgb.len(), 3 * (width * height) as usize);
            }
        }
    }

    #[test]
    fn the_line_lies_on_the_edges_and_the_inside_is_left_alone() {
        let picture = annotate(&grey(200, 200), &[mark([50.0, 60.0, 150.0, 160.0])]);
        let at = |x: usize, y: usize| &picture.rgb[3 * (y * 200 + x)..][..3];
        let line = at(100, 160).to_vec();
        assert_ne!(line, [128; 3]);
        assert_eq!(at(150, 100), line);
        assert_eq!(at(50, 100), line);
        assert_eq!(at(100, 110), [128; 3]);
        assert_eq!(at(100, 170), [128; 3]);
    }

    #[test]
    fn panels_stand_side_by_side_under_their_titles() {
        let (left, right) = (grey(40, 30), grey(60, 30));
        let whole = side_by_side(&[("regular", &left), ("fast", &right)]);
        assert_eq!(whole.width, 108);
        assert!(whole.height > 30);
        let last = whole.rgb.len();
        assert_eq!(whole.rgb[last - 3..], [128; 3]);
        assert_eq!(side_by_side(&[]).width, 0);
    }
}
