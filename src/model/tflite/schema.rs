//! The parts of a TFLite file: tensors, operators and buffers, read when they are asked for.
//!
//! Field numbers are those of TensorFlow Lite's schema, version 3.

use super::error::{Fault, Reason};
use super::flatbuffer::{Table, Vector};
use super::names;

/// Longer names are cut: they are for people.
const NAME_MAX: usize = 200;
/// More axes than any tensor of a detector has.
const AXES_MAX: usize = 8;
/// More inputs than any concatenation of heads has.
const OPERANDS_MAX: usize = 256;
/// More operators than any detector has.
const OPERATORS_MAX: usize = 20_000;
/// More tensors than any detector has.
const TENSORS_MAX: usize = 200_000;
/// No tensor of a detector has as many elements; it keeps products within i64.
const ELEMENTS_MAX: i64 = 1 << 31;

/// A whole file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model<'a> {
    bytes: &'a [u8],
    codes: Vector<'a>,
    buffers: Vector<'a>,
    metadata: Vector<'a>,
    tensors: Vector<'a>,
    operators: Vector<'a>,
    inputs: Vector<'a>,
    outputs: Vector<'a>,
}

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    I32,
    U8,
    I64,
    I8,
    /// Any other, by its number.
    Other(i8),
}

impl Kind {
    fn of(number: i8) -> Self {
        match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::I32,
            3 => Self::U8,
            4 => Self::I64,
            9 => Self::I8,
            other => Self::Other(other),
        }
    }

    const fn size_bytes(self) -> Option<usize> {
        match self {
            Self::F32 | Self::I32 => Some(4),
            Self::F16 => Some(2),
            Self::U8 | Self::I8 => Some(1),
            Self::I64 => Some(8),
            Self::Other(_) => None,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::F32 => "f32".to_owned(),
            Self::F16 => "f16".to_owned(),
            Self::I32 => "i32".to_owned(),
            Self::U8 => "u8".to_owned(),
            Self::I64 => "i64".to_owned(),
            Self::I8 => "i8".to_owned(),
            Self::Other(number) => format!("of element type {number}"),
        }
    }
}

/// A tensor: what the graph computes, or a constant.
#[derive(Debug, Clone)]
pub(super) struct TensorFacts<'a> {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) shape: Vec<i64>,
    /// Scales and zero points; one of each, or one for each index along `axis`.
    pub(super) quantization: Option<Quantization<'a>>,
    /// The elements of a constant, little-endian, row-major, as many as the shape says.
    pub(super) data: Option<&'a [u8]>,
}

/// `real = scale * (stored - zero point)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantization<'a> {
    pub(super) scales: Vector<'a>,
    pub(super) zeros: Vector<'a>,
    /// Along which there are several scales.
    pub(super) axis: i32,
}

/// One step of the graph.
#[derive(Debug, Clone)]
pub(super) struct Operator<'a> {
    /// Its number in the schema.
    pub(super) code: i32,
    /// Its name, when it is none of the schema's.
    pub(super) custom: Option<String>,
    /// Indexes of tensors; negative where an optional one is left out.
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) options: Option<Table<'a>>,
    pub(super) custom_options: &'a [u8],
    /// The name of its first output, for errors.
    pub(super) makes: String,
}

impl Operator<'_> {
    pub(super) fn name(&self) -> String {
        self.custom
            .clone()
            .unwrap_or_else(|| names::name(self.code))
    }

    pub(super) fn unsupported(&self, reason: Reason) -> Fault {
        Fault::Unsupported {
            op: self.name(),
            tensor: self.makes.clone(),
            reason,
        }
    }

    pub(super) fn unknown(&self) -> Fault {
        Fault::UnknownOperator {
            op: self.name(),
            tensor: self.makes.clone(),
        }
    }

    /// The tensor of input number `index`; `None` when it is left out.
    pub(super) fn optional_input(&self, index: usize) -> Option<usize> {
        usize::try_from(*self.inputs.get(index)?).ok()
    }

    /// The tensor of input number `index`.
    pub(super) fn input(&self, index: usize) -> Result<usize, Fault> {
        self.optional_input(index).ok_or_else(|| {
            self.unsupported(Reason::Missing {
                role: "input",
                index,
            })
        })
    }

    /// The tensor of its first output.
    pub(super) fn output(&self) -> Result<usize, Fault> {
        let first = self.outputs.first().copied();
        first
            .and_then(|index| index.try_into().ok())
            .ok_or_else(|| {
                self.unsupported(Reason::Missing {
                    role: "output",
                    index: 0,
                })
            })
    }

    /// A whole-number option.
    pub(super) fn option_i32(&self, id: usize, default: i32) -> Result<i32, Fault> {
        match self.options {
            Some(table) => Ok(table.i32(id, default)?),
            None => Ok(default),
        }
    }

    /// An option of one byte: a choice or a flag.
    pub(super) fn option_byte(&self, id: usize) -> Result<i8, Fault> {
        match self.options {
            Some(table) => Ok(table.i8(id, 0)?),
            None => Ok(0),
        }
    }

    /// An option that is a number.
    pub(super) fn option_f32(&self, id: usize, default: f32) -> Result<f32, Fault> {
        match self.options {
            Some(table) => Ok(table.f32(id, default)?),
            None => Ok(default),
        }
    }
}

impl<'a> Model<'a> {
    /// The first graph of the file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.get(4..8) != Some(b"TFL3") {
            return Err(Fault::NotTflite);
        }
        let root = Table::root(bytes)?;
        let Some(graph) = root.list(2, 4)?.table(0)? else {
            return Err(Fault::Malformed {
                what: "a model without a graph",
                offset: root.offset(),
            });
        };
        let model = Self {
            bytes,
            codes: root.list(1, 4)?,
            buffers: root.list(4, 4)?,
            metadata: root.list(6, 4)?,
            tensors: graph.list(0, 4)?,
            inputs: graph.list(1, 4)?,
            outputs: graph.list(2, 4)?,
            operators: graph.list(3, 4)?,
        };
        for (what, list, most) in [
            ("operators", model.operators, OPERATORS_MAX),
            ("tensors", model.tensors, TENSORS_MAX),
            ("inputs", model.inputs, OPERANDS_MAX),
            ("outputs", model.outputs, OPERANDS_MAX),
        ] {
            let found = list.len();
            if found > most {
                return Err(Fault::TooMany { what, found, most });
            }
        }
        Ok(model)
    }

    /// Size of the file.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn tensor_count(&self) -> usize {
        self.tensors.len()
    }

    pub(super) fn operator_count(&self) -> usize {
        self.operators.len()
    }

    /// Indexes of the tensors that are fed in.
    pub(super) fn inputs(&self) -> Vec<i32> {
        self.inputs.i32s().collect()
    }

    /// Indexes of the tensors that come out.
    pub(super) fn outputs(&self) -> Vec<i32> {
        self.outputs.i32s().collect()
    }

    /// The bytes under `name` in the file's metadata.
    pub(super) fn metadata(&self, name: &str) -> Result<Option<&'a [u8]>, Fault> {
        for index in 0..self.metadata.len().min(OPERANDS_MAX) {
            let Some(entry) = self.metadata.table(index)? else {
                break;
            };
            if entry.text(0, NAME_MAX)? == name {
                return self.buffer(entry.u32(1, 0)?, &format!("metadata `{name}`"));
            }
        }
        Ok(None)
    }

    /// The contents of buffer `index`; `None` when it is empty, as of tensors that are computed.
    fn buffer(&self, index: u32, referrer: &str) -> Result<Option<&'a [u8]>, Fault> {
        let found = usize::try_from(index).ok();
        let Some(buffer) = found
            .map(|index| self.buffers.table(index))
            .transpose()?
            .flatten()
        else {
            return Err(Fault::Dangling {
                referrer: referrer.to_owned(),
                what: "buffer",
                index: i64::from(index),
            });
        };
        let inside = buffer.list(0, 1)?.raw();
        if !inside.is_empty() {
            return Ok(Some(inside));
        }
        // Files of more than 2 GB keep contents behind the flatbuffer.
        let (offset, size) = (buffer.u64(1, 0)?, buffer.u64(2, 0)?);
        if offset <= 1 || size == 0 {
            return Ok(None);
        }
        let behind = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(size).ok())
            .and_then(|(offset, size)| self.bytes.get(offset..offset.checked_add(size)?));
        behind.map(Some).ok_or(Fault::Malformed {
            what: "a buffer that leads out of the file",
            offset: buffer.offset(),
        })
    }

    /// The name of tensor `index`, for errors.
    pub(super) fn tensor_name(&self, index: i32) -> String {
        let table = usize::try_from(index)
            .ok()
            .and_then(|index| self.tensors.table(index).ok().flatten());
        table
            .and_then(|table| table.text(3, NAME_MAX).ok())
            .unwrap_or_else(|| format!("number {index}"))
    }

    /// Tensor `index`, which `referrer` names.
    pub(super) fn tensor(&self, index: usize) -> Result<TensorFacts<'a>, Fault> {
        let Some(table) = self.tensors.table(index)? else {
            return Err(Fault::Dangling {
                referrer: "an operator or an output".to_owned(),
                what: "tensor",
                index: i64::try_from(index).unwrap_or(i64::MAX),
            });
        };
        let name = table.text(3, NAME_MAX)?;
        let name = if name.is_empty() {
            format!("tensor {index}")
        } else {
            name
        };
        let kind = Kind::of(table.i8(1, 0)?);
        let axes = table.list(0, 4)?;
        let shape: Vec<i64> = axes.i32s().take(AXES_MAX + 1).map(i64::from).collect();
        let elements = shape.iter().try_fold(1_i64, |product, &length| {
            product
                .checked_mul(length)
                .filter(|&product| (0..=ELEMENTS_MAX).contains(&product))
        });
        let wrong = |expected| Fault::Tensor {
            tensor: name.clone(),
            found: format!("{} {shape:?}", kind.name()),
            expected,
        };
        let elements = elements
            .filter(|_| shape.len() <= AXES_MAX)
            .ok_or_else(|| wrong("at most 8 axes and 2^31 elements"))?;
        let data = match table.u32(2, 0)? {
            // Buffer 0 is the empty one.
            0 => None,
            buffer => self.buffer(buffer, &name)?,
        };
        let expected = kind
            .size_bytes()
            .and_then(|size| usize::try_from(elements).ok()?.checked_mul(size));
        if let (Some(data), Some(expected)) = (data, expected) {
            if data.len() != expected {
                return Err(wrong("a shape that its buffer fills"));
            }
        }
        let quantization = match table.table(4)? {
            Some(own) => Some(Quantization {
                scales: own.list(2, 4)?,
                zeros: own.list(3, 8)?,
                axis: own.i32(6, 0)?,
            }),
            None => None,
        };
        Ok(TensorFacts {
            kind,
            shape,
            quantization: quantization.filter(|own| own.scales.len() > 0),
            data,
            name,
        })
    }

    /// Operator `index`, which is there.
    pub(super) fn operator(&self, index: usize) -> Result<Operator<'a>, Fault> {
        let dangling = |what, found: u32| Fault::Dangling {
            referrer: format!("operator {index}"),
            what,
            index: i64::from(found),
        };
        let Some(table) = self.operators.table(index)? else {
            return Err(dangling("operator", u32::MAX));
        };
        let code = table.u32(0, 0)?;
        let entry = usize::try_from(code)
            .ok()
            .map(|code| self.codes.table(code));
        let Some(entry) = entry.transpose()?.flatten() else {
            return Err(dangling("operator code", code));
        };
        // Old files have their code in the narrow field, new ones in the wide one.
        let code = i32::from(entry.i8(0, 0)?).max(entry.i32(3, 0)?);
        let custom = entry.text(1, NAME_MAX)?;
        let operands = |id| -> Result<Vec<i32>, Fault> {
            let list = table.list(id, 4)?;
            let found = list.len();
            if found > OPERANDS_MAX {
                return Err(Fault::TooMany {
                    what: "inputs or outputs of one operator",
                    found,
                    most: OPERANDS_MAX,
                });
            }
            Ok(list.i32s().collect())
        };
        let outputs = operands(2)?;
        Ok(Operator {
            code,
            custom: (!custom.is_empty()).then_some(custom),
            inputs: operands(1)?,
            options: table.table(4)?,
            custom_options: table.list(5, 1)?.raw(),
            makes: outputs
                .first()
                .map_or_else(String::new, |&first| self.tensor_name(first)),
            outputs,
        })
    }
}
