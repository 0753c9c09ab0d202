//! Pillow's `BILINEAR` for 8-bit pictures, as of version 12.1.
//!
//! An antialiased triangle filter in fixed point with 22 fractional bits, the horizontal pass
//! first and rounded to bytes, then the vertical one; an axis whose size stays is skipped.
//! Pillow 13 takes the vertical pass first for some portraits and then differs by one step.

/// Fractional bits of the weights.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

#[derive(Debug, Clone)]
pub(super) struct Kernel {
    from_width: usize,
    columns: Option<Axis>,
    rows: Option<Axis>,
    /// The picture after the horizontal pass.
    narrowed: Vec<u8>,
    /// One row of sums.
    sums: Vec<i32>,
}

/// For each output position the source positions it reads and their weights.
#[derive(Debug, Clone)]
struct Axis {
    /// First source position and number of weights.
    windows: Vec<(usize, usize)>,
    /// `taps` for each output position, the unused ones zero.
    weights: Vec<i32>,
    taps: usize,
}

impl Axis {
    /// `None` when the size stays.
    fn new(from: u32, to: u32) -> Option<Self> {
        if from == to {
            return None;
        }
        let scale = f64::from(from) / f64::from(to);
        // When shrinking, the triangle is stretched to cover every source pixel.
        let stretch = scale.max(1.0);
        let taps = stretch.ceil() as usize * 2 + 1;
        let mut axis = Self {
            windows: Vec::with_capacity(to as usize),
            weights: vec![0; taps * to as usize],
            taps,
        };
        let mut shares = Vec::with_capacity(taps);
        for x in 0..to {
            let center = (f64::from(x) + 0.5) * scale;
            // `as` cuts toward zero and lifts negatives to zero, both as wanted.
            let begin = (center - stretch + 0.5) as usize;
            let end = ((center + stretch + 0.5) as usize).min(from as usize);
            shares.clear();
            shares.extend((begin..end).map(|i| {
                let distance = (i as f64 - center + 0.5) * (1.0 / stretch);
                (1.0 - distance.abs()).max(0.0)
            }));
            let sum: f64 = shares.iter().sum();
            let weights = &mut axis.weights[x as usize * taps..][..taps];
            for (weight, share) in weights.iter_mut().zip(&shares) {
                *weight = (share / sum * f64::from(1 << PRECISION) + 0.5) as i32;
            }
            axis.windows.push((begin, end - begin));
        }
        Some(axis)
    }

    /// First source position and weights of each output position.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.taps);
        let windows = self.windows.iter().zip(weights);
        windows.map(|(&(begin, count), weights)| (begin, &weights[..count]))
    }
}

impl Kernel {
    pub(super) fn new(from: (u32, u32), to: (u32, u32)) -> Self {
        Self {
            from_width: from.0 as usize,
            columns: Axis::new(from.0, to.0),
            rows: Axis::new(from.1, to.1),
            narrowed: Vec::new(),
            sums: Vec::new(),
        }
    }

    pub(super) fn resize(&mut self, source: &[u8], out: &mut Vec<u8>) {
        let from_width = self.from_width;
        match (&self.columns, &self.rows) {
            (Some(columns), Some(rows)) => {
                horizontal(columns, source, from_width, &mut self.narrowed);
                let width = columns.windows.len();
                vertical(rows, &self.narrowed, width, &mut self.sums, out);
            }
            (Some(columns), None) => horizontal(columns, source, from_width, out),
            (None, Some(rows)) => vertical(rows, source, from_width, &mut self.sums, out),
            (None, None) => unreachable!("a picture of the wanted size is not resized"),
        }
    }
}

fn horizontal(columns: &Axis, source: &[u8], width: usize, out: &mut Vec<u8>) {
    let rows = source.chunks_exact(width * 3);
    let out_row = columns.windows.len() * 3;
    out.resize(rows.len() * out_row, 0);
    for (row, out) in rows.zip(out.chunks_exact_mut(out_row)) {
        for ((begin, weights), out) in columns.iter().zip(out.chunks_exact_mut(3)) {
            let window = &row[begin * 3..][..weights.len() * 3];
            // A weight is at most 2^22 and their sum about that, so 255 times it fits an i32.
            let mut sums = [HALF; 3];
            for (pixel, &weight) in window.chunks_exact(3).zip(weights) {
                sums[0] += i32::from(pixel[0]) * weight;
                sums[1] += i32::from(pixel[1]) * weight;
                sums[2] += i32::from(pixel[2]) * weight;
            }
            out.copy_from_slice(&sums.map(to_byte));
        }
    }
}

fn vertical(rows: &Axis, source: &[u8], width: usize, sums: &mut Vec<i32>, out: &mut Vec<u8>) {
    let row_bytes = width * 3;
    sums.resize(row_bytes, 0);
    out.resize(rows.windows.len() * row_bytes, 0);
    for ((begin, weights), out) in rows.iter().zip(out.chunks_exact_mut(row_bytes)) {
        sums.fill(HALF);
        let window = source[begin * row_bytes..].chunks_exact(row_bytes);
        for (row, &weight) in window.zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, &sum) in out.iter_mut().zip(&*sums) {
            *out = to_byte(sum);
        }
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
