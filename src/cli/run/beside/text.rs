//! The report for people: two columns and what stands between them.

use std::fmt::Write as _;

use comfy_table::{presets, CellAlignment, Table};

use super::accuracy::{relative, CategoryEntry, Comparison, PICTURES_MIN};
use super::document::{BothDocument, NearnessEntry, ScenarioEntry};
use super::figures::{of_times, Figures};
use crate::laboratory::bootstrap::Difference;
use crate::laboratory::turns::Spread;
use crate::metrics::LatencySummary;
use crate::model::description::Precision;
use crate::report::document::SYNTHETIC;
use crate::scenario::Scenario;
use crate::units::Latency;

/// Categories in the text, at most; the document has them all.
const CATEGORIES_MAX: usize = 10;
/// Categories that are told when the interval of none leaves zero out.
const LARGEST: usize = 5;

/// COCO's twelve numbers by their short names.
const TWELVE: [&str; 12] = [
    "AP",
    "AP50",
    "AP75",
    "AP small",
    "AP medium",
    "AP large",
    "AR 1",
    "AR 10",
    "AR 100",
    "AR small",
    "AR medium",
    "AR large",
];

/// The report that follows the measurements.
pub fn report(document: &BothDocument) -> String {
    let labels = document.models.each_ref().map(|model| model.label.as_str());
    let mut text = format!("{}\n", costs(document, labels));
    text.push_str(&explained(document, labels));
    if let Some(accuracy) = &document.accuracy {
        text.push_str(&of_accuracy(accuracy, labels));
    }
    if let Some(near) = &document.nearness {
        let is_synthetic = document
            .models
            .iter()
            .any(|model| model.weights == SYNTHETIC);
        text.push_str(&of_nearness(near, labels, is_synthetic));
    }
    for note in &document.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn table(header: [&str; 4]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// File sizes, rates and latencies.
fn costs(document: &BothDocument, labels: [&str; 2]) -> Table {
    let ratio = format!("{} / {}", labels[1], labels[0]);
    let mut table = table(["", labels[0], labels[1], &ratio]);
    let sizes = document.models.each_ref().map(|model| model.size_bytes);
    table.add_row([
        "file".to_owned(),
        megabytes(sizes[0]),
        megabytes(sizes[1]),
        times(sizes[0] as f64 / sizes[1].max(1) as f64),
    ]);
    for entry in &document.performance {
        for row in rows(entry) {
            table.add_row(row);
        }
    }
    table
}

fn rows(entry: &ScenarioEntry) -> Vec<[String; 4]> {
    let name = entry.scenario.name();
    let ratio = &entry.ratio;
    let latency = |what: &str, of: fn(&LatencySummary) -> Latency, spread: Option<Spread>| {
        let pick = |figures: &Figures| figures.latency_ns.as_ref().map(of);
        span_row(
            format!("{name} {what}"),
            entry.models.each_ref().map(pick),
            spread,
        )
    };
    let rate = || {
        let rate = |figures: &Figures| figures.samples_per_second;
        let rates = entry.models.each_ref().map(rate);
        let shown = rates.map(|rate| rate.map_or_else(nothing, |rate| format!("{rate:.1}")));
        let [first, second] = shown;
        let times = ratio.samples_per_second.map_or_else(nothing, spread_words);
        [format!("{name} images/s"), first, second, times]
    };
    let mut rows = match entry.scenario {
        // All samples are due at once: their latency is where they stood in the queue.
        Scenario::Offline => vec![rate()],
        Scenario::SingleStream | Scenario::MultiStream | Scenario::Server => vec![
            latency("p50", |one| one.p50, ratio.latency_p50),
            latency("p90", |one| one.p90, ratio.latency_p90),
            latency("p99", |one| one.p99, None),
        ],
    };
    if entry.scenario == Scenario::Server {
        // The load is the same for both: a ratio would be of the same arrivals.
        let [what, first, second, _] = rate();
        rows.insert(0, [what, first, second, nothing()]);
    }
    let stage = |what: &str, of: fn(&Figures) -> Option<LatencySummary>, spread| {
        let pick = |figures: &Figures| of(figures).map(|one| one.p50);
        span_row(
            format!("  {what} p50"),
            entry.models.each_ref().map(pick),
            spread,
        )
    };
    rows.push(stage(
        "inference",
        |one| one.inference_ns,
        ratio.inference_p50,
    ));
    rows.push(stage(
        "NMS",
        |one| one.postprocess_ns,
        ratio.postprocess_p50,
    ));
    rows
}

/// A time of either model; without a spread over the turns the ratio of the two.
fn span_row(what: String, spans: [Option<Latency>; 2], spread: Option<Spread>) -> [String; 4] {
    let plain = || match spans {
        [Some(first), Some(second)] => of_times(first, second).map_or_else(nothing, times),
        _ => nothing(),
    };
    let ratio = spread.map_or_else(plain, spread_words);
    let [first, second] = spans.map(|span| span.map_or_else(nothing, |span| span.to_string()));
    [what, first, second, ratio]
}

fn nothing() -> String {
    "-".to_owned()
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

fn spread_words(spread: Spread) -> String {
    format!(
        "{:.2}x ({:.2} to {:.2})",
        spread.median, spread.low, spread.high
    )
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What the last column means.
fn explained(document: &BothDocument, [first, second]: [&str; 2]) -> String {
    let mut text = format!("x: how many times as small or as fast {second} is as {first}");
    let turns = document.performance.iter().map(|entry| entry.turns.len());
    if let (Some(least), Some(most)) = (turns.clone().min(), turns.max()) {
        let count = if least == most {
            least.to_string()
        } else {
            format!("{least} to {most}")
        };
        let _ = write!(
            text,
            "; median of {count} turns, each {first} against {second} on the same pictures, and in brackets their quartiles"
        );
    }
    text.push_str(".\n");
    text
}

/// The line that AIMET's users look for, the twelve numbers or the classes, and what is sure of it.
fn of_accuracy(accuracy: &Comparison, labels: [&str; 2]) -> String {
    let [first, second] = &accuracy.models;
    let shown = labels.map(|label| match label {
        label if label == Precision::Fp32.name() || label == Precision::Int8.name() => {
            label.to_uppercase()
        }
        label => label.to_owned(),
    });
    let mut text = format!(
        "\n{} mAP: {:.4}   {} mAP: {:.4}\n",
        shown[0], first.map, shown[1], second.map
    );
    if let Some(difference) = accuracy.map_difference {
        text.push_str(&verdict(accuracy, difference, labels));
    }
    let stats = [&first.stats, &second.stats].map(|stats| <[f64; 12]>::try_from(stats.as_slice()));
    if let ("coco", [Ok(first), Ok(second)]) = (first.metric, stats) {
        let _ = writeln!(text, "\n{}", twelve(first, second, labels));
    }
    text.push_str(&categories(&accuracy.per_category, labels));
    text
}

/// The difference, its interval and whether the pictures can tell the two apart.
fn verdict(accuracy: &Comparison, difference: Difference, [first, second]: [&str; 2]) -> String {
    let pictures = accuracy.models[0].picture_count;
    let relative = accuracy
        .map_relative
        .map_or_else(String::new, |share| format!(" ({:+.1} %)", 100.0 * share));
    let sure = if accuracy.has_interval() && difference.is_clear() {
        let word = if difference.estimate > 0.0 {
            "more"
        } else {
            "less"
        };
        format!("{second} finds {word} than {first}")
    } else {
        format!("{pictures} pictures cannot decide which of the two is better")
    };
    format!(
        "difference {:+.4}{relative}, 95 % interval {:+.4} to {:+.4} ({} paired resamples of the pictures): {sure}.\n",
        difference.estimate, difference.low, difference.high, accuracy.resamples
    )
}

fn twelve(first: [f64; 12], second: [f64; 12], labels: [&str; 2]) -> Table {
    let mut table = Table::new();
    let header = ["", labels[0], labels[1], "difference", "relative"];
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (name, values) in TWELVE.iter().zip(first.into_iter().zip(second)) {
        let values = [values.0, values.1];
        // Minus one: there are no objects of that size.
        let is_number = values.iter().all(|value| *value >= 0.0);
        let number = |value: f64| {
            if is_number {
                format!("{value:.4}")
            } else {
                nothing()
            }
        };
        table.add_row([
            (*name).to_owned(),
            number(values[0]),
            number(values[1]),
            if is_number {
                format!("{:+.4}", values[1] - values[0])
            } else {
                nothing()
            },
            relative(values).map_or_else(nothing, |share| format!("{:+.1} %", 100.0 * share)),
        ]);
    }
    table
}

/// The categories whose intervals leave zero out, or, when there are none, the largest differences.
fn categories(all: &[CategoryEntry], labels: [&str; 2]) -> String {
    let total = all.len();
    let differs = |row: &&CategoryEntry| row.difference.estimate != 0.0;
    let mut rows: Vec<&CategoryEntry> = all.iter().filter(differs).collect();
    if rows.is_empty() {
        return format!("\nThe AP of all {total} categories with objects is the same.\n");
    }
    let known = all.iter().filter(|row| row.has_interval()).count();
    if rows.iter().any(|row| row.has_interval()) {
        rows.retain(|row| row.has_interval());
    }
    let clear = rows.iter().filter(|row| row.is_clear()).count();
    if clear > 0 {
        rows.retain(|row| row.is_clear());
    }
    let size = |row: &CategoryEntry| row.difference.estimate.abs();
    rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
    rows.truncate(if clear > 0 { CATEGORIES_MAX } else { LARGEST });
    let shown = rows.len();
    let largest = match shown {
        1 => "the largest difference".to_owned(),
        _ => format!("the {shown} largest differences"),
    };
    let heading = match (known, clear) {
        (0, _) => format!("none is in {PICTURES_MIN} pictures, too few for intervals; {largest}"),
        (_, 0) => format!("{known} are in {PICTURES_MIN} pictures or more, of which none differs clearly; {largest}"),
        _ if shown < clear => {
            format!("{known} are in {PICTURES_MIN} pictures or more, of which {clear} differ clearly; {largest}")
        }
        _ => format!("{known} are in {PICTURES_MIN} pictures or more, of which {clear} differ clearly"),
    };
    let heading = format!("of {total} with objects {heading}");
    let mut table = Table::new();
    let header = [
        "",
        "objects",
        "pictures",
        labels[0],
        labels[1],
        "difference",
        "95 % interval",
    ];
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        let interval = || format!("{:+.4} to {:+.4}", row.difference.low, row.difference.high);
        table.add_row([
            row.name.clone(),
            row.object_count.to_string(),
            row.picture_count.to_string(),
            format!("{:.4}", row.ap[0]),
            format!("{:.4}", row.ap[1]),
            format!("{:+.4}", row.difference.estimate),
            if row.has_interval() {
                interval()
            } else {
                "too few pictures".to_owned()
            },
        ]);
    }
    format!("\nAP by category: {heading}:\n{table}\n")
}

fn of_nearness(near: &NearnessEntry, [first, second]: [&str; 2], is_synthetic: bool) -> String {
    let number = |value: Option<f64>| value.map_or_else(nothing, |value| format!("{value:.3}"));
    let mut text = format!(
        "\nWithout labels, on {} pictures: agreement {} (mAP of what {second} finds, with what {first} finds from score 0.3 on as ground truth; 1 is equal)",
        near.picture_count,
        number(near.agreement)
    );
    match near.dp {
        Some(dp) => {
            let _ = write!(
                text,
                ", dp {dp:.3} (differences of all class probabilities over their sum; 0 is equal)"
            );
        }
        None => text.push_str("; no dp: the heads are not alike"),
    }
    if let (Some(scores), Some(boxes)) = (near.scores_sqnr_db, near.boxes_sqnr_db) {
        let _ = write!(
            text,
            ", signal over noise {scores:.1} dB in the class scores and {boxes:.1} dB in the boxes"
        );
    }
    text.push_str(".\n");
    if near.agreement.is_none() {
        let _ = writeln!(
            text,
            "{first} finds nothing from score 0.3 on, so there is no agreement."
        );
    }
    if is_synthetic {
        text.push_str("With synthetic weights these two say how faithful the arithmetic is, and nothing of what a detector finds.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::AccuracyEntry;

    fn difference(estimate: f64, low: f64, high: f64) -> Difference {
        Difference {
            estimate,
            low,
            high,
        }
    }

    fn category(name: &str, estimate: f64, half: f64) -> CategoryEntry {
        CategoryEntry {
            id: Some(1),
            name: name.to_owned(),
            object_count: 17,
            picture_count: if name == "fox" { 9 } else { 10 },
            ap: [0.5, 0.5 + estimate],
            difference: difference(estimate, estimate - half, estimate + half),
        }
    }

    fn comparison(map: [f64; 2], half: f64) -> Comparison {
        let entry = |map| AccuracyEntry {
            metric: "coco",
            map,
            stats: [map, 0.5, 0.4, -1.0, 0.3, 0.6, 0.2, 0.3, 0.3, -1.0, 0.3, 0.6].to_vec(),
            picture_count: 79,
            detection_count: 100,
        };
        let estimate = map[1] - map[0];
        Comparison {
            models: map.map(entry),
            map_difference: Some(difference(estimate, estimate - half, estimate + half)),
            map_relative: relative(map),
            per_category: vec![category("dog", 0.1, 0.2), category("ewe", 0.0, 0.0)],
            resamples: 1_000,
            seed: 0,
        }
    }

    #[test]
    fn the_line_of_aimet_and_the_interval_stand_above_the_twelve_numbers() {
        let text = of_accuracy(&comparison([0.3232, 0.3220], 0.007), ["fp32", "int8"]);
        assert!(
            text.contains("\nFP32 mAP: 0.3232   INT8 mAP: 0.3220\n"),
            "{text}"
        );
        let line = "difference -0.0012 (-0.4 %), 95 % interval -0.0082 to +0.0058 (1000 paired resamples of the pictures): \
                    79 pictures cannot decide which of the two is better.";
        assert!(text.contains(line), "{text}");
        let row = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(name));
            line.unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(row("AP small"), "AP small - - - -");
        assert_eq!(row("AR large"), "AR large 0.6000 0.6000 +0.0000 +0.0 %");
        let named = of_accuracy(&comparison([0.2, 0.4], 0.01), ["ssd v1", "int8"]);
        assert!(
            named.contains("ssd v1 mAP: 0.2000   INT8 mAP: 0.4000"),
            "{named}"
        );
        assert!(named.contains("int8 finds more than ssd v1."), "{named}");
    }

    #[test]
    fn clear_categories_come_alone_and_without_any_the_largest() {
        let labels = ["a", "b"];
        let text = categories(
            &[category("dog", 0.1, 0.2), category("ewe", -0.3, 0.1)],
            labels,
        );
        assert!(text.contains("of which 1 differ clearly:"), "{text}");
        assert!(text.contains("ewe") && !text.contains("dog"), "{text}");
        let text = categories(
            &[category("dog", 0.1, 0.2), category("ewe", 0.0, 0.0)],
            labels,
        );
        assert!(
            text.contains("none differs clearly; the largest difference:"),
            "{text}"
        );
        assert!(text.contains("dog") && !text.contains("ewe"), "{text}");
        // Nine pictures show too little of how much pictures vary.
        let text = categories(
            &[category("fox", -0.3, 0.1), category("dog", 0.1, 0.2)],
            labels,
        );
        assert!(
            text.contains("of 2 with objects 1 are in 10 pictures or more"),
            "{text}"
        );
        assert!(text.contains("dog") && !text.contains("fox"), "{text}");
        let text = categories(&[category("fox", -0.3, 0.1)], labels);
        assert!(
            text.contains("none is in 10 pictures") && text.contains("too few pictures"),
            "{text}"
        );
        let text = categories(&[category("ewe", 0.0, 0.0)], labels);
        assert!(text.contains("is the same"), "{text}");
        let many: Vec<_> = (0..30)
            .map(|one| category("cow", f64::from(one + 1), 0.1))
            .collect();
        let text = categories(&many, labels);
        assert!(
            text.contains("of which 30 differ clearly; the 10 largest"),
            "{text}"
        );
        assert_eq!(text.matches("cow").count(), 10);
    }

    #[test]
    fn what_is_missing_without_labels_is_said() {
        let near = NearnessEntry {
            agreement: None,
            dp: None,
            scores_sqnr_db: None,
            boxes_sqnr_db: None,
            picture_count: 3,
        };
        let text = of_nearness(&near, ["fp32", "int8"], true);
        for words in [
            "on 3 pictures: agreement -",
            "no dp",
            "finds nothing",
            "synthetic",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
