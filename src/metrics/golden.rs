//! Figures of the load generator itself, recorded by others, against ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::early_stopping::passing_needed;
use super::{LatencySummary, OverlatencyVerdict, TailEstimate};
use crate::units::{Latency, Quantile};

/// This repository's vectors and the folders named by `DETBENCH_GOLDEN`; each may be the whole
/// collection or its `loadgen` part.
fn folders() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let more = std::env::var_os("DETBENCH_GOLDEN").unwrap_or_default();
    std::iter::once(own)
        .chain(std::env::split_paths(&more).filter(|path| !path.as_os_str().is_empty()))
        .flat_map(|folder| [folder.join("loadgen"), folder])
        .collect()
}

#[derive(serde::Deserialize)]
struct Thresholds {
    table: BTreeMap<String, BTreeMap<String, u64>>,
}

#[test]
fn golden_thresholds_of_loadgen_hold() {
    let mut pairs = 0;
    for folder in folders() {
        let Ok(text) = fs::read_to_string(folder.join("early_stopping.json")) else {
            continue;
        };
        let Ok(golden) = serde_json::from_str::<Thresholds>(&text) else {
            eprintln!(
                "skipped early_stopping.json of {}: no table",
                folder.display()
            );
            continue;
        };
        eprintln!("early_stopping.json of {}", folder.display());
        for (percentile, thresholds) in &golden.table {
            let quantile = Quantile::from_share(percentile.parse().unwrap()).unwrap();
            for (t, &h) in thresholds {
                let t = t.parse().unwrap();
                assert_eq!(passing_needed(quantile, t), h, "p={percentile} t={t}");
                pairs += 1;
            }
        }
    }
    assert!(pairs > 0, "the repository's own vectors are there");
}

/// The number after the colon of the line that starts so.
fn figure(summary: &str, label: &str) -> Option<u64> {
    let line = summary.lines().find(|line| line.starts_with(label))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

/// The number in parentheses or at the end of a sentence.
fn number_in(summary: &str, before: &str) -> Option<u64> {
    let rest = &summary[summary.find(before)? + before.len()..];
    let end = rest
        .find(|symbol: char| !symbol.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn check_percentiles(summary: &str, figures: &LatencySummary) {
    for (label, ours) in [
        ("Min latency (ns)", figures.min),
        ("Max latency (ns)", figures.max),
        ("Mean latency (ns)", figures.mean),
        ("50.00 percentile", figures.p50),
        ("90.00 percentile", figures.p90),
        ("95.00 percentile", figures.p95),
        ("97.00 percentile", figures.p97),
        ("99.00 percentile", figures.p99),
        ("99.90 percentile", figures.p99_9),
    ] {
        assert_eq!(figure(summary, label), Some(ours.as_nanos()), "{label}");
    }
}

fn check_single_stream(summary: &str, sorted: &[u64]) {
    let estimate = |quantile| TailEstimate::from_sorted(sorted, quantile);
    match estimate(Quantile::P90) {
        TailEstimate::Met {
            discarded, latency, ..
        } => {
            assert_eq!(number_in(summary, "Would discard "), Some(discarded));
            let label = " * Early stopping 90.0th percentile estimate";
            assert_eq!(figure(summary, label), Some(latency.as_nanos()));
        }
        TailEstimate::TooFew {
            queries,
            queries_needed,
        } => {
            assert_eq!(number_in(summary, "Only processed "), Some(queries));
            assert_eq!(
                number_in(summary, "Need to process at least "),
                Some(queries_needed)
            );
        }
    }
    let label = " * Early stopping 99.0th percentile estimate";
    let p99 = estimate(Quantile::P99).latency().map(Latency::as_nanos);
    assert_eq!(figure(summary, label), p99);
}

fn check_server(summary: &str, sorted: &[u64]) {
    let bound = figure(summary, "target_latency (ns)").unwrap();
    let slow = sorted.iter().filter(|&&ns| ns > bound).count() as u64;
    let verdict = OverlatencyVerdict::new(sorted.len() as u64, slow, Quantile::P99);
    let missing = match verdict {
        OverlatencyVerdict::Met => None,
        OverlatencyVerdict::NotMet { queries_missing } => Some(queries_missing),
    };
    assert_eq!(number_in(summary, "Would need to run at least "), missing);
}

#[test]
fn golden_latencies_of_loadgen_give_its_own_figures() {
    let mut runs = 0;
    let logs = folders().into_iter().map(|folder| folder.join("logs"));
    for run in logs.filter_map(|logs| fs::read_dir(logs).ok()).flatten() {
        let run = run.unwrap().path();
        let read = |name| fs::read_to_string(run.join(name));
        let (Ok(samples), Ok(summary)) = (read("samples.csv"), read("mlperf_log_summary.txt"))
        else {
            continue;
        };
        // MultiStream prints two lists; accuracy runs and searches print none of this kind.
        let plain = ["SingleStream", "Server", "Offline"]
            .into_iter()
            .find(|name| summary.contains(&format!("Scenario : {name}\n")));
        let (Some(scenario), true) = (plain, summary.contains("Mode     : PerformanceOnly")) else {
            continue;
        };
        eprintln!("{}", run.display());
        let latency = |line: &str| line.rsplit_once(',').unwrap().1.parse().unwrap();
        let mut latencies: Vec<u64> = samples.lines().skip(1).map(latency).collect();
        check_percentiles(
            &summary,
            &LatencySummary::from_unsorted(&mut latencies).unwrap(),
        );
        latencies.sort_unstable();
        match scenario {
            "SingleStream" => check_single_stream(&summary, &latencies),
            "Server" => check_server(&summary, &latencies),
            _ => {}
        }
        runs += 1;
    }
    assert!(runs > 0, "the repository's own run is there");
}
