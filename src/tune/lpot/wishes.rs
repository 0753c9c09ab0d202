//! `model_wise` and `op_wise`: what may be tried for operators, as far as there is something to choose.
//!
//! LPOT keeps of each list what the operator can do, and all of that where nothing is left; so does this, with a
//! note for every value that is dropped or means something else.

use super::fields::{one_line, one_of, Field, Section};
use super::{LpotError, LpotFault, Notes};
use crate::quantise::{Granularity, RangeMethod};
use crate::strict_toml::did_you_mean;
use crate::strict_toml::nearest;
use crate::tune::space::{NamePattern, NamedWish, NumberType, OpWish, Scheme, TensorWish};

/// Which of an operator's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tensor {
    Weight,
    Activation,
}

const KEYS: [&str; 4] = ["dtype", "algorithm", "scheme", "granularity"];

/// `model_wise`.
pub fn of_model(section: &Section<'_>, notes: &mut Notes<'_>) -> Result<OpWish, LpotError> {
    wish(
        &section.section("model_wise", &["weight", "activation"])?,
        notes,
    )
}

/// `op_wise`.
pub fn of_operators(
    section: &Section<'_>,
    notes: &mut Notes<'_>,
) -> Result<Vec<NamedWish>, LpotError> {
    let Some(field) = section.field("op_wise") else {
        return Ok(Vec::new());
    };
    let mut wishes = Vec::new();
    for own in field.open_section()?.fields() {
        let pattern = pattern(own.key);
        if let NamePattern::Regex(text) = &pattern {
            if let Err(error) = super::super::names::compiled(text) {
                let key = own.key.to_owned();
                let detail = one_line(&error.to_string());
                return Err(own.fault(LpotFault::Pattern { key, detail }));
            }
        }
        wishes.push(NamedWish {
            written: own.key.to_owned(),
            place: format!("{}:{}", notes.file, own.line),
            pattern,
            wish: wish(&own.section(&["weight", "activation"])?, notes)?,
        });
    }
    Ok(wishes)
}

/// A key is a name when it looks like one of TensorFlow's, and a regular expression otherwise: LPOT's rule.
fn pattern(key: &str) -> NamePattern {
    let mut characters = key.chars();
    let begins = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric() || first == '.');
    if begins && characters.all(|own| own.is_ascii_alphanumeric() || "_.-/".contains(own)) {
        NamePattern::Literal(key.to_owned())
    } else {
        NamePattern::Regex(key.to_owned())
    }
}

fn wish(section: &Section<'_>, notes: &mut Notes<'_>) -> Result<OpWish, LpotError> {
    let mut known = KEYS.to_vec();
    known.push("bit");
    let weight = section.section("weight", &known)?;
    let activation = section.section("activation", &KEYS)?;
    let mut found = OpWish {
        weight: tensor(&weight, Tensor::Weight, notes)?,
        activation: tensor(&activation, Tensor::Activation, notes)?,
    };
    if let Some(field) = weight.field("bit") {
        found.weight.bits = Some(bits(&field)?);
    }
    if found.activation.types == [NumberType::Fp32] {
        // Weights of bytes on floats are not to be had.
        found.weight.types = vec![NumberType::Fp32];
    }
    Ok(found)
}

fn tensor(
    section: &Section<'_>,
    tensor: Tensor,
    notes: &mut Notes<'_>,
) -> Result<TensorWish, LpotError> {
    let mut wish = TensorWish::default();
    if let Some(field) = section.field("dtype") {
        wish.types = choices(
            &field,
            &["int8", "uint8", "fp32", "bf16"],
            notes,
            |word| match (word, tensor) {
                ("fp32", _) => Choice::Taken(NumberType::Fp32),
                ("int8", Tensor::Weight) => Choice::Taken(NumberType::Int8),
                ("uint8", Tensor::Activation) => Choice::Taken(NumberType::Uint8),
                ("int8", Tensor::Activation) => Choice::Instead(
                    NumberType::Uint8,
                    "activations are unsigned bytes with a zero point",
                ),
                ("uint8", Tensor::Weight) => Choice::Instead(
                    NumberType::Int8,
                    "weights are signed bytes: unsigned ones run slower than floats",
                ),
                _ => Choice::Dropped("there is no bf16 here"),
            },
        )?;
    }
    if let Some(field) = section.field("scheme") {
        wish.schemes = choices(
            &field,
            &["sym", "asym", "asym_float", "placeholder"],
            notes,
            |word| match (word, tensor) {
                ("sym", Tensor::Weight) => Choice::Taken(Scheme::Symmetric),
                ("asym", Tensor::Activation) => Choice::Taken(Scheme::Asymmetric),
                (_, Tensor::Weight) => {
                    Choice::Dropped("weights are symmetric: asymmetric ones run slower than floats")
                }
                (_, Tensor::Activation) => Choice::Dropped(
                    "activations are asymmetric: that costs no time and wastes no level",
                ),
            },
        )?;
    }
    if let Some(field) = section.field("granularity") {
        wish.granularities = choices(
            &field,
            &["per_channel", "per_tensor"],
            notes,
            |word| match (word, tensor) {
                ("per_tensor", _) => Choice::Taken(Granularity::PerTensor),
                (_, Tensor::Weight) => Choice::Taken(Granularity::PerChannel),
                (_, Tensor::Activation) => {
                    Choice::Dropped("an activation has one step: integer kernels take no more")
                }
            },
        )?;
    }
    if let Some(field) = section.field("algorithm") {
        wish.ranges = algorithms(&field, tensor, notes)?;
    }
    Ok(wish)
}

/// What becomes of a value.
enum Choice<T> {
    /// It is had.
    Taken(T),
    /// Another is had for it.
    Instead(T, &'static str),
    /// It is not to be had.
    Dropped(&'static str),
}

/// The values of a list, each once.
fn choices<T: PartialEq>(
    field: &Field<'_>,
    known: &[&'static str],
    notes: &mut Notes<'_>,
    of: impl Fn(&str) -> Choice<T>,
) -> Result<Vec<T>, LpotError> {
    let expected = || format!("{}, or several of them", one_of(known));
    let mut taken = Vec::new();
    for word in field.several(&expected())? {
        if !known.contains(&word) {
            return Err(field.wrong(expected()));
        }
        take(of(word), word, &mut taken, field, notes);
    }
    Ok(taken)
}

fn take<T: PartialEq>(
    choice: Choice<T>,
    word: &str,
    taken: &mut Vec<T>,
    field: &Field<'_>,
    notes: &mut Notes<'_>,
) {
    let value = match choice {
        Choice::Taken(value) => Some(value),
        Choice::Instead(value, why) => {
            notes.add(
                field,
                format!("`{word}` is read as the other kind of byte: {why}"),
            );
            Some(value)
        }
        Choice::Dropped(why) => {
            notes.add(field, format!("`{word}` is left out: {why}"));
            None
        }
    };
    taken.extend(value.filter(|value| !taken.contains(value)));
}

fn algorithms(
    field: &Field<'_>,
    tensor: Tensor,
    notes: &mut Notes<'_>,
) -> Result<Vec<RangeMethod>, LpotError> {
    let mut taken = Vec::new();
    for word in field.several(EXPECTED_RANGES)? {
        let method = range_method(word).ok_or_else(|| unknown_range(field, word))?;
        let choice = match (tensor, method) {
            (Tensor::Activation, method) | (Tensor::Weight, method @ RangeMethod::Minmax) => {
                Choice::Taken(method)
            }
            (Tensor::Weight, _) => Choice::Dropped(
                "weights take their greatest magnitude: other ranges gained nothing for them",
            ),
        };
        take(choice, word, &mut taken, field, notes);
    }
    Ok(taken)
}

const EXPECTED_RANGES: &str =
    "minmax, kl, mse, tf_enhanced or percentile_99.99, or several of them";

/// The error for a word that is no way to choose a range.
pub fn unknown_range(field: &Field<'_>, word: &str) -> LpotError {
    let near = nearest(
        word,
        ["minmax", "kl", "mse", "tf_enhanced", "percentile_99.99"],
    );
    field.wrong(format!("{EXPECTED_RANGES}{}", did_you_mean(near)))
}

/// Ways to choose a range under the names of LPOT, AIMET and the command line.
pub fn range_method(word: &str) -> Option<RangeMethod> {
    match word {
        "minmax" => Some(RangeMethod::Minmax),
        "kl" | "entropy" => Some(RangeMethod::Entropy),
        "mse" => Some(RangeMethod::Mse),
        "tf_enhanced" | "tf-enhanced" => Some(RangeMethod::TfEnhanced),
        _ => {
            let share = word.strip_prefix("percentile")?.strip_prefix(['_', '-'])?;
            let share = share.parse::<f64>().ok()?;
            (share > 50.0 && share <= 100.0).then_some(RangeMethod::Percentile(share))
        }
    }
}

/// Reads several ways to choose a range.
pub fn ranges(field: &Field<'_>) -> Result<Vec<RangeMethod>, LpotError> {
    let mut found = Vec::new();
    for word in field.several(EXPECTED_RANGES)? {
        let method = range_method(word).ok_or_else(|| unknown_range(field, word))?;
        if !found.contains(&method) {
            found.push(method);
        }
    }
    Ok(found)
}

/// Bits of a weight's magnitude.
fn bits(field: &Field<'_>) -> Result<u8, LpotError> {
    const EXPECTED: &str = "one whole number from 1 to 7, the bits of a weight without its sign";
    let several = field.several(EXPECTED)?;
    let [one] = several.as_slice() else {
        return Err(field.wrong(EXPECTED));
    };
    match one.parse::<f64>() {
        Ok(bits) if (1.0..=7.0).contains(&bits) && bits.fract() == 0.0 => Ok(bits as u8),
        _ => Err(field.wrong(EXPECTED)),
    }
}
