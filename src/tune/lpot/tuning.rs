//! The section `tuning`: strategy, criterion, objective, end, seed, folders.

use std::path::PathBuf;

use super::fields::{one_line, Field, Section};
use super::{LpotError, LpotFault, Notes};
use crate::quantise::SEED;
use crate::tune::criterion::{parse_loss, Criterion, CriterionError, Loss};
use crate::tune::exit::{ExitPolicy, MAX_TRIALS};
use crate::tune::objective::Objective;
use crate::tune::strategy::Strategy;
use crate::units::Latency;

/// What the section says.
pub struct Tuning {
    pub strategy: Strategy,
    pub criterion: Criterion,
    pub objective: Objective,
    pub exit: ExitPolicy,
    pub seed: u32,
    pub workspace: Option<PathBuf>,
    pub resume: Option<PathBuf>,
}

/// A year: a longer timeout is a mistake of units.
const TIMEOUT_MAX_S: u64 = 366 * 24 * 3600;

pub fn read(whole: &Section<'_>, notes: &mut Notes<'_>) -> Result<Tuning, LpotError> {
    let tuning = whole.section(
        "tuning",
        &[
            "strategy",
            "accuracy_criterion",
            "objective",
            "exit_policy",
            "random_seed",
            "tensorboard",
            "workspace",
        ],
    )?;
    let strategy = strategy(&tuning, notes)?;
    let criterion = criterion(&tuning, notes)?;
    let objective = match tuning.field("objective") {
        None => Objective::default(),
        Some(field) => objective(&field, notes)?,
    };
    let seed = match tuning.field("random_seed") {
        None => SEED,
        Some(field) => u32::try_from(field.whole(0, u64::from(u32::MAX))?).expect("in range"),
    };
    if let Some(field) = tuning.field("tensorboard") {
        if field.flag()? {
            notes.add(
                &field,
                "no TensorBoard files are written; the history has every trial",
            );
        }
    }
    let workspace = tuning.section("workspace", &["path", "resume"])?;
    let path = |key: &str| {
        let field = workspace.field(key);
        let text = field.map(|field| field.text("a path")).transpose();
        text.map(|text| text.map(PathBuf::from))
    };
    Ok(Tuning {
        strategy,
        criterion,
        objective,
        exit: exit(&tuning)?,
        seed,
        workspace: path("path")?,
        resume: path("resume")?,
    })
}

fn strategy(tuning: &Section<'_>, notes: &mut Notes<'_>) -> Result<Strategy, LpotError> {
    let Some(field) = tuning.field("strategy") else {
        return Ok(Strategy::Basic);
    };
    let section = field.section(&[
        "name",
        "accuracy_weight",
        "latency_weight",
        "sigopt_api_token",
        "sigopt_project_id",
        "sigopt_experiment_name",
    ])?;
    for key in ["accuracy_weight", "latency_weight"] {
        if let Some(weight) = section.field(key) {
            weight.number("a number")?;
            notes.add(
                &weight,
                "only LPOT's strategy tpe reads it, which is not offered",
            );
        }
    }
    notes.add_each(
        &section,
        &[
            "sigopt_api_token",
            "sigopt_project_id",
            "sigopt_experiment_name",
        ],
        "only LPOT's strategy sigopt reads it, which is not offered",
    );
    let name = section.needed("name")?;
    let parsed = one_line(name.text("a strategy's name")?).parse();
    parsed.map_err(|error| name.fault(LpotFault::Strategy(error)))
}

fn criterion(tuning: &Section<'_>, notes: &mut Notes<'_>) -> Result<Criterion, LpotError> {
    let section = tuning.section(
        "accuracy_criterion",
        &["relative", "absolute", "higher_is_better"],
    )?;
    section.not_both("relative", "absolute")?;
    let mut criterion = Criterion::default();
    let loss = |key: &str, of: fn(f64) -> Result<Loss, CriterionError>| {
        let Some(field) = section.field(key) else {
            return Ok(None);
        };
        let text = field.text("a number such as 0.01, or a percentage such as 1%")?;
        let loss = parse_loss(&one_line(text)).and_then(of);
        let loss = loss.map_err(|error| field.criterion(error));
        loss.map(Some)
    };
    let relative = loss("relative", Loss::relative)?;
    let absolute = loss("absolute", Loss::absolute)?;
    if let Some(loss) = relative.or(absolute) {
        criterion.loss = loss;
    }
    if let Some(field) = section.field("higher_is_better") {
        criterion.higher_is_better = field.flag()?;
        if !criterion.higher_is_better {
            notes.add(
                &field,
                "mAP, agreement and dp are better when they are higher, and now a model is good when they are low enough",
            );
        }
    }
    Ok(criterion)
}

fn objective(field: &Field<'_>, notes: &mut Notes<'_>) -> Result<Objective, LpotError> {
    let word = field.word(&["performance", "modelsize", "footprint"])?;
    match word {
        "performance" => notes.add(
            field,
            "the median latency of one inference, where LPOT takes the time of the whole evaluation",
        ),
        "footprint" => notes.add(
            field,
            "the size of the file, which is the part of the memory that tuning changes",
        ),
        _ => {}
    }
    Ok(Objective::of_lpot(word).expect("one of the three words"))
}

fn exit(tuning: &Section<'_>) -> Result<ExitPolicy, LpotError> {
    let section = tuning.section(
        "exit_policy",
        &["timeout", "max_trials", "performance_only"],
    )?;
    let timeout = match section.field("timeout") {
        None => 0,
        Some(field) => field.whole(0, TIMEOUT_MAX_S)?,
    };
    let max_trials = match section.field("max_trials") {
        None => MAX_TRIALS,
        Some(field) => u32::try_from(field.whole(1, u64::from(u32::MAX))?).expect("in range"),
    };
    let performance_only = match section.field("performance_only") {
        None => false,
        Some(field) => field.flag()?,
    };
    Ok(ExitPolicy {
        timeout: Some(Latency::from_millis(timeout * 1_000)),
        max_trials,
        performance_only,
    })
}
