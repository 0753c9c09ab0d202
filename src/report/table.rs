//! The table at the end of a run.

use comfy_table::{presets, CellAlignment, ContentArrangement, Table};

use super::document::RunEntry;
use crate::units::Latency;

/// One line for each measurement, for people.
pub fn runs(entries: &[RunEntry]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
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
        ]);
    for entry in entries {
        table.add_row(row(entry));
    }
    for column in 2..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn row(entry: &RunEntry) -> Vec<String> {
    let dash = || "-".to_owned();
    let span = |latency: Option<Latency>| latency.map_or_else(dash, |latency| latency.to_string());
    let latency = entry.latency_ns.as_ref();
    let stages = entry.stage_ns.as_ref();
    let scenario = entry
        .scenario
        .map_or("accuracy only", |scenario| scenario.name());
    vec![
        scenario.to_owned(),
        entry.nms.map_or("-", |mode| mode.name()).to_owned(),
        entry
            .samples_per_second
            .map_or_else(dash, |rate| format!("{rate:.1}")),
        span(latency.map(|latency| latency.p50)),
        span(latency.map(|latency| latency.p90)),
        span(latency.map(|latency| latency.p99)),
        span(stages.map(|stages| stages.inference.p50)),
        span(stages.map(|stages| stages.postprocess.p50)),
        entry
            .accuracy
            .as_ref()
            .map_or_else(dash, |accuracy| format!("{:.4}", accuracy.map)),
        match entry.valid {
            None => dash(),
            Some(true) => "VALID".to_owned(),
            Some(false) => "INVALID".to_owned(),
        },
    ]
}
