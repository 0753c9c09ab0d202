//! Words on pictures, in a size that fits the picture.

use std::convert::Infallible;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::FONT_9X15_BOLD;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, Pixel};

use super::{clipped, set, Mark};
use crate::library::decode::Picture;

const LETTER_WIDTH: u32 = 9;
const LETTER_HEIGHT: u32 = 15;

/// A picture whose shorter side has so many pixels gets letters of the next size.
const SIDE_PER_SCALE: u32 = 900;

/// The size of the letters: each dot of the font is `scale` pixels wide and high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lettering {
    scale: u32,
}

/// A place that holds a label: left, top, right, bottom.
pub(super) type Place = [i64; 4];

impl Lettering {
    pub(super) const SMALL: Self = Self { scale: 1 };

    pub(super) fn for_picture(picture: &Picture) -> Self {
        let side = picture.width.min(picture.height);
        Self {
            scale: 1 + side / SIDE_PER_SCALE,
        }
    }

    pub(super) const fn scale(self) -> u32 {
        self.scale
    }

    pub(super) const fn line_height(self) -> u32 {
        LETTER_HEIGHT * self.scale
    }

    fn width(self, text: &str) -> u32 {
        text.chars().count() as u32 * LETTER_WIDTH * self.scale
    }

    /// Writes the label of a mark on a field of its colour: above the box where there is room, else inside its upper
    /// edge or below the box, else a few lines further down. Beyond that it would seem to belong to something else
    /// and is left out, as is the label of a mark that gives way to any other.
    pub(super) fn label(self, picture: &mut Picture, mark: &Mark, taken: &mut Vec<Place>) {
        /// Lines that a label may be away from its box.
        const LINES_AWAY: i64 = 3;
        let [left, top, _, bottom] = clipped(picture, mark.edges);
        let (width, height) = (
            i64::from(self.width(&mark.label)) + 4,
            i64::from(self.line_height()),
        );
        let left = left.min(i64::from(picture.width) - width).max(0);
        let further = (1..=LINES_AWAY).map(|lines| top + lines * height);
        // A label inside a small box would hide it.
        let (second, third) = if bottom - top < 2 * height {
            (bottom + 1, top)
        } else {
            (top, bottom + 1)
        };
        let places = [top - height, second, third].into_iter().chain(further);
        let is_inside =
            |place: &i64| *place >= 0 && place + height <= i64::from(picture.height).max(height);
        let is_free = |place: &i64| {
            taken.iter().all(|other| {
                left + width <= other[0]
                    || other[2] <= left
                    || place + height <= other[1]
                    || other[3] <= *place
            })
        };
        let mut places = places.filter(is_inside);
        let found = if mark.gives_way {
            places.next().filter(is_free)
        } else {
            places.find(is_free)
        };
        let Some(place) = found else { return };
        taken.push([left, place, left + width, place + height]);
        for y in place..place + height {
            for x in left..left + width {
                set(picture, x, y, mark.color);
            }
        }
        self.write(picture, &mark.label, (left + 2, place), ink_on(mark.color));
    }

    /// Writes a line at the very top, from `left` on, cut to `room` pixels.
    pub(super) fn title(self, picture: &mut Picture, title: &str, left: u32, room: u32) {
        let letters = (room / (LETTER_WIDTH * self.scale)) as usize;
        let title: String = title.chars().take(letters).collect();
        self.write(picture, &title, (i64::from(left) + 2, 2), Rgb888::BLACK);
    }

    fn write(self, picture: &mut Picture, text: &str, (left, top): (i64, i64), ink: Rgb888) {
        let mut page = Page {
            picture,
            scale: i64::from(self.scale),
            left,
            top,
        };
        let style = MonoTextStyle::new(&FONT_9X15_BOLD, ink);
        let Ok(_) = Text::with_baseline(text, Point::zero(), style, Baseline::Top).draw(&mut page);
    }
}

/// Black on light colours, white on dark ones.
fn ink_on(field: Rgb888) -> Rgb888 {
    // Weights of the primaries in brightness, in thousandths.
    let brightness =
        299 * u32::from(field.r()) + 587 * u32::from(field.g()) + 114 * u32::from(field.b());
    if brightness > 128_000 {
        Rgb888::BLACK
    } else {
        Rgb888::WHITE
    }
}

/// A picture as the letters see it: dots of `scale` pixels from (`left`, `top`) on.
struct Page<'a> {
    picture: &'a mut Picture,
    scale: i64,
    left: i64,
    top: i64,
}

impl OriginDimensions for Page<'_> {
    fn size(&self) -> Size {
        Size::new(self.picture.width, self.picture.height)
    }
}

impl DrawTarget for Page<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        dots: I,
    ) -> Result<(), Infallible> {
        for Pixel(dot, color) in dots {
            for y in 0..self.scale {
                for x in 0..self.scale {
                    let x = self.left + i64::from(dot.x) * self.scale + x;
                    let y = self.top + i64::from(dot.y) * self.scale + y;
                    set(self.picture, x, y, color);
                }
            }
        }
        Ok(())
    }
}
