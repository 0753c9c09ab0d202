//! TensorFlow 1's `resize_bilinear` with `align_corners` and `half_pixel_centers` false.
//!
//! Two taps for each axis at `x * scale`, f32 throughout, no rounding at the end.

#[derive(Debug, Clone)]
pub(super) struct Kernel {
    from_width: usize,
    columns: Vec<Tap>,
    rows: Vec<Tap>,
}

#[derive(Debug, Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    /// Share of the second, in `0.0..1.0`.
    share: f32,
}

fn taps(from: u32, to: u32) -> Vec<Tap> {
    // The op computes in f32: sizes are far below 2^24, so the conversions are exact.
    let scale = from as f32 / to as f32;
    let tap = |x: u32| {
        let position = x as f32 * scale;
        let first = (position.floor() as usize).min(from as usize - 1);
        Tap {
            first,
            second: (first + 1).min(from as usize - 1),
            share: position - position.floor(),
        }
    };
    (0..to).map(tap).collect()
}

impl Kernel {
    pub(super) fn new(from: (u32, u32), to: (u32, u32)) -> Self {
        Self {
            from_width: from.0 as usize,
            columns: taps(from.0, to.0),
            rows: taps(from.1, to.1),
        }
    }

    pub(super) fn resize(&mut self, source: &[u8], out: &mut Vec<f32>) {
        let row_bytes = self.from_width * 3;
        let out_row = self.columns.len() * 3;
        out.resize(self.rows.len() * out_row, 0.0);
        for (row, out) in self.rows.iter().zip(out.chunks_exact_mut(out_row)) {
            let upper = &source[row.first * row_bytes..][..row_bytes];
            let lower = &source[row.second * row_bytes..][..row_bytes];
            for (column, out) in self.columns.iter().zip(out.chunks_exact_mut(3)) {
                for (channel, out) in out.iter_mut().enumerate() {
                    let left = column.first * 3 + channel;
                    let right = column.second * 3 + channel;
                    let top = between(upper[left].into(), upper[right].into(), column.share);
                    let bottom = between(lower[left].into(), lower[right].into(), column.share);
                    *out = between(top, bottom, row.share);
                }
            }
        }
    }
}

fn between(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}
