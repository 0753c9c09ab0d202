//! Colours that people can tell apart.

use embedded_graphics::pixelcolor::Rgb888;

/// For what only one side has, and rightly.
pub const RIGHT: Rgb888 = Rgb888::new(60, 220, 60);
/// For what only one side has.
pub const EMPHASIS: Rgb888 = Rgb888::new(255, 40, 40);
/// For what both sides have.
pub const FAINT: Rgb888 = Rgb888::new(90, 200, 255);
/// For the ground truth.
pub const TRUTH: Rgb888 = Rgb888::new(255, 255, 255);

/// Strong colours, neighbours far apart; the order puts the easiest to tell apart first.
const COLORS: [Rgb888; 18] = [
    Rgb888::new(230, 25, 75),
    Rgb888::new(60, 180, 75),
    Rgb888::new(255, 225, 25),
    Rgb888::new(0, 130, 200),
    Rgb888::new(245, 130, 48),
    Rgb888::new(145, 30, 180),
    Rgb888::new(70, 240, 240),
    Rgb888::new(240, 50, 230),
    Rgb888::new(210, 245, 60),
    Rgb888::new(250, 190, 212),
    Rgb888::new(0, 128, 128),
    Rgb888::new(220, 190, 255),
    Rgb888::new(170, 110, 40),
    Rgb888::new(255, 250, 200),
    Rgb888::new(128, 0, 0),
    Rgb888::new(170, 255, 195),
    Rgb888::new(128, 128, 0),
    Rgb888::new(0, 0, 128),
];

/// The colour of the `index`-th thing; they repeat after 18.
pub const fn color(index: usize) -> Rgb888 {
    COLORS[index % COLORS.len()]
}
