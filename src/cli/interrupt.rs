//! Ctrl-C: the first asks the run to end and keep what it has, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C (and SIGTERM); the drive loop and the stages between runs look at it.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether somebody asked to stop.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Installs the handler; without one, Ctrl-C simply ends the process.
pub fn install() {
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        super::print_err("\ninterrupted: keeping what was measured (again to quit at once)");
    });
}
