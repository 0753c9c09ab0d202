//! A child process that is waited for and interrupted, on real time.

use std::process::{Child, Command};
use std::time::Duration;

/// Ctrl-C.
pub fn interrupt(child: &Child) {
    let done = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(done.unwrap().success());
}

#[expect(clippy::disallowed_methods, reason = "another process needs real time")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Looks again and again, for a minute at most.
pub fn wait_until(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if is_there() {
            return;
        }
        pause(Duration::from_millis(50));
    }
    panic!("{what}: it never came");
}
