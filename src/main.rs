//! The binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all, while there is one thread: it works through an environment variable.
    detbench::runtime::disable_telemetry();
    ExitCode::from(detbench::cli::main())
}
