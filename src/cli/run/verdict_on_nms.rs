//! What a run says of its two NMS modes, and the closing summary of Collective Knowledge.

use std::fmt::Write as _;

use super::truth::Scores;
use crate::postprocess::NmsMode;
use crate::report::document::RunEntry;
use crate::units::Latency;

/// What regular NMS finds more than fast, and what that costs; empty unless both were measured.
pub fn comparison(entries: &[RunEntry], scores: &[(Option<NmsMode>, Scores)]) -> String {
    let mut words = Vec::new();
    let map = |mode| {
        let found = scores.iter().find(|(held, _)| *held == Some(mode))?;
        Some(found.1.map())
    };
    if let (Some(regular), Some(fast)) = (map(NmsMode::Regular), map(NmsMode::Fast)) {
        words.push(if (regular - fast).abs() < 1e-9 {
            "the same mAP with both modes".to_owned()
        } else {
            format!("regular {:+.4} mAP against fast", regular - fast)
        });
    }
    words.extend(cost(entries));
    if words.is_empty() {
        return String::new();
    }
    let further = if entries.iter().any(RunEntry::is_synthetic) {
        // Weights that nobody trained lose nothing.
        ""
    } else {
        " How sure that is, and what each mode loses: `detbench nms --model … --images … --annotations …`."
    };
    format!("NMS: {}.{further}\n", words.join(", "))
}

/// What regular NMS takes more, in the first scenario that was measured with both.
fn cost(entries: &[RunEntry]) -> Option<String> {
    let regulars = entries
        .iter()
        .filter(|entry| entry.nms == Some(NmsMode::Regular));
    let mut pairs = regulars.filter_map(|regular| {
        let is_other = |other: &&RunEntry| {
            other.nms == Some(NmsMode::Fast) && other.scenario == regular.scenario
        };
        let fast = entries.iter().find(is_other)?.stage_ns.as_ref()?;
        Some((regular.scenario?, regular.stage_ns.as_ref()?, fast))
    });
    let (scenario, regular, fast) = pairs.next()?;
    let us = |latency: Latency| latency.as_nanos() as f64 / 1e3;
    let apart = us(regular.postprocess.p50) - us(fast.postprocess.p50);
    let share = 100.0 * apart / us(regular.inference.p50).max(1e-3);
    Some(format!(
        "{apart:+.1} us a picture ({scenario}, p50), {share:+.2} % of an inference"
    ))
}

/// Where the time of an accuracy run went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Opening the sessions.
    pub graph: Latency,
    /// Reading, decoding and resizing the pictures.
    pub pictures: Latency,
    /// From the first picture that was issued to the last answer, with all modes.
    pub detection: Latency,
}

/// The lines with which Collective Knowledge's object-detection program ends.
pub fn ck_summary(
    spent: Spent,
    picture_count: usize,
    scores: &[(Option<NmsMode>, Scores)],
) -> String {
    let mut text = String::new();
    let seconds = |latency: Latency| latency.as_secs_f64();
    let each = |latency: Latency| latency.as_secs_f64() / picture_count.max(1) as f64;
    let _ = writeln!(text, "\nSummary:\n-------------------------------");
    let _ = writeln!(text, "Graph loaded in {:.6}s", seconds(spent.graph));
    let _ = writeln!(text, "All images loaded in {:.6}s", seconds(spent.pictures));
    let _ = writeln!(
        text,
        "Average image load time: {:.6}s",
        each(spent.pictures)
    );
    let _ = writeln!(
        text,
        "All images detected in {:.6}s",
        seconds(spent.detection)
    );
    let _ = writeln!(
        text,
        "Average detection time: {:.6}s",
        each(spent.detection)
    );
    let several = scores.len() > 1;
    for (mode, scores) in scores {
        if let (Some(mode), true) = (mode, several) {
            let _ = writeln!(text, "{} NMS:", mode.name());
        }
        // CK prints the doubles as Python does.
        let _ = writeln!(text, "mAP: {:?}", scores.map());
        if let Scores::Coco(scores) = scores {
            let _ = writeln!(text, "Recall: {:?}", scores.stats[8]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::CocoScores;

    fn scores(map: f64, recall: f64) -> Scores {
        let mut stats = [0.0; 12];
        (stats[0], stats[8]) = (map, recall);
        Scores::Coco(CocoScores {
            stats,
            per_category: Vec::new(),
        })
    }

    #[test]
    fn the_summary_ends_with_both_figures_as_python_prints_them() {
        let spent = Spent {
            graph: Latency::from_millis(250),
            pictures: Latency::from_millis(4_000),
            detection: Latency::from_millis(1_000),
        };
        let text = ck_summary(spent, 8, &[(None, scores(0.25, 1.0))]);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "",
                "Summary:",
                "-------------------------------",
                "Graph loaded in 0.250000s",
                "All images loaded in 4.000000s",
                "Average image load time: 0.500000s",
                "All images detected in 1.000000s",
                "Average detection time: 0.125000s",
                "mAP: 0.25",
                "Recall: 1.0",
            ]
        );
        let modes = [NmsMode::Regular, NmsMode::Fast].map(|mode| (Some(mode), scores(0.5, 0.5)));
        let text = ck_summary(spent, 8, &modes);
        assert!(
            text.contains("regular NMS:\nmAP: 0.5\n") && text.contains("fast NMS:\n"),
            "{text}"
        );
    }

    #[test]
    fn modes_are_compared_only_when_both_were_measured() {
        let regular = (Some(NmsMode::Regular), scores(0.34, 0.4));
        let fast = (Some(NmsMode::Fast), scores(0.32, 0.4));
        assert_eq!(comparison(&[], &[]), "");
        assert_eq!(comparison(&[], std::slice::from_ref(&regular)), "");
        assert_eq!(comparison(&[], &[(None, scores(0.3, 0.3))]), "");
        let text = comparison(&[], &[regular.clone(), fast]);
        assert!(
            text.starts_with("NMS: regular +0.0200 mAP against fast."),
            "{text}"
        );
        let same = (Some(NmsMode::Fast), scores(0.34, 0.4));
        assert!(comparison(&[], &[regular, same]).contains("the same mAP with both modes"));
    }
}
