//! The first `k` of a row in the order of libstdc++'s `std::partial_sort`.
//!
//! The op ranks an anchor's classes with it when more than one is wanted. The sort is not stable, so
//! tied scores come out in an order that only the same heap gives; NaN likewise.

/// Puts the indices of the `k` highest of `values` into `order[..k]`, highest first.
///
/// `order` is scratch space and ends as a permutation of `0..values.len()`.
///
/// # Panics
/// When `k` is 0 or above `values.len()`.
///
/// *Complexity*: one comparison for each value, `log k` more for each that enters.
pub fn partial_sort(values: &[f32], k: usize, order: &mut Vec<u32>) {
    assert!(k >= 1 && k <= values.len(), "1 <= {k} <= {}", values.len());
    let above = |a: u32, b: u32| values[a as usize] > values[b as usize];
    order.clear();
    order.extend(0..values.len() as u32);
    let (heap, rest) = order.split_at_mut(k);
    for parent in (0..k / 2).rev() {
        sink(heap, parent, heap[parent], &above);
    }
    for entry in rest {
        if above(*entry, heap[0]) {
            let value = std::mem::replace(entry, heap[0]);
            sink(heap, 0, value, &above);
        }
    }
    for last in (1..k).rev() {
        let value = heap[last];
        heap[last] = heap[0];
        sink(&mut heap[..last], 0, value, &above);
    }
}

/// Moves the hole down to a leaf along the losing children, then `value` up from there.
fn sink(heap: &mut [u32], hole: usize, value: u32, above: &impl Fn(u32, u32) -> bool) {
    let (top, len) = (hole, heap.len());
    let mut hole = hole;
    let mut child = hole;
    // `len` is at least 1 whenever a heap exists, and 0 - 1 would be a bug of ours.
    while child < (len - 1) / 2 {
        child = 2 * (child + 1);
        if above(heap[child], heap[child - 1]) {
            child -= 1;
        }
        heap[hole] = heap[child];
        hole = child;
    }
    // An even heap's last inner node has a left child only.
    if len >= 2 && len.is_multiple_of(2) && child == (len - 2) / 2 {
        child = 2 * child + 1;
        heap[hole] = heap[child];
        hole = child;
    }
    while hole > top {
        let parent = (hole - 1) / 2;
        if !above(heap[parent], value) {
            break;
        }
        heap[hole] = heap[parent];
        hole = parent;
    }
    heap[hole] = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(values: &[f32], k: usize) -> Vec<u32> {
        let mut order = Vec::new();
        partial_sort(values, k, &mut order);
        order[..k].to_vec()
    }

    proptest! {
        #[test]
        fn without_ties_it_is_a_sort(
            values in prop::collection::hash_set(-1000i32..1000, 1..60), share in 0.0f64..1.0
        ) {
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            let k = 1 + (share * values.len() as f64) as usize;
            let k = k.min(values.len());
            let mut expected: Vec<u32> = (0..values.len() as u32).collect();
            expected.sort_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]));
            prop_assert_eq!(first(&values, k), &expected[..k]);
        }

        #[test]
        fn with_ties_it_still_finds_the_highest(
            values in prop::collection::vec(0i32..4, 1..60), share in 0.0f64..1.0
        ) {
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            let k = (1 + (share * values.len() as f64) as usize).min(values.len());
            let mut expected = values.clone();
            expected.sort_by(|a, b| b.total_cmp(a));
            let got: Vec<f32> = first(&values, k).iter().map(|&i| values[i as usize]).collect();
            prop_assert_eq!(got, &expected[..k]);
        }
    }

    /// Printed by a C++ program around `std::partial_sort`, GCC 12.2.
    #[test]
    fn ties_and_nan_come_out_as_libstdcpp_leaves_them() {
        assert_eq!(first(&[1.0; 5], 3), [0, 1, 2]);
        assert_eq!(
            first(&[2.0, 1.0, 2.0, 1.0, 2.0, 2.0, 0.0, 3.0, 3.0], 4),
            [7, 8, 4, 0]
        );
        assert_eq!(first(&[1.0; 8], 8), [7, 4, 1, 3, 5, 0, 2, 6]);
        assert_eq!(first(&[1.0; 2], 2), [0, 1]);
        let nan = f32::NAN;
        assert_eq!(
            first(&[nan, 1.0, 2.0, nan, 3.0, 0.0, 2.0, 2.0], 4),
            [4, 3, 1, 0]
        );
        let row = [5.0, 5.0, 5.0, 5.0, 1.0, 9.0, 5.0, 5.0, 5.0, 9.0];
        assert_eq!(first(&row, 6), [5, 9, 3, 0, 1, 6]);
    }
}
