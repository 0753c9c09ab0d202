//! What a call of post-processing costs.

use crate::clock::{Clock, Monotonic};
use crate::postprocess::PostprocessError;

/// The median of `repeat` calls in microseconds, after one call that is not counted. A call decodes, suppresses and
/// writes what it kept.
///
/// # Errors
/// Whatever the call refuses.
///
/// # Panics
/// When `repeat` is zero.
pub fn median_us(
    mut call: impl FnMut() -> Result<(), PostprocessError>,
    repeat: u32,
) -> Result<f64, PostprocessError> {
    assert!(repeat > 0, "the median of nothing");
    let clock = Monotonic::new();
    call()?;
    let mut times = Vec::with_capacity(repeat as usize);
    for _ in 0..repeat {
        let start = clock.now();
        call()?;
        times.push(clock.now().saturating_since(start).as_nanos());
    }
    Ok(median(&mut times) / 1e3)
}

/// The middle value, or the mean of the two in the middle.
fn median(values: &mut [u64]) -> f64 {
    values.sort_unstable();
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle] as f64
    } else {
        f64::midpoint(values[middle - 1] as f64, values[middle] as f64)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Small whole numbers.
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&mut [5]), 5.0);
        assert_eq!(median(&mut [9, 1, 5]), 5.0);
        assert_eq!(median(&mut [9, 1, 5, 6]), 5.5);
    }
}
