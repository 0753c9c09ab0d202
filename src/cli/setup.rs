//! `detbench setup`: fetches and verifies ONNX Runtime, the default model's files and pictures.
//!
//! `--check` only looks: it touches no network and writes nothing.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use thiserror::Error;

use crate::fetch::artefacts::{self, DEFAULT_MODEL, DEFAULT_PICTURES};
use crate::fetch::cache::sha256_of_file;
use crate::fetch::{Artefact, Cache, CacheState, FetchError, Progress, Silent};
use crate::runtime::{self, LibraryError, LocateError, Located, Runtime, Search, Source};

/// The version of the JSON document's form.
const SCHEMA_VERSION: u32 = 1;
/// Everything is there.
const EXIT_READY: u8 = 0;
/// The library that was named on the command line cannot be used.
const EXIT_USAGE: u8 = 2;
/// Something is missing.
const EXIT_MISSING: u8 = 3;

/// Fetch and verify ONNX Runtime, the default model and the default pictures
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SetupArgs {
    /// Only look: fetch nothing, write nothing; exit code 3 when something is missing
    #[arg(long)]
    pub check: bool,
    /// Use this ONNX Runtime library, or the one in this directory
    #[arg(long, value_name = "PATH")]
    pub ort_lib: Option<PathBuf>,
    /// Put one JSON document on stdout and nothing else
    #[arg(long)]
    pub json: bool,
}

/// What a run with defaults needs, ready on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The ONNX Runtime library.
    pub runtime: Located,
    /// The directory of the default model as published, `model.json` and its shards.
    pub model_files: PathBuf,
    /// The directory of the default pictures.
    pub pictures: PathBuf,
}

/// Why something cannot be had.
#[derive(Debug, Error)]
pub enum SetupError {
    /// No ONNX Runtime library.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// A library that does not load.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A download or the cache.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl SetupError {
    /// The exit code: 2 when a flag is to blame, else 3.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Locate(LocateError::Named {
                named_by: Source::Flag,
                ..
            }) => EXIT_USAGE,
            Self::Locate(_) | Self::Library(_) | Self::Fetch(_) => EXIT_MISSING,
        }
    }
}

/// Makes ready all that a run with defaults needs; what is there already is checked cheaply.
///
/// # Errors
/// [`SetupError`] for the first thing that cannot be had.
pub fn prepare(ort_lib: Option<&Path>, progress: &dyn Progress) -> Result<Prepared, SetupError> {
    let runtime = runtime::locate(ort_lib, progress)?;
    let cache = Cache::locate()?;
    let model_files = artefacts::default_model_files(&cache, progress)?;
    let pictures = artefacts::default_pictures(&cache, progress)?;
    Ok(Prepared {
        runtime,
        model_files,
        pictures,
    })
}

/// Runs the verb and gives its exit code: 0 when everything is there, 2 when the library named by
/// `--ort-lib` cannot be used, 3 when something is missing.
pub fn run(arguments: &SetupArgs) -> u8 {
    let search = Search::from_env(arguments.ort_lib.as_deref());
    let progress = progress_for(arguments.json);
    let report = survey(&search, (!arguments.check).then_some(&*progress));
    drop(progress);
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).expect("a report has string keys only")
    } else {
        table(&report)
    };
    match super::print_out(&format!("{text}\n")) {
        Ok(()) => report.exit_code(),
        Err(failure) => {
            super::print_err(&format!("error: {failure}"));
            failure.code()
        }
    }
}

/// What there is of everything, in the order in which a run needs it.
#[derive(Debug, Serialize)]
struct Report {
    schema_version: u32,
    ready: bool,
    cache_directory: Option<PathBuf>,
    components: Vec<Component>,
    #[serde(skip)]
    is_flag_to_blame: bool,
}

impl Report {
    const fn exit_code(&self) -> u8 {
        if self.ready {
            EXIT_READY
        } else if self.is_flag_to_blame {
            EXIT_USAGE
        } else {
            EXIT_MISSING
        }
    }
}

/// One thing that a run needs.
#[derive(Debug, Serialize)]
struct Component {
    name: &'static str,
    state: State,
    version: Option<String>,
    path: Option<PathBuf>,
    source: Option<String>,
    /// Whether the files are those that were pinned; absent for a library that is not ours.
    is_sha256_as_pinned: Option<bool>,
    /// Why it is not there, or what was passed over on the way.
    remark: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ready,
    Missing,
    Damaged,
}

impl Component {
    const fn new(name: &'static str, state: State) -> Self {
        Self {
            name,
            state,
            version: None,
            path: None,
            source: None,
            is_sha256_as_pinned: None,
            remark: None,
        }
    }
}

/// Looks at everything; with `progress`, fetches what is missing or damaged. One failure does not keep
/// the others from being tried.
fn survey(search: &Search, progress: Option<&dyn Progress>) -> Report {
    let (runtime, is_flag_to_blame) = runtime_component(search, progress);
    let components = vec![
        runtime,
        artefact_component(&DEFAULT_MODEL, search, progress),
        artefact_component(&DEFAULT_PICTURES, search, progress),
    ];
    Report {
        schema_version: SCHEMA_VERSION,
        ready: components
            .iter()
            .all(|component| component.state == State::Ready),
        cache_directory: search
            .cache
            .as_ref()
            .map(|cache| cache.root().to_path_buf()),
        components,
        is_flag_to_blame,
    }
}

/// ONNX Runtime, and whether `--ort-lib` is to blame for its absence.
fn runtime_component(search: &Search, progress: Option<&dyn Progress>) -> (Component, bool) {
    const NAME: &str = "ONNX Runtime";
    let located = match find_runtime(search, progress) {
        Ok(located) => located,
        Err(error) => {
            let is_flag_to_blame = error.exit_code() == EXIT_USAGE;
            let remark = Some(error.to_string());
            return (
                Component {
                    remark,
                    ..Component::new(NAME, State::Missing)
                },
                is_flag_to_blame,
            );
        }
    };
    let is_pinned = is_as_pinned(&located);
    let skipped: Vec<String> = located.skipped.iter().map(ToString::to_string).collect();
    let loaded = if is_pinned == Some(false) {
        Ok(())
    } else {
        Runtime::load(&located, false).map(drop)
    };
    let (state, remark) = match (&loaded, is_pinned) {
        (Err(error), _) => (State::Damaged, Some(error.to_string())),
        (Ok(()), Some(false)) => (
            State::Damaged,
            Some("its SHA-256 is not the pinned one".to_owned()),
        ),
        (Ok(()), _) => (
            State::Ready,
            (!skipped.is_empty()).then(|| skipped.join("; ")),
        ),
    };
    let is_flag_to_blame = loaded.is_err() && located.source == Source::Flag;
    let component = Component {
        version: located.version.clone(),
        source: Some(located.source.to_string()),
        path: Some(located.path),
        is_sha256_as_pinned: is_pinned,
        remark,
        ..Component::new(NAME, state)
    };
    (component, is_flag_to_blame)
}

/// The library; with `progress`, one from the cache that is not the pinned one is fetched anew.
fn find_runtime(search: &Search, progress: Option<&dyn Progress>) -> Result<Located, SetupError> {
    let Some(progress) = progress else {
        return Ok(search.find()?);
    };
    let located = search.find_or_fetch(progress)?;
    let Some(cache) = search
        .cache
        .as_ref()
        .filter(|_| is_as_pinned(&located) == Some(false))
    else {
        return Ok(located);
    };
    for artefact in [artefacts::onnx_runtime()?, artefacts::onnx_runtime_npm()?] {
        if located.path.starts_with(cache.directory(artefact)) {
            cache.discard(artefact)?;
        }
    }
    Ok(search.find_or_fetch(progress)?)
}

/// Whether a library has its pinned sum; `None` when nothing is pinned for it.
fn is_as_pinned(located: &Located) -> Option<bool> {
    let pinned = located.sha256?;
    Some(sha256_of_file(&located.path).is_ok_and(|found| found == pinned))
}

fn artefact_component(
    artefact: &Artefact,
    search: &Search,
    progress: Option<&dyn Progress>,
) -> Component {
    let Some(cache) = &search.cache else {
        let remark = Some(FetchError::NoCacheDirectory.to_string());
        return Component {
            remark,
            ..Component::new(artefact.name, State::Missing)
        };
    };
    let mut state = cache.state_in_full(artefact);
    let mut failure = None;
    if let (Some(progress), true) = (progress, state != CacheState::Complete) {
        let fetched = cache
            .discard(artefact)
            .and_then(|()| artefact.obtain(cache, &search.clients, progress));
        failure = fetched.err().map(|error| error.to_string());
        state = cache.state_in_full(artefact);
    }
    let (state, remark) = match state {
        CacheState::Complete => (State::Ready, None),
        CacheState::Missing => (State::Missing, Some("not fetched yet".to_owned())),
        CacheState::Damaged { file } => (
            State::Damaged,
            Some(format!("{} is not the pinned file", file.display())),
        ),
    };
    Component {
        version: Some(artefact.version.to_owned()),
        source: Some(artefact.package().to_owned()),
        path: (state != State::Missing).then(|| cache.directory(artefact)),
        is_sha256_as_pinned: (state != State::Missing).then_some(state == State::Ready),
        remark: failure.or(remark),
        ..Component::new(artefact.name, state)
    }
}

fn table(report: &Report) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["", "state", "version", "sha256", "path"]);
    for component in &report.components {
        let state = match component.state {
            State::Ready => "ready",
            State::Missing => "MISSING",
            State::Damaged => "DAMAGED",
        };
        let sum = match component.is_sha256_as_pinned {
            Some(true) => "as pinned",
            Some(false) => "DIFFERS",
            None => "-",
        };
        let path = component
            .path
            .as_ref()
            .map(|path| path.display().to_string());
        table.add_row([
            component.name,
            state,
            component.version.as_deref().unwrap_or("-"),
            sum,
            path.as_deref().unwrap_or("-"),
        ]);
    }
    let remarks: String = report
        .components
        .iter()
        .filter(|component| component.state != State::Ready)
        .filter_map(|component| {
            Some(format!(
                "\n{}: {}",
                component.name,
                component.remark.as_ref()?
            ))
        })
        .collect();
    format!("{table}{remarks}")
}

/// How far a fetch is: a bar on a terminal, plain lines on stderr otherwise, nothing when quiet.
pub fn progress_for(is_quiet: bool) -> Box<dyn Progress> {
    if is_quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar {
            bar: RefCell::new(None),
        })
    } else {
        Box::new(Lines)
    }
}

/// A line per stage.
struct Lines;

impl Progress for Lines {
    fn stage(&self, text: &str) {
        super::print_err(text);
    }
    fn bytes(&self, _done: u64, _total: u64) {}
}

/// A spinner that becomes a bar once sizes are known.
struct Bar {
    bar: RefCell<Option<ProgressBar>>,
}

impl Bar {
    const SPINNER: &'static str = "{spinner} {msg} {elapsed}";
    const BYTES: &'static str = "{spinner} {msg} [{bar:24}] {bytes}/{total_bytes} {elapsed}";
    const TICK: Duration = Duration::from_millis(120);

    fn style(template: &str) -> ProgressStyle {
        ProgressStyle::with_template(template).expect("the template is well formed")
    }
}

impl Progress for Bar {
    fn stage(&self, text: &str) {
        let bar = ProgressBar::new_spinner().with_style(Self::style(Self::SPINNER));
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Self::TICK);
        if let Some(previous) = self.bar.borrow_mut().replace(bar) {
            previous.finish_and_clear();
        }
    }

    fn bytes(&self, done: u64, total: u64) {
        if let Some(bar) = &*self.bar.borrow() {
            if bar.length() != Some(total) {
                bar.set_length(total);
                bar.set_style(Self::style(Self::BYTES));
            }
            bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Clients;

    /// A machine with a cache directory and nothing else.
    fn bare(home: &Path) -> Search {
        Search {
            cache: Some(Cache::at(home.join("cache"))),
            clients: Clients::on_path(home.join("bin")),
            ..Search::default()
        }
    }

    #[test]
    fn a_check_of_a_bare_machine_says_what_is_missing_and_writes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let report = survey(&bare(home.path()), None);
        assert_eq!(report.exit_code(), 3);
        assert!(report
            .components
            .iter()
            .all(|component| component.state == State::Missing));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        let text = table(&report);
        for word in [
            "ONNX Runtime",
            "default model",
            "default pictures",
            "MISSING",
            "not fetched yet",
        ] {
            assert!(text.contains(word), "{word} not in: {text}");
        }
    }

    #[test]
    fn a_setup_without_clients_tries_everything_and_says_why_each_failed() {
        let home = tempfile::tempdir().unwrap();
        let report = survey(&bare(home.path()), Some(&Silent));
        let remarks: Vec<&str> = report
            .components
            .iter()
            .filter_map(|component| component.remark.as_deref())
            .collect();
        assert_eq!(report.exit_code(), 3);
        for (remark, word) in remarks
            .iter()
            .zip(["onnxruntime==", "coco-ssd@", "scikit-image=="])
        {
            assert!(remark.contains(word), "{word} not in: {remark}");
        }
        assert_eq!(remarks.len(), 3);
    }

    #[test]
    fn a_flag_that_names_no_library_is_wrong_usage() {
        let home = tempfile::tempdir().unwrap();
        for (source, code) in [(Source::Flag, 2), (Source::LibraryVariable, 3)] {
            let named = Some((source, home.path().join("absent.so")));
            let report = survey(
                &Search {
                    named,
                    ..bare(home.path())
                },
                None,
            );
            assert_eq!(report.exit_code(), code);
        }
    }

    #[test]
    fn the_json_document_names_every_component_and_its_state() {
        let home = tempfile::tempdir().unwrap();
        let report = survey(&bare(home.path()), None);
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["ready"], false);
        assert_eq!(document["components"][1]["name"], "default model");
        assert_eq!(document["components"][1]["state"], "missing");
        assert!(document["components"][1]["path"].is_null());
    }
}
