//! Coordinates in pixels from the shares in which records keep them.
//!
//! A record holds `pixels / side` rounded to `f32`; the pixels were published with at most two decimals
//! (COCO) or none (VOC). So of all numbers that give back the same share, the one with the fewest decimals is what
//! was written, and scores from records are those of the published file to the last bit.

/// COCO writes two; a third is for data sets that were made more finely.
const DECIMALS_MAX: u32 = 3;

/// Pixels, and how many decimals they have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pixels {
    /// The number.
    pub value: f64,
    /// Its decimals; `None` when no short number gives the share.
    pub decimals: Option<u32>,
}

/// The pixels that a share of a side stands for.
pub fn pixels(share: f32, side: u32) -> Pixels {
    let side = f64::from(side);
    let exact = f64::from(share) * side;
    let shortest = (0..=DECIMALS_MAX).find_map(|decimals| {
        let value = rounded(exact, decimals);
        (((value / side) as f32).to_bits() == share.to_bits()).then_some(Pixels {
            value,
            decimals: Some(decimals),
        })
    });
    shortest.unwrap_or(Pixels {
        value: exact,
        decimals: None,
    })
}

/// The distance of two coordinates, with as many decimals as they have.
pub fn distance(from: Pixels, to: Pixels) -> f64 {
    let exact = to.value - from.value;
    match (from.decimals, to.decimals) {
        (Some(a), Some(b)) => rounded(exact, a.max(b)),
        (Some(_) | None, None) | (None, Some(_)) => exact,
    }
}

/// The nearest number with so many decimals; a quotient of whole numbers, so it is the one that the text has.
fn rounded(number: f64, decimals: u32) -> f64 {
    let scale = f64::from(10_u32.pow(decimals));
    (number * scale).round() / scale
}

/// The number with the fewest digits whose nearest `f32` this is.
pub fn widened(number: f32) -> f64 {
    let text = number.to_string();
    text.parse().expect("Rust reads the floats that it writes")
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact equality is what is promised")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the converters compute it.
    fn share(pixels: f64, side: u32) -> f32 {
        (pixels / f64::from(side)) as f32
    }

    #[test]
    fn published_coordinates_come_back() {
        // COCO val2017, annotation 1768: [473.07, 395.93, 38.65, 28.67] in 640 x 480.
        let (x, right) = (share(473.07, 640), share(473.07 + 38.65, 640));
        assert_eq!(pixels(x, 640).value, 473.07);
        assert_eq!(distance(pixels(x, 640), pixels(right, 640)), 38.65);
        assert_eq!(pixels(share(500.0, 500), 500).value, 500.0);
        assert_eq!(pixels(0.0, 500).value, 0.0);
        // What was never a short number stays what it is.
        let third = share(100.0 / 3.0, 640);
        assert_eq!(pixels(third, 640).value, f64::from(third) * 640.0);
        assert!(pixels(f32::NAN, 640).value.is_nan());
        assert_eq!(widened(702.105_7), 702.105_7_f64);
    }

    proptest! {
        #[test]
        fn hundredths_of_a_pixel_survive_the_way_through_shares(
            side in 1_u32..3_000, from in 0_u32..300_000, length in 0_u32..300_000,
        ) {
            let from = from % (side * 100 + 1);
            let length = length % (side * 100 + 1 - from);
            let (x, width) = (f64::from(from) / 100.0, f64::from(length) / 100.0);
            let (begin, end) = (pixels(share(x, side), side), pixels(share(x + width, side), side));
            prop_assert_eq!(begin.value, x);
            prop_assert_eq!(distance(begin, end), width);
        }
    }
}
