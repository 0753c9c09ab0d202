//! The layers of the crate, held as a test: who may import whom, who may touch the world, how
//! long a file may grow, and that the documentation says what is so.
//!
//! Each rule is a table or a small function over source text, so that it is itself tested on a
//! few lines that break it.

mod docs;
mod rules;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{modules, named_paths, tokens, Source};

/// Which of our modules each module may import outside its tests. `docs/architecture.md` shows
/// the same table. An entry that nobody uses has to go: the table is what is, not what might be.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("accuracy", &["postprocess"]),
    ("annotate", &["library"]),
    (
        "cli",
        &[
            "accuracy",
            "annotate",
            "clock",
            "dataset",
            "drive",
            "fetch",
            "issue",
            "laboratory",
            "library",
            "metrics",
            "model",
            "npz",
            "peak",
            "placement",
            "plan",
            "postprocess",
            "quantise",
            "record",
            "report",
            "runtime",
            "scenario",
            "settings",
            "strict_toml",
            "summary",
            "sut",
            "tensor",
            "tune",
            "units",
        ],
    ),
    ("clock", &["units"]),
    ("dataset", &["accuracy", "library", "model"]),
    (
        "drive",
        &[
            "clock", "issue", "plan", "record", "scenario", "sut", "units",
        ],
    ),
    ("fetch", &[]),
    ("issue", &["plan", "scenario", "units"]),
    (
        "laboratory",
        &[
            "accuracy",
            "clock",
            "model",
            "npz",
            "postprocess",
            "schedule",
            "strict_toml",
            "tensor",
        ],
    ),
    ("lib", &[]),
    ("library", &["tensor", "units"]),
    ("main", &["cli", "runtime"]),
    ("metrics", &["units"]),
    ("model", &["library", "postprocess", "strict_toml"]),
    ("npz", &["tensor"]),
    ("peak", &["metrics", "record", "units"]),
    ("placement", &["scenario", "strict_toml"]),
    ("plan", &["scenario", "schedule", "settings", "units"]),
    ("postprocess", &["tensor"]),
    (
        "quantise",
        &["library", "model", "runtime", "strict_toml", "tensor"],
    ),
    ("record", &["issue", "units"]),
    (
        "report",
        &[
            "drive",
            "issue",
            "metrics",
            "peak",
            "plan",
            "postprocess",
            "record",
            "scenario",
            "settings",
            "summary",
            "units",
        ],
    ),
    ("runtime", &["fetch", "tensor"]),
    ("scenario", &[]),
    ("schedule", &["units"]),
    (
        "settings",
        &["scenario", "schedule", "strict_toml", "units"],
    ),
    ("strict_toml", &[]),
    (
        "summary",
        &[
            "drive", "issue", "metrics", "plan", "record", "scenario", "units",
        ],
    ),
    (
        "sut",
        &[
            "clock",
            "library",
            "placement",
            "postprocess",
            "record",
            "runtime",
            "tensor",
            "units",
        ],
    ),
    ("tensor", &[]),
    (
        "tune",
        &[
            "clock",
            "laboratory",
            "quantise",
            "schedule",
            "strict_toml",
            "units",
        ],
    ),
    ("units", &[]),
];

/// Something of the outside world and the modules that may name it.
struct Privilege {
    /// A path, or its beginning up to a `::`; a macro with its `!`.
    names: &'static [&'static str],
    only: &'static [&'static str],
    rule: &'static str,
}

const PRIVILEGES: &[Privilege] = &[
    Privilege {
        names: &["ort"],
        only: &["runtime"],
        rule: "only `runtime` names ONNX Runtime's crate",
    },
    Privilege {
        names: &["println!", "print!"],
        only: &[],
        rule: "stdout is written by `cli::print_out`, which survives a closed pipe",
    },
    Privilege {
        names: &["eprintln!", "eprint!", "dbg!"],
        only: &[],
        rule: "stderr is written by `cli::print_err`, which survives a closed pipe",
    },
    Privilege {
        names: &[
            "std::io::stdout",
            "std::io::stderr",
            "io::stdout",
            "io::stderr",
            "std::io::Stdout",
            "std::io::Stderr",
        ],
        only: &["cli", "report"],
        rule: "only `report` and `cli` print; others return values or call back",
    },
    Privilege {
        names: &[
            "std::time::Instant",
            "Instant::now",
            "std::thread::sleep",
            "thread::sleep",
        ],
        only: &["clock"],
        rule: "only `clock` tells time or sleeps; ask the run's `Clock`",
    },
    Privilege {
        names: &["SystemTime::now", "std::time::SystemTime::now"],
        only: &["cli"],
        rule: "the date comes from `cli`, as a value",
    },
    Privilege {
        names: &["anyhow"],
        only: &["main"],
        rule: "`anyhow` is for the binary; the library has typed errors",
    },
    Privilege {
        names: &["clap", "clap_complete", "indicatif", "comfy_table", "ctrlc"],
        only: &["cli", "report"],
        rule: "only `cli` and `report` talk to the terminal",
    },
];

/// Files that use what they may not, today; the entry goes with the use.
const DEBTS: &[(&str, &str)] = &[];

/// Modules that are functions of their input: the same in, the same out.
const PURE: &[&str] = &[
    "issue",
    "metrics",
    "peak",
    "plan",
    "postprocess",
    "record",
    "scenario",
    "schedule",
    "summary",
    "tensor",
    "units",
];

/// What a pure module cannot name.
const WORLD: &[&str] = &[
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "crossbeam",
    "rayon",
    "nix",
    "core_affinity",
    "tempfile",
];

/// Where a pure module names something of [`WORLD`] all the same, with the reason.
const PURE_BUT: &[(&str, &str, &str)] = &[(
    "metrics",
    "std::time::SystemTime",
    "a HdrHistogram log states the date on which it begins; the caller gives it",
)];

/// No file grows beyond this without a second look.
const LINES_MAX: usize = 700;

/// Files that are longer today. They may shrink, and then their entry goes; they may not grow.
const LONG_FILES: &[(&str, usize)] = &[("src/model/tfjs/tests.rs", 750)];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = [
    "utils", "util", "common", "misc", "manager", "helpers", "helper",
];

/// A rule that is broken: where and which.
fn violation(path: &Path, line: usize, rule: &str) -> String {
    format!("{}:{line}: {rule}", path.display())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The top-level module that a path of ours leads to; `None` when it stays within its own.
fn imported_module(named: &source::Named, depth: usize) -> Option<&str> {
    let segments: Vec<_> = named.path.split("::").collect();
    if segments[0] == "crate" || segments[0] == "detbench" {
        return segments.get(1).copied();
    }
    let climbed = segments.iter().take_while(|&&s| s == "super").count();
    let reaches_root = climbed > 0 && climbed == depth + named.inline_depth;
    if reaches_root {
        segments.get(climbed).copied()
    } else {
        None
    }
}

/// Other modules of ours that a file imports, each with its line; once for each line.
fn imports(source: &Source) -> Vec<(String, usize)> {
    let mut found: Vec<_> = named_paths(&source.code)
        .iter()
        .filter_map(|named| Some((imported_module(named, source.depth)?.to_owned(), named.line)))
        .filter(|(to, _)| *to != source.module)
        .collect();
    found.dedup();
    found
}

fn allowed<'a>(table: &'a [(&str, &[&str])], module: &str) -> Option<&'a [&'a str]> {
    table
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, may)| *may)
}

fn direction_violations(sources: &[Source], table: &[(&str, &[&str])]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let Some(may) = allowed(table, &source.module) else {
            let rule = format!("`{}` is not in the table of layers", source.module);
            found.push(violation(&source.path, 1, &rule));
            continue;
        };
        for (to, line) in imports(source) {
            if !may.contains(&to.as_str()) {
                let rule = format!(
                    "`{}` may not import `{to}`, only {}",
                    source.module,
                    if may.is_empty() {
                        "nothing of ours".to_owned()
                    } else {
                        may.join(", ")
                    }
                );
                found.push(violation(&source.path, line, &rule));
            }
        }
    }
    found
}

/// Entries that no import uses, and modules that do not exist.
fn unused_entries(sources: &[Source], table: &[(&str, &[&str])]) -> Vec<String> {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let to = imports(source).into_iter().map(|(to, _)| to);
        used.entry(&source.module).or_default().extend(to);
    }
    let mut found = Vec::new();
    for (module, may) in table {
        let Some(used) = used.get(module) else {
            found.push(format!("`{module}` is in the table but not in src/"));
            continue;
        };
        for to in may.iter().filter(|to| !used.contains(**to)) {
            found.push(format!(
                "`{module}` imports `{to}` no more: strike it from the table"
            ));
        }
    }
    found
}

fn begins_with_path(path: &str, beginning: &str) -> bool {
    path.strip_prefix(beginning)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Macros that code calls, as `name!`, each with its line.
fn macros(code: &str) -> Vec<(String, usize)> {
    tokens(code)
        .windows(2)
        .filter(|two| two[1].0 == "!")
        .map(|two| (format!("{}!", two[0].0), two[0].1))
        .collect()
}

fn privilege_violations(sources: &[Source], debts: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut owed: BTreeSet<_> = debts.iter().collect();
    for source in sources.iter().filter(|source| !source.is_test) {
        let mut names: Vec<_> = named_paths(&source.code)
            .into_iter()
            .map(|named| (named.path, named.line))
            .collect();
        names.extend(macros(&source.code));
        for (name, line) in names {
            for privilege in PRIVILEGES {
                let is_named = privilege
                    .names
                    .iter()
                    .any(|beginning| begins_with_path(&name, beginning));
                let debt = debts.iter().find(|(path, what)| {
                    source.path == Path::new(path) && privilege.names.contains(what)
                });
                if !is_named || privilege.only.contains(&source.module.as_str()) {
                    continue;
                }
                if let Some(debt) = debt {
                    owed.remove(debt);
                } else {
                    let rule = format!("{} (`{name}`)", privilege.rule);
                    found.push(violation(&source.path, line, &rule));
                }
            }
        }
    }
    for (path, what) in owed {
        found.push(format!(
            "{path} uses `{what}` no more: strike it from DEBTS"
        ));
    }
    found
}

fn purity_violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        if !PURE.contains(&source.module.as_str()) {
            continue;
        }
        for named in named_paths(&source.code) {
            let excused = PURE_BUT.iter().any(|(module, name, _)| {
                *module == source.module && begins_with_path(&named.path, name)
            });
            let of_the_world = WORLD
                .iter()
                .any(|beginning| begins_with_path(&named.path, beginning));
            if of_the_world && !excused {
                let rule = format!(
                    "`{}` is pure: it knows no thread, clock or file (`{}`)",
                    source.module, named.path
                );
                found.push(violation(&source.path, named.line, &rule));
            }
        }
    }
    found
}

/// Words of house rules that need no context.
fn word_violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (name, line) in macros(&source.code) {
            if name == "todo!" || name == "unimplemented!" {
                found.push(violation(
                    &source.path,
                    line,
                    "nothing is left for later in code",
                ));
            }
        }
        let words: Vec<_> = tokens(&source.code);
        for three in words.windows(3) {
            if three[0].0 == "[" && three[1].0 == "path" && three[2].0 == "=" {
                let rule = "a module lies where its name says, without `#[path]`";
                found.push(violation(&source.path, three[1].1, rule));
            }
            if three[0].0 == "." && three[1].0 == "unwrap" && three[2].0 == "(" && !source.is_test {
                let rule = "outside tests say `expect(\"why it cannot fail\")`";
                found.push(violation(&source.path, three[1].1, rule));
            }
        }
        let stem = source.path.file_stem().and_then(|stem| stem.to_str());
        if EMPTY_NAMES.contains(&stem.unwrap_or_default()) {
            found.push(violation(&source.path, 1, "name a file after what it does"));
        }
    }
    found
}

fn length_violations(sources: &[Source], long: &[(&str, usize)]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let name = source.path.to_string_lossy().replace('\\', "/");
        let excused = long.iter().find(|(path, _)| *path == name);
        let limit = excused.map_or(LINES_MAX, |(_, limit)| *limit);
        if source.line_count > limit {
            let rule = format!("{} lines, at most {limit}", source.line_count);
            found.push(violation(&source.path, source.line_count, &rule));
        } else if excused.is_some() && source.line_count <= LINES_MAX {
            found.push(violation(
                &source.path,
                1,
                "short again: strike it from LONG_FILES",
            ));
        }
    }
    for (path, _) in long {
        let is_there = sources.iter().any(|s| s.path == Path::new(path));
        if !is_there {
            found.push(format!("{path} is in LONG_FILES but not in src/"));
        }
    }
    found
}

fn rust_files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path);
        }
    }
}

#[test]
fn every_import_goes_in_an_allowed_direction() {
    assert_none(&direction_violations(&modules(root()), MAY_IMPORT));
}

#[test]
fn the_table_of_layers_lists_what_is_imported_and_no_more() {
    assert_none(&unused_entries(&modules(root()), MAY_IMPORT));
}

#[test]
fn the_table_of_layers_is_sorted_and_nothing_depends_on_the_command_line() {
    assert!(MAY_IMPORT.is_sorted_by(|a, b| a.0 < b.0));
    for (module, may) in MAY_IMPORT {
        assert!(may.is_sorted_by(|a, b| a < b), "{module}");
        let is_binary = *module == "main";
        assert!(is_binary || !may.contains(&"cli"), "{module} imports cli");
    }
}

#[test]
fn the_table_of_layers_has_no_cycle() {
    // Strike who imports nothing that is left, until nobody is; a cycle never goes.
    let mut left: Vec<_> = MAY_IMPORT.to_vec();
    loop {
        let names: BTreeSet<_> = left.iter().map(|(name, _)| *name).collect();
        let before = left.len();
        left.retain(|(_, may)| may.iter().any(|to| names.contains(to)));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "these import each other: {left:?}");
}

#[test]
fn only_those_who_may_touch_the_world_name_it() {
    assert_none(&privilege_violations(&modules(root()), DEBTS));
}

#[test]
fn pure_modules_name_no_thread_clock_or_file() {
    assert_none(&purity_violations(&modules(root())));
}

#[test]
fn every_source_file_is_a_module() {
    let mut files = BTreeSet::new();
    rust_files(&root().join("src"), &mut files);
    for source in modules(root()) {
        files.remove(&root().join(&source.path));
    }
    assert!(files.is_empty(), "no `mod` leads to {files:?}");
}

#[test]
fn no_source_file_grows_beyond_its_limit() {
    assert_none(&length_violations(&modules(root()), LONG_FILES));
}

#[test]
fn house_rules_of_words_and_names_hold() {
    assert_none(&word_violations(&modules(root())));
}
