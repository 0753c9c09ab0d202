//! What a run is for: detbench's own order, or one of LoadGen's test modes.
//!
//! Without a mode, every scenario is measured and then all pictures are scored once. A mode, from
//! `--mode` or a configuration file, makes each scenario one LoadGen test: one set of logs, with
//! sample numbers that go on from accuracy to performance.

use super::args::RunArgs;
use crate::cli::failure::Failure;
use crate::scenario::TestMode;

/// A mode and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    mode: TestMode,
    /// For people: `--mode AccuracyOnly`, or the mode of which file.
    source: String,
}

/// The mode of one scenario's test, or `None` for detbench's own order. The audit file's wins over
/// the flag, and that over the other files'.
///
/// # Errors
/// When `--benchmark-only` or `--accuracy-only` asks for something else.
pub fn decide(
    args: &RunArgs,
    of_files: Option<TestMode>,
    of_audit: Option<TestMode>,
) -> Result<Option<TestMode>, Failure> {
    let wish = |mode: Option<TestMode>, source: &str| {
        mode.map(|mode| Wish {
            mode,
            source: format!("{source} {mode}"),
        })
    };
    let wish = wish(of_audit, "the audit file's mode")
        .or(wish(args.mode, "--mode"))
        .or(wish(of_files, "the configuration file's mode"));
    let Some(wish) = wish else { return Ok(None) };
    let excluded = |flag: &str| {
        Err(Failure::usage(format!(
            "{flag} and {} exclude each other: leave one of them out",
            wish.source
        )))
    };
    match wish.mode {
        TestMode::AccuracyOnly | TestMode::SubmissionRun if args.benchmark_only => {
            excluded("--benchmark-only")
        }
        TestMode::SubmissionRun | TestMode::PerformanceOnly | TestMode::FindPeakPerformance
            if args.accuracy_only =>
        {
            excluded("--accuracy-only")
        }
        mode => Ok(Some(mode)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    fn decided(
        flags: &str,
        of_files: Option<TestMode>,
        of_audit: Option<TestMode>,
    ) -> Result<Option<TestMode>, String> {
        let words = std::iter::once("x").chain(flags.split_whitespace());
        let args = Cli::try_parse_from(words).expect("flags").run;
        decide(&args, of_files, of_audit).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_audit_file_wins_over_the_flag_and_the_flag_over_other_files() {
        use TestMode::{AccuracyOnly, PerformanceOnly, SubmissionRun};
        assert_eq!(decided("", None, None), Ok(None));
        let of_files = Some(AccuracyOnly);
        assert_eq!(decided("", of_files, None), Ok(of_files));
        let flag = "--mode SubmissionRun";
        assert_eq!(decided(flag, of_files, None), Ok(Some(SubmissionRun)));
        let of_audit = Some(PerformanceOnly);
        assert_eq!(decided(flag, of_files, of_audit), Ok(of_audit));
    }

    #[test]
    fn a_mode_that_contradicts_a_flag_is_refused_in_one_sentence() {
        for (flags, expected) in [
            (
                "--mode AccuracyOnly --benchmark-only",
                "--benchmark-only and --mode AccuracyOnly",
            ),
            (
                "--mode SubmissionRun --benchmark-only",
                "exclude each other",
            ),
            ("--mode SubmissionRun --accuracy-only", "exclude each other"),
            (
                "--mode PerformanceOnly --accuracy-only",
                "--accuracy-only and --mode PerformanceOnly",
            ),
            (
                "--mode FindPeakPerformance --accuracy-only",
                "--accuracy-only and --mode FindPeakPerformance",
            ),
        ] {
            let refused = decided(flags, None, None).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let by_audit = decided("--accuracy-only", None, Some(TestMode::PerformanceOnly));
        assert!(by_audit
            .unwrap_err()
            .contains("the audit file's mode PerformanceOnly"));
        for flags in [
            "--mode PerformanceOnly --benchmark-only",
            "--mode AccuracyOnly --accuracy-only",
        ] {
            assert!(decided(flags, None, None).is_ok(), "{flags}");
        }
    }
}
