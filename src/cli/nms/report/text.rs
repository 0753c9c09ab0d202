//! A text that answers which mode to take and what it costs.

use std::fmt::Write as _;
use std::io::{self, Write};

use comfy_table::{presets, CellAlignment, Table};

use super::{quantiles, Found, Study};
use crate::accuracy::matching::Object;
use crate::cli::nms::drawing::DRAWN_FROM;
use crate::cli::nms::laboratory::{ModeResult, Setting};
use crate::laboratory::bootstrap::Difference;
use crate::postprocess::NmsMode;

/// Lines of a table of categories or objects.
const LINES_MAX: usize = 12;

fn table<const N: usize>(header: [&str; N], words: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes the report for people.
pub fn write_text(out: &mut impl Write, study: &Study<'_>) -> io::Result<()> {
    let objects = study.truth.map_or_else(
        || "no ground truth: pass --annotations for accuracy".to_owned(),
        |_| {
            let matches = study.settings[0].modes[0].matches.as_ref();
            let count = matches.map_or(0, |matches| matches.objects.len());
            format!("{count} objects in the ground truth")
        },
    );
    let count = study.specimens.len();
    writeln!(
        out,
        "NMS laboratory: {}, {count} pictures, {objects}",
        study.title
    )?;
    writeln!(out, "{}", options_line(study))?;
    writeln!(out, "\n{}", overview(study))?;
    for setting in study.settings {
        write_setting(out, study, setting)?;
    }
    write_worst(out, study)
}

fn options_line(study: &Study<'_>) -> String {
    let options = &study.settings[0].options;
    let swept = study.settings[0].set.split('=').next().unwrap_or_default();
    let pairs = [
        (
            "nms_score_threshold",
            options.nms_score_threshold.to_string(),
        ),
        ("nms_iou_threshold", options.nms_iou_threshold.to_string()),
        ("max_detections", options.max_detections.to_string()),
        (
            "max_classes_per_detection",
            options.max_classes_per_detection.to_string(),
        ),
        (
            "detections_per_class",
            options.detections_per_class.to_string(),
        ),
        ("num_classes", options.num_classes.to_string()),
    ];
    let pairs = pairs.iter().filter(|(key, _)| *key != swept);
    let words: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    words.join(" ")
}

fn overview(study: &Study<'_>) -> Table {
    let mut table = table(
        [
            "setting",
            "NMS",
            "mAP",
            "AP50",
            "AR100",
            "detections/picture",
            "candidates/picture",
            "us p50",
            "us p90",
        ],
        2,
    );
    for setting in study.settings {
        for mode in &setting.modes {
            let stat = |index: usize| {
                let scores = mode.scores.as_ref();
                scores.map_or_else(
                    || "-".to_owned(),
                    |scores| format!("{:.4}", scores.stats[index]),
                )
            };
            let pictures = mode.detections.len() as f64;
            let detections: usize = mode.detections.iter().map(Vec::len).sum();
            let candidates: u64 = setting
                .candidates
                .iter()
                .map(|one| match mode.nms {
                    NmsMode::Regular => one.pairs,
                    NmsMode::Fast => u64::from(one.anchors),
                })
                .sum();
            let (middle, ninth) = quantiles(&mode.median_us);
            let set = if setting.set.is_empty() {
                "as above"
            } else {
                &setting.set
            };
            table.add_row([
                set.to_owned(),
                mode.nms.name().to_owned(),
                stat(0),
                stat(1),
                stat(8),
                format!("{:.1}", detections as f64 / pictures),
                format!("{:.0}", candidates as f64 / pictures),
                format!("{middle:.1}"),
                format!("{ninth:.1}"),
            ]);
        }
    }
    table
}

fn write_setting(out: &mut impl Write, study: &Study<'_>, setting: &Setting) -> io::Result<()> {
    if !setting.set.is_empty() {
        writeln!(out, "\n== {} ==", setting.set)?;
    }
    if let Some(answer) = answer(study, setting) {
        writeln!(out, "\n{answer}")?;
    }
    if let Some(found) = Found::new(setting) {
        let [first, second] = &setting.modes[..] else {
            return Ok(());
        };
        writeln!(
            out,
            "\nObjects found at IoU 0.5: {} by both, {} only by {}, {} only by {}, {} by neither.",
            found.both,
            found.only_first.len(),
            first.nms.name(),
            found.only_second.len(),
            second.nms.name(),
            found.neither
        )?;
        write_lost(out, study, first, second, &found.only_first)?;
        write_lost(out, study, second, first, &found.only_second)?;
    }
    if let Some(table) = categories_table(study, setting) {
        writeln!(out, "\n{table}")?;
    }
    if setting.modes.len() == 2 && setting.candidates.len() >= 4 {
        writeln!(
            out,
            "\nTime against number of candidates, by quarters of the pictures:\n{}",
            time_table(setting)
        )?;
    }
    Ok(())
}

fn write_lost(
    out: &mut impl Write,
    study: &Study<'_>,
    finder: &ModeResult,
    loser: &ModeResult,
    objects: &[&Object],
) -> io::Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nFound by {}, lost by {}:",
        finder.nms.name(),
        loser.nms.name()
    )?;
    let mut table = table(
        ["category", "picture", "score", "x", "y", "width", "height"],
        2,
    );
    for object in objects.iter().take(LINES_MAX) {
        let score = object.found.expect("it was found");
        let head = [
            study.category(object.category_id),
            study.name(object.picture),
            format!("{score:.3}"),
        ];
        let pixels = object.bbox.map(|pixels| format!("{pixels:.0}"));
        table.add_row(head.into_iter().chain(pixels));
    }
    writeln!(out, "{table}")?;
    if objects.len() > LINES_MAX {
        writeln!(
            out,
            "and {} more (--json has all)",
            objects.len() - LINES_MAX
        )?;
    }
    Ok(())
}

/// Categories whose precision differs, most first.
fn categories_table(study: &Study<'_>, setting: &Setting) -> Option<String> {
    let differences = setting.differences.as_ref()?;
    let [first, second] = &setting.modes[..] else {
        return None;
    };
    let (first, second) = (first.scores.as_ref()?, second.scores.as_ref()?);
    let mut rows: Vec<(usize, Difference)> = differences
        .per_category
        .iter()
        .enumerate()
        .filter_map(|(category, difference)| Some((category, (*difference)?)))
        .collect();
    let total = rows.len();
    rows.retain(|(_, difference)| difference.estimate.abs() > 1e-9);
    rows.sort_by(|a, b| b.1.estimate.abs().total_cmp(&a.1.estimate.abs()));
    let mut text = format!(
        "{} of {total} categories with objects differ in AP{}\n",
        rows.len(),
        if rows.is_empty() { "." } else { ":" }
    );
    let mut table = table(
        [
            "category",
            "objects",
            "regular",
            "fast",
            "difference",
            "95 % interval",
        ],
        1,
    );
    for &(category, difference) in rows.iter().take(LINES_MAX) {
        let scores = &first.per_category[category];
        let matches = setting.modes[0].matches.as_ref()?;
        let objects = matches
            .objects
            .iter()
            .filter(|object| object.category_id == scores.id);
        table.add_row([
            study.category(scores.id),
            objects.count().to_string(),
            format!("{:.4}", scores.ap),
            format!("{:.4}", second.per_category[category].ap),
            format!("{:+.4}", difference.estimate),
            format!("{:+.4} to {:+.4}", difference.low, difference.high),
        ]);
    }
    if !rows.is_empty() {
        text.push_str(&table.to_string());
    }
    Some(text)
}

fn time_table(setting: &Setting) -> Table {
    let mut order: Vec<usize> = (0..setting.candidates.len()).collect();
    order.sort_by_key(|&picture| setting.candidates[picture].pairs);
    let mut table = table(
        [
            "pairs",
            "anchors",
            "regular us",
            "fast us",
            "regular / fast",
        ],
        0,
    );
    let quarter = order.len().div_ceil(4);
    for pictures in order.chunks(quarter) {
        let middle = |values: Vec<f64>| quantiles(&values).0;
        let of =
            |mode: &ModeResult| middle(pictures.iter().map(|&one| mode.median_us[one]).collect());
        let pairs = |end: Option<&usize>| end.map_or(0, |&one| setting.candidates[one].pairs);
        let anchors = pictures
            .iter()
            .map(|&one| f64::from(setting.candidates[one].anchors));
        let (regular, fast) = (of(&setting.modes[0]), of(&setting.modes[1]));
        table.add_row([
            format!("{} to {}", pairs(pictures.first()), pairs(pictures.last())),
            format!("{:.0}", middle(anchors.collect())),
            format!("{regular:.1}"),
            format!("{fast:.1}"),
            format!("{:.2}", regular / fast),
        ]);
    }
    table
}

/// Which mode to take and what it costs.
fn answer(study: &Study<'_>, setting: &Setting) -> Option<String> {
    let [regular, fast] = &setting.modes[..] else {
        return None;
    };
    let (regular_us, fast_us) = (
        quantiles(&regular.median_us).0,
        quantiles(&fast.median_us).0,
    );
    let (word, apart) = if regular_us >= fast_us {
        ("more", regular_us - fast_us)
    } else {
        ("less", fast_us - regular_us)
    };
    let mut cost = format!(
        "Regular takes {apart:.1} us a picture {word} than fast ({regular_us:.1} against {fast_us:.1})"
    );
    if study.inference_us.is_empty() {
        cost.push('.');
    } else {
        let inference_us = quantiles(study.inference_us).0;
        let _ = write!(
            cost,
            ": {:.2} % of an inference, which takes {:.1} ms on one thread here.",
            100.0 * apart / inference_us,
            inference_us / 1e3
        );
    }
    let Some(difference) = setting.differences.as_ref().and_then(|all| all.map) else {
        return Some(cost);
    };
    let Difference {
        estimate,
        low,
        high,
    } = difference;
    let better = if estimate > 0.0 { "regular" } else { "fast" };
    let verdict = if difference.is_clear() {
        format!("Take {better} where accuracy counts: these pictures settle it.")
    } else if estimate.abs() < 1e-9 {
        "Both modes are worth the same on these pictures: take the cheaper one.".to_owned()
    } else {
        format!("These pictures lean to {better} but do not settle it: the interval holds zero.")
    };
    Some(format!(
        "mAP of regular less fast: {estimate:+.4}, 95 % interval {low:+.4} to {high:+.4} ({} resamples of the \
         pictures, seed {}).\n{verdict}\n{cost}",
        study.resamples, study.seed
    ))
}

fn write_worst(out: &mut impl Write, study: &Study<'_>) -> io::Result<()> {
    if study.worst.is_empty() {
        return Ok(());
    }
    let at = &study.settings[0].set;
    let at = if at.is_empty() {
        String::new()
    } else {
        format!(" at {at}")
    };
    writeln!(out, "\nPictures on which the modes differ most{at} (scores of all detections that only one mode has):")?;
    let mut table = table(
        [
            "picture",
            "difference",
            "in both",
            "only regular",
            "only fast",
            "drawn in",
        ],
        1,
    );
    for (rank, (picture, difference)) in study.worst.iter().enumerate() {
        let drawn = study.drawn.get(rank);
        table.add_row([
            study.name(*picture),
            format!("{:.2}", difference.weight()),
            difference.both.len().to_string(),
            difference.only_first.len().to_string(),
            difference.only_second.len().to_string(),
            drawn.map_or_else(
                || "- (--draw DIR)".to_owned(),
                |path| path.display().to_string(),
            ),
        ]);
    }
    writeln!(out, "{table}")?;
    if !study.drawn.is_empty() {
        let alone = if study.truth.is_some() {
            "green: only this mode, on an object of the ground truth; red: only this mode, on none; dashed white: \
             ground truth"
        } else {
            "red: only this mode"
        };
        writeln!(
            out,
            "\nIn the drawings, from score {DRAWN_FROM} up - blue: both modes; {alone}."
        )?;
    }
    Ok(())
}
