//! Runs the package registries' clients: captured output, no input, no prompts.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::{FetchError, Progress};

/// How often a download's growth is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Where the clients are looked for.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    /// The search path for them and their children; `None` for this process's own `PATH`.
    search_path: Option<OsString>,
}

/// A download that can be watched: bytes below `directory`, of `total`.
pub(super) struct Watched<'a> {
    pub progress: &'a dyn Progress,
    pub total: u64,
}

impl Clients {
    /// The clients on this process's `PATH`.
    pub fn from_env() -> Self {
        Self::default()
    }

    /// The clients on `search_path`, a list in the form of `PATH`.
    pub fn on_path(search_path: impl Into<OsString>) -> Self {
        Self {
            search_path: Some(search_path.into()),
        }
    }

    /// A command for `words`, program first, that reads nothing and asks nothing.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        if let Some(path) = &self.search_path {
            command.env("PATH", path);
        }
        command
    }

    /// Whether `words` runs and ends well, silently: `["pip", "--version"]`.
    pub(super) fn works(&self, words: &[&str]) -> bool {
        self.command(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Runs `command` to its end in `directory`, which also becomes its temporary directory so that a
/// killed client leaves nothing elsewhere.
///
/// # Errors
/// [`FetchError::ClientFailed`] with the last meaningful line of what it printed.
pub(super) fn run(
    mut command: Command,
    what: &str,
    directory: &Path,
    watched: Option<&Watched<'_>>,
) -> Result<(), FetchError> {
    let printed = directory.join("client.output");
    let output =
        File::create(&printed).map_err(|source| FetchError::access("write", &printed, source))?;
    let errors = output
        .try_clone()
        .map_err(|source| FetchError::access("write", &printed, source))?;
    command
        .current_dir(directory)
        .env("TMPDIR", directory)
        .stdout(output)
        .stderr(errors);
    let reason = match wait(&mut command, directory, watched) {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => {
            let text =
                String::from_utf8_lossy(&fs::read(&printed).unwrap_or_default()).into_owned();
            meaningful_line(&text).map_or_else(|| status.to_string(), ToOwned::to_owned)
        }
        Err(error) => error.to_string(),
    };
    Err(FetchError::ClientFailed {
        what: what.to_owned(),
        command: command_line(&command),
        reason,
    })
}

/// Waits for the child in a thread of its own, so that the caller can look at the directory meanwhile.
fn wait(
    command: &mut Command,
    directory: &Path,
    watched: Option<&Watched<'_>>,
) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let Some(watched) = watched else {
        return child.wait();
    };
    let (ended, end) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The receiver outlives this thread: it leaves the loop on this message only.
            let _ = ended.send(child.wait());
        });
        loop {
            match end.recv_timeout(WATCH_INTERVAL) {
                Ok(status) => return status,
                Err(RecvTimeoutError::Timeout) => {
                    watched
                        .progress
                        .bytes(size_below(directory).min(watched.total), watched.total);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(std::io::Error::other("the client could not be waited for"));
                }
            }
        }
    })
}

/// The length of the largest file below `directory`: the archive that is growing.
fn size_below(directory: &Path) -> u64 {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some(if meta.is_dir() {
                size_below(&entry.path())
            } else {
                meta.len()
            })
        })
        .max()
        .unwrap_or(0)
}

/// The command as a person would type it.
pub(super) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The line of a client's output that says why it failed.
///
/// npm puts the reason first and advice after it; pip and uv put the reason last.
fn meaningful_line(output: &str) -> Option<&str> {
    const NPM_PREFIXES: [&str; 2] = ["npm error ", "npm ERR! "];
    // These say where, or repeat the kind of error, but not what went wrong.
    const NPM_LABELS: [&str; 6] = [
        "code ",
        "syscall ",
        "errno ",
        "address ",
        "path ",
        "A complete log",
    ];
    let mut lines = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let npm = lines.clone().find_map(|line| {
        let text = NPM_PREFIXES
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix))?
            .trim();
        let is_label = NPM_LABELS.iter().any(|label| text.starts_with(label));
        (!is_label && !text.is_empty()).then_some(text)
    });
    let marked = || {
        lines.clone().rev().find_map(|line| {
            line.strip_prefix("ERROR: ")
                .or_else(|| line.strip_prefix("error: "))
        })
    };
    npm.or_else(marked).or_else(|| {
        lines.rfind(|line| !line.starts_with("[notice]") && !line.starts_with("WARNING"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meaningful_line_is_the_reason_and_not_the_advice() {
        let pip = "Looking in links: x\nERROR: Could not find a version\nERROR: No matching distribution found for hello==1.0\n\n[notice] A new release of pip is available\n";
        assert_eq!(
            meaningful_line(pip),
            Some("No matching distribution found for hello==1.0")
        );
        let npm = "npm warn Unknown user config\nnpm error code ETARGET\nnpm error notarget No matching version found for hello@1.0.\nnpm error notarget In most cases you are asking for a version that does not exist.\nnpm error A complete log of this run can be found in: x\n";
        assert_eq!(
            meaningful_line(npm),
            Some("notarget No matching version found for hello@1.0.")
        );
        let network = "npm ERR! code ENOTFOUND\nnpm ERR! syscall getaddrinfo\nnpm ERR! errno ENOTFOUND\nnpm ERR! network request failed, reason: getaddrinfo ENOTFOUND\nnpm ERR! network This is a problem related to network connectivity.\n";
        assert_eq!(
            meaningful_line(network),
            Some("network request failed, reason: getaddrinfo ENOTFOUND")
        );
        assert_eq!(
            meaningful_line("sh: 1: pip: broken\n"),
            Some("sh: 1: pip: broken")
        );
        assert_eq!(meaningful_line(" \n"), None);
    }
}
