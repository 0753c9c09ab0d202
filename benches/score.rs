//! Scoring 5 000 pictures with 100 detections each: reading both files, matching and the twelve numbers.
//!
//! The bench starts itself for each turn, so that peak memory is that of scoring alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use detbench::accuracy::{read_results, score, GroundTruth};
use detbench::clock::{Clock, Monotonic};

const PICTURES: i64 = 5_000;
const DETECTIONS: i64 = 100;
const TURNS: usize = 7;

/// Says in which folder the files of a turn are.
const TURN: &str = "DETBENCH_SCORE_TURN";

/// Marsaglia's xorshift64*.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: i64) -> i64 {
        (self.uniform() * limit as f64) as i64
    }
}

/// Eight objects a picture of some of 80 categories; most detections lie near an object, with its category or another.
fn write_files(folder: &Path) {
    let mut random = Random(7);
    let (mut images, mut annotations, mut found) = (String::new(), String::new(), String::new());
    for image in 1..=PICTURES {
        let comma = if image > 1 { "," } else { "" };
        let _ = write!(
            images,
            "{comma}{{\"id\":{image},\"width\":640,\"height\":480}}"
        );
        let base = random.below(80);
        let objects: Vec<([f64; 4], i64)> = (0..8)
            .map(|_| {
                let side = 20.0 + 300.0 * random.uniform().powi(2);
                let corner = [500.0 * random.uniform(), 350.0 * random.uniform()];
                let category = 1 + (base + random.below(4)) % 80;
                ([corner[0], corner[1], side, side * 0.8], category)
            })
            .collect();
        for (number, ([x, y, w, h], category)) in (0_i64..).zip(&objects) {
            let comma = if image == 1 && number == 0 { "" } else { "," };
            let id = image * 10 + number;
            let _ = write!(
                annotations,
                "{comma}{{\"id\":{id},\"image_id\":{image},\"category_id\":{category},\
                 \"bbox\":[{x:.2},{y:.2},{w:.2},{h:.2}],\"area\":{:.2},\"iscrowd\":0}}",
                w * h * 0.7
            );
        }
        for number in 0..DETECTIONS {
            let comma = if image == 1 && number == 0 { "" } else { "," };
            let ([x, y, w, h], category) = objects[random.below(8) as usize];
            let mut near = |edge: f64, size: f64| edge + (random.uniform() - 0.5) * 0.4 * size;
            let (x, y) = (near(x, w), near(y, h));
            let category = 1 + (category - 1 + random.below(6) / 4) % 80;
            let score = random.uniform().powi(3);
            let _ = write!(
                found,
                "{comma}{{\"image_id\":{image},\"category_id\":{category},\
                 \"bbox\":[{x:.2},{y:.2},{w:.2},{h:.2}],\"score\":{score:.5}}}"
            );
        }
    }
    let categories: Vec<String> = (1..=80)
        .map(|id| format!("{{\"id\":{id},\"name\":\"c{id}\"}}"))
        .collect();
    let categories = categories.join(",");
    let truth = format!(
        "{{\"images\":[{images}],\"annotations\":[{annotations}],\"categories\":[{categories}]}}"
    );
    std::fs::write(folder.join("gt.json"), truth).expect("room for the ground truth");
    std::fs::write(folder.join("dt.json"), format!("[{found}]")).expect("room for the detections");
}

/// Reads and scores; prints milliseconds of each part, peak kilobytes, and the mAP.
fn turn(folder: &Path) {
    let clock = Monotonic::new();
    let begun = clock.now();
    let truth = GroundTruth::read(&folder.join("gt.json")).expect("ground truth");
    let detections = read_results(&folder.join("dt.json")).expect("detections");
    let read = clock.now();
    let scores = score(&truth, &detections, None).expect("scores");
    let end = clock.now();
    let ms =
        |from, to: detbench::units::Timestamp| to.saturating_since(from).as_nanos() / 1_000_000;
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let peak = peak.trim().trim_end_matches(" kB");
    println!(
        "{} {} {peak} {}",
        ms(begun, read),
        ms(read, end),
        scores.stats[0]
    );
}

fn main() {
    if let Some(folder) = std::env::var_os(TURN) {
        return turn(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path());
    let own = std::env::current_exe().expect("this program");
    println!("reading ms  scoring ms  total ms  peak MiB  mAP");
    let mut totals = Vec::new();
    for _ in 0..TURNS {
        let output = Command::new(&own)
            .env(TURN, folder.path())
            .output()
            .expect("a turn");
        let line = String::from_utf8(output.stdout).expect("numbers");
        let numbers: Vec<f64> = line
            .split_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect();
        let [read, score, peak, map] = numbers[..] else {
            panic!("four numbers: {line}");
        };
        println!(
            "{read:>10} {score:>11} {:>9} {:>9.0}  {map:.4}",
            read + score,
            peak / 1024.0
        );
        totals.push(read + score);
    }
    totals.sort_by(f64::total_cmp);
    println!("best {} ms, median {} ms", totals[0], totals[TURNS / 2]);
}
