//! Writes small TFLite files for tests: a flatbuffer writer and the few tables that a graph needs.

#![allow(dead_code, reason = "each test uses its own part")]

/// The numbers of element types in the schema.
pub const F32: i8 = 0;
pub const F16: i8 = 1;
pub const I32: i8 = 2;
pub const U8: i8 = 3;
pub const I8: i8 = 9;

/// A field of a table.
pub enum Field {
    Byte(i8),
    Int(i32),
    Float(f32),
    Table(Vec<(usize, Field)>),
    Tables(Vec<Vec<(usize, Field)>>),
    /// Elements of this many bytes each.
    Bytes(usize, Vec<u8>),
}

/// A text as a field.
pub fn text(text: &str) -> Field {
    Field::Bytes(1, text.as_bytes().to_vec())
}

/// Whole numbers as a field.
pub fn ints(values: &[i32]) -> Field {
    Field::Bytes(4, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn floats(values: &[f32]) -> Field {
    Field::Bytes(4, f32_bytes(values))
}

/// Little-endian bytes.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn put(bytes: &mut Vec<u8>, table: &[(usize, Field)]) -> usize {
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
    let fields = table.iter().map(|(id, _)| id + 1).max().unwrap_or(0);
    let list = bytes.len();
    let mut slots = vec![0_u16; fields];
    for (index, (id, _)) in table.iter().enumerate() {
        slots[*id] = u16::try_from(4 + 4 * index).unwrap();
    }
    let length = u16::try_from(4 + 2 * fields).unwrap();
    bytes.extend(length.to_le_bytes());
    bytes.extend(u16::try_from(4 + 4 * table.len()).unwrap().to_le_bytes());
    bytes.extend(slots.iter().flat_map(|slot| slot.to_le_bytes()));
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
    let at = bytes.len();
    bytes.extend(i32::try_from(at - list).unwrap().to_le_bytes());
    for (_, field) in table {
        bytes.extend(match field {
            Field::Byte(value) => [value.cast_unsigned(), 0, 0, 0],
            Field::Int(value) => value.to_le_bytes(),
            Field::Float(value) => value.to_le_bytes(),
            _ => [0; 4],
        });
    }
    for (index, (_, field)) in table.iter().enumerate() {
        let target = match field {
            Field::Byte(_) | Field::Int(_) | Field::Float(_) => continue,
            Field::Table(fields) => put(bytes, fields),
            Field::Tables(tables) => {
                let start = list_of(bytes, tables.len());
                bytes.resize(start + 4 + 4 * tables.len(), 0);
                for (index, fields) in tables.iter().enumerate() {
                    let target = put(bytes, fields);
                    point(bytes, start + 4 + 4 * index, target);
                }
                start
            }
            Field::Bytes(width, raw) => {
                let start = list_of(bytes, raw.len() / width);
                bytes.extend(raw);
                start
            }
        };
        point(bytes, at + 4 + 4 * index, target);
    }
    at
}

fn list_of(bytes: &mut Vec<u8>, length: usize) -> usize {
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
    let start = bytes.len();
    bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
    start
}

fn point(bytes: &mut [u8], at: usize, target: usize) {
    let distance = u32::try_from(target - at).unwrap();
    bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
}

/// A graph under construction.
#[derive(Default)]
pub struct Net {
    tensors: Vec<Vec<(usize, Field)>>,
    buffers: Vec<Vec<(usize, Field)>>,
    codes: Vec<Vec<(usize, Field)>>,
    operators: Vec<Vec<(usize, Field)>>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
}

/// Scale and zero point.
pub type Stored = Option<(f32, i64)>;

impl Net {
    pub fn new() -> Self {
        let mut net = Self::default();
        net.buffers.push(Vec::new());
        net
    }

    /// A tensor that is computed or fed in.
    pub fn tensor(&mut self, name: &str, kind: i8, shape: &[i32], stored: Stored) -> i32 {
        let (scales, zeros) = stored.into_iter().unzip();
        self.any(name, kind, shape, (scales, zeros, 0), None)
    }

    /// A constant.
    pub fn constant(
        &mut self,
        name: &str,
        kind: i8,
        shape: &[i32],
        stored: Stored,
        data: Vec<u8>,
    ) -> i32 {
        let (scales, zeros) = stored.into_iter().unzip();
        self.any(name, kind, shape, (scales, zeros, 0), Some(data))
    }

    /// Either, with several scales along an axis.
    pub fn any(
        &mut self,
        name: &str,
        kind: i8,
        shape: &[i32],
        (scales, zeros, axis): (Vec<f32>, Vec<i64>, i32),
        data: Option<Vec<u8>>,
    ) -> i32 {
        let mut fields = vec![(0, ints(shape)), (1, Field::Byte(kind)), (3, text(name))];
        if let Some(data) = data {
            fields.push((2, Field::Int(i32::try_from(self.buffers.len()).unwrap())));
            self.buffers.push(vec![(0, Field::Bytes(1, data))]);
        }
        if !scales.is_empty() {
            let zeros = zeros.iter().flat_map(|zero| zero.to_le_bytes()).collect();
            let own = vec![
                (2, floats(&scales)),
                (3, Field::Bytes(8, zeros)),
                (6, Field::Int(axis)),
            ];
            fields.push((4, Field::Table(own)));
        }
        self.tensors.push(fields);
        i32::try_from(self.tensors.len() - 1).unwrap()
    }

    /// An operator of the schema.
    pub fn op(&mut self, code: i8, inputs: &[i32], output: i32, options: Vec<(usize, Field)>) {
        self.codes.push(vec![(0, Field::Byte(code))]);
        self.push(inputs, &[output], (4, Field::Table(options)));
    }

    /// An operator with a name of its own.
    pub fn custom(&mut self, name: &str, inputs: &[i32], outputs: &[i32], options: Vec<u8>) {
        self.codes.push(vec![(0, Field::Byte(32)), (1, text(name))]);
        self.push(inputs, outputs, (5, Field::Bytes(1, options)));
    }

    fn push(&mut self, inputs: &[i32], outputs: &[i32], options: (usize, Field)) {
        let code = i32::try_from(self.codes.len() - 1).unwrap();
        self.operators.push(vec![
            (0, Field::Int(code)),
            (1, ints(inputs)),
            (2, ints(outputs)),
            options,
        ]);
    }

    /// The file.
    pub fn write(self) -> Vec<u8> {
        let graph = vec![
            (0, Field::Tables(self.tensors)),
            (1, ints(&self.inputs)),
            (2, ints(&self.outputs)),
            (3, Field::Tables(self.operators)),
        ];
        let model = vec![
            (0, Field::Int(3)),
            (1, Field::Tables(self.codes)),
            (2, Field::Tables(vec![graph])),
            (4, Field::Tables(self.buffers)),
        ];
        let mut bytes = vec![0; 4];
        bytes.extend(b"TFL3");
        let root = put(&mut bytes, &model);
        point(&mut bytes, 0, root);
        bytes
    }
}

/// The options of the post-processing operator, as `FlexBuffers` writes a map.
pub fn flexbuffer_map(numbers: &[(&str, f32)]) -> Vec<u8> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by_key(|&(key, _)| key);
    let mut bytes = Vec::new();
    let mut keys = Vec::new();
    for (key, _) in &sorted {
        keys.push(bytes.len());
        bytes.extend(key.as_bytes());
        bytes.push(0);
    }
    let word = |bytes: &mut Vec<u8>, value: usize| {
        bytes.extend(u32::try_from(value).unwrap().to_le_bytes());
    };
    word(&mut bytes, keys.len());
    let list = bytes.len();
    for key in keys {
        let distance = bytes.len() - key;
        word(&mut bytes, distance);
    }
    let distance = bytes.len() - list;
    word(&mut bytes, distance);
    word(&mut bytes, 4);
    word(&mut bytes, sorted.len());
    let values = bytes.len();
    for (_, value) in &sorted {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(sorted.iter().map(|_| 3 << 2 | 2));
    let distance = bytes.len() - values;
    bytes.extend([u8::try_from(distance).unwrap(), 9 << 2 | 2, 1]);
    bytes
}

/// The options of a detector of `classes` classes.
pub fn detection_options(classes: f32) -> Vec<u8> {
    flexbuffer_map(&[
        ("max_detections", 20.0),
        ("max_classes_per_detection", 1.0),
        ("use_regular_nms", 1.0),
        ("nms_score_threshold", 0.25),
        ("nms_iou_threshold", 0.5),
        ("num_classes", classes),
        ("y_scale", 10.0),
        ("x_scale", 10.0),
        ("h_scale", 5.0),
        ("w_scale", 5.0),
    ])
}

/// A quantised detector on 4x4 pictures with all that is special about those: weights that leave the
/// signed byte, a depthwise convolution, a residual addition, a concatenation of two
/// encodings, and anchors. `signed` stores the same numbers as i8.
pub fn quantized_detector(signed: bool) -> Vec<u8> {
    let mut net = Net::new();
    let (kind, down) = if signed { (I8, 128) } else { (U8, 0) };
    let bytes = |values: Vec<i32>| -> Vec<u8> {
        values.iter().map(|&value| (value - down) as u8).collect()
    };
    let stored = |scale: f32, zero: i64| Some((scale, zero - i64::from(down)));
    // Knuth's generator: any spread of weights will do.
    let mut state = 11_u64;
    let mut drawn = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        i32::try_from((state >> 33) % below).unwrap()
    };
    let picture = net.tensor("picture", kind, &[1, 4, 4, 3], stored(0.007_812_5, 128));
    net.inputs.push(picture);
    // Name, input, channels in and out, kernel, depthwise, scale and zero of the output.
    let mut made = vec![picture];
    for (name, input, [fan_in, outputs, side], depthwise, (scale, zero)) in [
        ("stem", 0, [3, 8, 3], false, (0.0235, 0)),
        ("depth", 1, [8, 8, 3], true, (0.031, 0)),
        ("branch", 2, [8, 8, 1], false, (0.027, 110)),
        ("wide", 3, [8, 8, 1], false, (0.021, 120)),
    ] {
        let shape = if depthwise {
            [1, side, side, outputs]
        } else {
            [outputs, side, side, fan_in]
        };
        let count = shape.iter().product::<i32>();
        let mut weights: Vec<i32> = (0..count).map(|_| 90 + drawn(60)).collect();
        // More than 127 from the zero point, and less than -128.
        weights[usize::try_from(count).unwrap() - 1] = 255;
        weights[2] = 250;
        let weights = net.constant(
            &format!("{name}/weights"),
            kind,
            &shape,
            stored(0.01, 117),
            bytes(weights),
        );
        let bias: Vec<u8> = (0..outputs)
            .flat_map(|_| (drawn(400) - 200).to_le_bytes())
            .collect();
        let bias = net.constant(&format!("{name}/bias"), I32, &[outputs], None, bias);
        let output = net.tensor(name, kind, &[1, 4, 4, outputs], stored(scale, zero));
        let act = if depthwise { 4 } else { 3 };
        let options = vec![
            (1, Field::Int(1)),
            (2, Field::Int(1)),
            (act, Field::Byte(if depthwise { 3 } else { 0 })),
        ];
        let code = if depthwise { 4 } else { 3 };
        net.op(code, &[made[input], weights, bias], output, options);
        made.push(output);
    }
    let sum = net.tensor("sum", kind, &[1, 4, 4, 8], stored(0.033, 115));
    net.op(0, &[made[3], made[4]], sum, vec![]);
    let mut list = |name: &str, input: i32, shape: [i32; 3], (scale, zero)| {
        let output = net.tensor(name, kind, &shape, stored(scale, zero));
        net.op(22, &[input], output, vec![]);
        output
    };
    let boxes = list("boxes", sum, [1, 32, 4], (0.033, 115));
    let first = list("first", made[4], [1, 32, 4], (0.021, 120));
    let logits = net.tensor("logits", kind, &[1, 32, 8], stored(0.035, 100));
    let axis = vec![(0, Field::Int(2))];
    net.op(2, &[boxes, first], logits, axis);
    let scores = net.tensor("scores", kind, &[1, 32, 8], stored(1.0 / 256.0, 0));
    net.op(14, &[logits], scores, vec![]);
    let anchors = (0..32 * 4).map(|i| i % 100 + 1).collect();
    let anchors = net.constant("anchors", kind, &[32, 4], stored(0.01, 0), bytes(anchors));
    let out: Vec<i32> = (0..4)
        .map(|index| net.tensor(&format!("out {index}"), F32, &[], None))
        .collect();
    net.custom(
        "TFLite_Detection_PostProcess",
        &[boxes, scores, anchors],
        &out,
        detection_options(7.0),
    );
    net.outputs = out;
    net.write()
}
