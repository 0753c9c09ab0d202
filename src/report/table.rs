//! The table at the end of a run.

use comfy_table::{presets, CellAlignment, ContentArrangement, Table};

use super::document::RunEntry;
use crate::units::Latency;

/// What stands where there is nothing to tell.
const NOTHING: &str = "-";

const HEADER: [&str; 10] = [
    "Scenario",
    "NMS",
    "images/s",
    "p50",
    "p90",
    "p99",
    "inference p50",
    "NMS p50",
    "mAP",
    "verdict",
];

/// The columns of figures, which stand to the right.
const FIGURES: std::ops::Range<usize> = 2..9;

/// One line for each measurement, for people; a column that has nothing to tell is left out.
pub fn runs(entries: &[RunEntry]) -> String {
    let rows: Vec<_> = entries.iter().map(row).collect();
    let told: Vec<usize> = (0..HEADER.len())
        .filter(|&column| rows.iter().any(|row| row[column] != NOTHING))
        .collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(told.iter().map(|&column| HEADER[column]));
    for row in &rows {
        table.add_row(told.iter().map(|&column| &row[column]));
    }
    for (position, column) in told.iter().enumerate() {
        if FIGURES.contains(column) {
            let column = table.column_mut(position).expect("made just above");
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn row(entry: &RunEntry) -> [String; HEADER.len()] {
    let dash = || NOTHING.to_owned();
    let span = |latency: Option<Latency>| latency.map_or_else(dash, |latency| latency.to_string());
    let latency = entry.latency_ns.as_ref();
    let stages = entry.stage_ns.as_ref();
    let scenario = entry
        .scenario
        .map_or("accuracy only", |scenario| scenario.name());
    [
        scenario.to_owned(),
        entry.nms.map_or(NOTHING, |mode| mode.name()).to_owned(),
        entry
            .samples_per_second
            .map_or_else(dash, |rate| format!("{rate:.1}")),
        span(latency.map(|latency| latency.p50)),
        span(latency.map(|latency| latency.p90)),
        span(latency.map(|latency| latency.p99)),
        span(stages.map(|stages| stages.inference.p50)),
        span(stages.map(|stages| stages.postprocess.p50)),
        match &entry.accuracy {
            Some(accuracy) => format!("{:.4}", accuracy.map),
            // A table is copied without what stands around it.
            None if entry.is_synthetic() => "synthetic weights".to_owned(),
            None => dash(),
        },
        match entry.valid {
            None => dash(),
            Some(true) => "VALID".to_owned(),
            Some(false) => "INVALID".to_owned(),
        },
    ]
}
