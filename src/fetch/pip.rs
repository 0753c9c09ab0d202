//! Wheels of the Python package index, by pip or uv.
//!
//! pip downloads the wheel and we unpack the wanted members. uv has no download command; it unpacks
//! the wheel itself into a directory that we name. Either way each member's sum is checked by
//! the cache, the wheel's own sum too where there is a wheel.

use std::fs;
use std::path::{Path, PathBuf};

use super::client::{self, command_line, Clients, Watched};
use super::{unpack, FetchError, PinnedFile, Progress};

/// A wheel, pinned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wheel {
    /// `name==version`.
    pub requirement: &'static str,
    /// The Python version whose wheel is pinned; any would do.
    pub python_version: &'static str,
    /// The wheel's platform tag.
    pub platform: &'static str,
    /// uv's word for the same platform.
    pub uv_platform: &'static str,
    /// The wheel's length, for the progress bar.
    pub size_bytes: u64,
    /// The wheel's SHA-256.
    pub sha256: &'static str,
}

/// The ways to call pip, in order of preference.
const PIPS: [&[&str]; 4] = [
    &["pip"],
    &["pip3"],
    &["python3", "-m", "pip"],
    &["python", "-m", "pip"],
];

/// Fetches `wheel` and puts `files` into `target`; `staging` is scratch space.
///
/// The first pip that works is asked; when it is missing or fails, uv.
///
/// # Errors
/// [`FetchError::NoClient`], [`FetchError::ClientFailed`] (pip's reason when both failed), or what
/// unpacking says.
pub(super) fn fetch(
    wheel: &Wheel,
    files: &[PinnedFile],
    clients: &Clients,
    staging: &Path,
    target: &Path,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    let refusal = match download(wheel, clients, staging, progress) {
        Ok(archive) => return unpack::unzip(&archive, files, target),
        Err(error @ (FetchError::NoClient { .. } | FetchError::ClientFailed { .. })) => error,
        // A wrong sum is no reason to ask another client for the same file.
        Err(error) => return Err(error),
    };
    if !clients.works(&["uv", "--version"]) {
        return Err(refusal);
    }
    match (
        install_by_uv(wheel, files, clients, staging, target, progress),
        refusal,
    ) {
        (Err(FetchError::ClientFailed { .. }), by_pip @ FetchError::ClientFailed { .. }) => {
            Err(by_pip)
        }
        (outcome, _) => outcome,
    }
}

/// Downloads `wheel` into `staging` with the first pip that works, and verifies it.
///
/// # Errors
/// [`FetchError::NoClient`], [`FetchError::ClientFailed`], [`FetchError::WrongSum`].
pub(super) fn download(
    wheel: &Wheel,
    clients: &Clients,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, FetchError> {
    let pip = PIPS
        .iter()
        .find(|words| clients.works(&[words, &["--version"][..]].concat()));
    let Some(pip) = pip else {
        return Err(FetchError::NoClient {
            what: wheel.requirement.to_owned(),
            tried: PIPS
                .iter()
                .map(|words| words.join(" "))
                .chain(["uv".to_owned()])
                .collect(),
            remedy: "Python with pip (Debian: apt install python3-pip)",
        });
    };
    progress.stage(&format!(
        "downloading {} with {}",
        wheel.requirement,
        pip.join(" ")
    ));
    let words = [
        pip,
        &["download", "--no-deps", "--only-binary=:all:", "--no-input"][..],
    ]
    .concat();
    let mut command = clients.command(&words);
    command
        .args([
            "--progress-bar",
            "off",
            "--disable-pip-version-check",
            "--implementation",
            "cp",
        ])
        .args([
            "--python-version",
            wheel.python_version,
            "--platform",
            wheel.platform,
        ])
        .args(["--dest", "wheels", wheel.requirement]);
    let line = command_line(&command);
    let watched = Watched {
        progress,
        total: wheel.size_bytes,
    };
    client::run(command, wheel.requirement, staging, Some(&watched))?;
    let archive =
        only_file(&staging.join("wheels"), "whl").ok_or_else(|| FetchError::NothingDelivered {
            command: line,
            expected: "wheel".to_owned(),
        })?;
    unpack::verify_archive(&archive, wheel.requirement, wheel.sha256)?;
    Ok(archive)
}

/// uv needs a Python to think for, but none is downloaded for it.
fn install_by_uv(
    wheel: &Wheel,
    files: &[PinnedFile],
    clients: &Clients,
    staging: &Path,
    target: &Path,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    progress.stage(&format!("downloading {} with uv", wheel.requirement));
    let mut command = clients.command(&[
        "uv",
        "pip",
        "install",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]);
    command
        .args([
            "--no-python-downloads",
            "--python-version",
            wheel.python_version,
        ])
        .args([
            "--python-platform",
            wheel.uv_platform,
            "--target",
            "unpacked",
            wheel.requirement,
        ]);
    let line = command_line(&command);
    client::run(command, wheel.requirement, staging, None)?;
    for file in files {
        let unpacked = staging.join("unpacked").join(file.member);
        if !unpacked.is_file() {
            return Err(FetchError::NothingDelivered {
                command: line,
                expected: file.member.to_owned(),
            });
        }
        // A copy: uv may have made a link into its own cache, which is not ours to hand on.
        fs::copy(&unpacked, target.join(file.name))
            .map_err(|source| FetchError::access("copy", &unpacked, source))?;
    }
    Ok(())
}

/// The only file in `directory` with this extension.
pub(super) fn only_file(directory: &Path, extension: &str) -> Option<PathBuf> {
    let mut found = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == extension));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
