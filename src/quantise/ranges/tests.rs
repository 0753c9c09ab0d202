use serde_json::Value;

use super::*;

/// The three tensors of `tests/golden/quantise/ranges.json`, made again from its generator.
fn golden_tensors() -> [(&'static str, Vec<f32>); 3] {
    const COUNT: usize = 100_000;
    let mut state = 1978_u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let mut sum = move |count: usize| (0..count).map(|_| next()).sum::<f64>();
    let mut a: Vec<f32> = (0..COUNT).map(|_| (sum(4) - 2.0) as f32).collect();
    for outlier in &mut a[..20] {
        *outlier *= 6.0;
    }
    let b = (0..COUNT)
        .map(|_| (5.0 * (sum(3) - 1.5)).clamp(0.0, 6.0) as f32)
        .collect();
    let mut c: Vec<f32> = (0..COUNT)
        .map(|_| (sum(3) - 1.5).max(0.0).powi(3) as f32)
        .collect();
    c[..5].fill(12.0);
    [("A", a), ("B", b), ("C", c)]
}

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/golden/quantise/ranges.json")).unwrap()
}

fn histogram_of(data: &[f32]) -> Histogram {
    let low = data.iter().copied().fold(0.0_f32, f32::min);
    let high = data.iter().copied().fold(0.0_f32, f32::max);
    let mut histogram = Histogram::new((f64::from(low), f64::from(high)));
    histogram.add(data);
    histogram
}

fn sqnr(data: &[f32], encoding: Encoding) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for &value in data {
        let value = f64::from(value);
        signal += value * value;
        noise += (encoding.round_trip(value).0 - value).powi(2);
    }
    10.0 * (signal / noise).log10()
}

fn within_two_ulp(a: f32, b: f64) -> bool {
    let b = b as f32;
    a.to_bits().abs_diff(b.to_bits()) <= 2
}

#[test]
fn ranges_scales_and_zero_points_are_those_of_the_golden_tensors() {
    let golden = golden();
    for (name, data) in golden_tensors() {
        let histogram = histogram_of(&data);
        let own = &golden[name];
        for (at, expected) in own["first5"].as_array().unwrap().iter().enumerate() {
            assert!(
                within_two_ulp(data[20 + at], expected.as_f64().unwrap()),
                "{name}"
            );
        }
        for (key, method) in [
            ("minmax", RangeMethod::Minmax),
            ("pct:99.9", RangeMethod::Percentile(99.9)),
            ("pct:99.99", RangeMethod::Percentile(99.99)),
            ("pct:99.999", RangeMethod::Percentile(99.999)),
            ("mse", RangeMethod::Mse),
            ("tfe", RangeMethod::TfEnhanced),
        ] {
            let expected = &own[key];
            let range = method.range(&histogram);
            let encoding = Encoding::of_range(range);
            let near =
                |found: f64, key: &str| (found - expected[key].as_f64().unwrap()).abs() < 1e-6;
            assert!(
                near(range.0, "lo") && near(range.1, "hi"),
                "{name} {key}: {range:?}, {expected}"
            );
            assert!(within_two_ulp(
                encoding.scale,
                expected["scale"].as_f64().unwrap()
            ));
            assert_eq!(
                u64::from(encoding.zero_point),
                expected["zp"].as_u64().unwrap(),
                "{name} {key}"
            );
            let decibel = sqnr(&data, encoding);
            assert!(
                (decibel - expected["sqnr_db"].as_f64().unwrap()).abs() < 0.01,
                "{name} {key}: {decibel}"
            );
        }
    }
}

#[test]
fn least_squares_never_loses_to_taking_everything() {
    for (name, data) in golden_tensors() {
        let histogram = histogram_of(&data);
        let of = |method: RangeMethod| sqnr(&data, Encoding::of_range(method.range(&histogram)));
        assert!(
            of(RangeMethod::Mse) >= of(RangeMethod::Minmax) - 0.01,
            "{name}"
        );
    }
}

/// The search as the definition reads: every pair of shares, the plain cost, no histogram.
#[test]
fn the_search_for_ends_finds_nothing_worse_than_a_plain_loop_over_one_end() {
    let (_, data) = golden_tensors().into_iter().next().unwrap();
    let data = &data[..2000];
    let histogram = histogram_of(data);
    let cost = |range| {
        let encoding = Encoding::of_range(range);
        data.iter()
            .map(|&x| (encoding.round_trip(f64::from(x)).0 - f64::from(x)).powi(2))
            .sum::<f64>()
    };
    let found = cost(RangeMethod::Mse.range(&histogram));
    for step in 0..36_u8 {
        let share = 1.0 - 0.02 * f64::from(step);
        let one_end = cost((histogram.low, histogram.high * share));
        // A histogram knows its elements to a bin.
        assert!(found <= one_end * 1.01, "{share}: {found} > {one_end}");
    }
}

#[test]
fn the_kept_part_of_entropy_drops_far_outliers_and_keeps_a_plain_range() {
    let mut flat: Vec<f32> = (0..10_000_u16).map(|i| f32::from(i) / 10_000.0).collect();
    let (low, high) = RangeMethod::Entropy.range(&histogram_of(&flat));
    assert!(low >= 0.0 && high > 0.9, "{low} {high}");
    flat[0] = 100.0;
    let (_, high) = RangeMethod::Entropy.range(&histogram_of(&flat));
    assert!(high < 50.0, "{high}");
}

#[test]
fn zero_is_a_level_and_a_dead_tensor_has_a_step() {
    let above = Encoding::of_range((1.0, 3.0));
    assert_eq!(above.zero_point, 0);
    assert!((above.scale - 3.0 / 255.0).abs() < 1e-9);
    let below = Encoding::of_range((-3.0, -1.0));
    assert_eq!(below.zero_point, 255);
    let dead = Encoding::of_range((0.0, 0.0));
    assert_eq!(
        (dead.scale.to_bits(), dead.zero_point),
        (1.0_f32.to_bits(), 0)
    );
    // Half to even: 127.5 becomes 128, 0.5 becomes 0.
    assert_eq!(Encoding::of_range((-1.0, 1.0)).zero_point, 128);
    assert_eq!(
        Encoding::of_range((-0.5 / 255.0, 1.0 - 0.5 / 255.0)).zero_point,
        0
    );
}

#[test]
fn the_clipped_share_counts_what_has_no_level() {
    let mut histogram = Histogram::new((0.0, 10.0));
    histogram.add(&[0.0, 1.0, 2.0, 9.0]);
    let half = Encoding::of_range((0.0, 5.0));
    assert!((half.clipped_share(&histogram) - 0.25).abs() < 1e-9);
    assert!(Encoding::of_range((0.0, 10.0)).clipped_share(&histogram) < 1e-9);
}
