//! ONNX Runtime's telemetry, off.
//!
//! Official builds from 1.29 on start a background thread and write a small database below the
//! user's cache directory unless an environment variable forbids it *before* the environment is
//! created; the call in the API alone does not stop the thread. A benchmark must not run a stranger's thread.

/// The variable that ONNX Runtime reads.
const SWITCH: &str = "ORT_DISABLE_TELEMETRY";

/// Forbids ONNX Runtime's telemetry for this process and its children.
///
/// Call it as the first act of `main`, before any thread exists: the C library may read the
/// environment in another thread at any time, and changing it then is a race.
pub fn disable_telemetry() {
    std::env::set_var(SWITCH, "1");
}

/// The same for a program that forgot: late, but before the environment is created.
pub(super) fn ensure_disabled() {
    if std::env::var_os(SWITCH).is_none() {
        disable_telemetry();
    }
}
