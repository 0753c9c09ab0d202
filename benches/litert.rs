//! Our post-processing beside `LiteRT`'s own op: the same heads, one thread each, turn by turn in one run.
//!
//! Needs an interpreter that has `ai-edge-litert`, named by `DETBENCH_LITERT_PYTHON`; without it nothing is measured.
//! The figures are medians of a call, decoding included; what counts is their ratio.

#![allow(clippy::cast_possible_wrap)] // Sizes of the heads.
#![allow(dead_code)] // The other benches use the rest of `heads`.

mod heads;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use detbench::clock::{Clock, Monotonic};
use detbench::postprocess::{Activation, BoxScales, Detector, NmsMode, NmsSettings, SsdDetector};

use self::heads::{anchors, picture, Outputs, Picture, CLASSES, PICTURES};

/// Turns that each side has at every threshold.
const TURNS: usize = 7;

/// Mode, score threshold, rounds over the pictures in a turn of `LiteRT`, and how many times faster we ought to be.
const CASES: [(NmsMode, f32, u32, f64); 6] = [
    (NmsMode::Fast, 0.3, 20, 4.0),
    (NmsMode::Fast, 0.01, 8, 4.0),
    (NmsMode::Fast, 1e-8, 8, 4.0),
    (NmsMode::Regular, 0.3, 10, 10.0),
    (NmsMode::Regular, 0.01, 5, 4.0),
    (NmsMode::Regular, 1e-8, 1, 30.0),
];

/// `LiteRT` in its own process.
struct Peer {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, inputs: &std::path::Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/litert.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(inputs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("DETBENCH_LITERT_PYTHON starts");
        let asks = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = Self {
            child,
            asks,
            answers,
        };
        assert_eq!(peer.line(), "ready", "ai-edge-litert can be imported");
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim().to_owned()
    }

    /// Median of a call in microseconds, and the detections of all pictures.
    fn turn(&mut self, mode: NmsMode, threshold: f32, rounds: u32) -> (f64, usize) {
        writeln!(self.asks, "{} {threshold} {rounds}", mode.name()).expect("it listens");
        let line = self.line();
        let (time, found) = line.split_once(' ').expect("two numbers");
        (
            time.parse().expect("a time"),
            found.parse().expect("a count"),
        )
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Its input ends with us, and so does it; killing it is for one that hangs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours(detector: &mut SsdDetector, pictures: &[Picture], rounds: u32) -> (f64, usize) {
    let clock = Monotonic::new();
    let mut detections = Vec::with_capacity(100);
    let (mut times, mut found) = (Vec::new(), 0);
    let mut heads = Outputs::new();
    for round in 0..rounds {
        for picture in pictures {
            heads.set(&picture.boxes, &picture.probabilities);
            let outputs = heads.views();
            let begun = clock.now();
            detector
                .detect(&outputs, 0, &mut detections)
                .expect("sound heads");
            times.push(clock.now().saturating_since(begun).as_nanos() as f64 / 1e3);
            if round == 0 {
                found += detections.len();
            }
        }
    }
    (median(&mut times), found)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn detector(mode: NmsMode, score_threshold: f32) -> SsdDetector {
    let settings = NmsSettings {
        score_threshold,
        iou_threshold: 0.6,
        max_detections: 100,
        detections_per_class: 100,
        max_classes_per_detection: 1,
    };
    let scales = BoxScales {
        y: 10.0,
        x: 10.0,
        h: 5.0,
        w: 5.0,
    };
    let activation = Activation::None;
    SsdDetector::new(mode, anchors(), scales, settings, activation, CLASSES, true)
        .expect("sound settings")
}

fn main() {
    let Ok(python) = std::env::var("DETBENCH_LITERT_PYTHON") else {
        println!("DETBENCH_LITERT_PYTHON names no interpreter with ai-edge-litert: skipped");
        return;
    };
    let pictures: Vec<Picture> = (1..=PICTURES as u64).map(picture).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let inputs = folder.path().join("heads.f32");
    let mut numbers: Vec<f32> = anchors().into_iter().flatten().collect();
    for picture in &pictures {
        numbers.extend(&picture.boxes);
        numbers.extend(&picture.probabilities);
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|one| one.to_le_bytes()).collect();
    std::fs::write(&inputs, bytes).expect("room for the heads");

    let mut peer = Peer::start(&python, &inputs);
    println!(
        "NMS      threshold  LiteRT us  ours us  ratio (lowest to highest turn)  asked  detections"
    );
    for (mode, threshold, rounds, asked) in CASES {
        let mut detector = detector(mode, threshold);
        let (mut theirs, mut own, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut found = (0, 0);
        for _ in 0..TURNS {
            let (their_us, their_found) = peer.turn(mode, threshold, rounds);
            let (our_us, our_found) = self::ours(&mut detector, &pictures, 20);
            theirs.push(their_us);
            own.push(our_us);
            ratios.push(their_us / our_us);
            found = (their_found, our_found);
        }
        let ratio = median(&mut ratios);
        println!(
            "{:<8} {threshold:<9} {:>10.1} {:>8.1}  {ratio:.1} ({:.1} to {:.1})  {asked}  {} and {}",
            mode.name(),
            median(&mut theirs),
            median(&mut own),
            ratios[0],
            ratios[TURNS - 1],
            found.0,
            found.1,
        );
    }
}
