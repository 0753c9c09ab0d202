//! The rules themselves, each on a few lines that break it.

use super::*;
use crate::source::{without_comments_and_strings, without_tests};

fn fixture(path: &str, text: &str) -> Source {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let segments: Vec<_> = inner.split('/').filter(|&s| s != "mod").collect();
    Source {
        path: path.into(),
        module: segments[0].to_owned(),
        depth: segments.len(),
        code: without_tests(&without_comments_and_strings(text)).0,
        line_count: text.lines().count(),
        is_test: path.ends_with("/tests.rs"),
    }
}

fn directions(path: &str, text: &str) -> Vec<String> {
    let table: &[(&str, &[&str])] = &[("issue", &["units"]), ("units", &[])];
    direction_violations(&[fixture(path, text)], table)
}

#[test]
fn a_forbidden_import_is_named_with_file_line_and_rule() {
    let text = "use crate::units::Latency;\n\nuse crate::runtime::Model;\n";
    assert_eq!(
        directions("src/issue/rules.rs", text),
        ["src/issue/rules.rs:3: `issue` may not import `runtime`, only units"]
    );
    let text = "fn f() -> crate::cli::Exit {}";
    assert_eq!(
        directions("src/units.rs", text),
        ["src/units.rs:1: `units` may not import `cli`, only nothing of ours"]
    );
}

#[test]
fn groups_supers_and_the_crates_own_name_are_seen_through() {
    for text in [
        "use crate::{units::{Latency, Rate}, cli};",
        "use crate::{\n    units::Latency,\n    cli::{self, run as go},\n};",
        "use super::super::cli::run;",
        "mod inner { fn f() { super::super::super::cli::run() } }",
        "use detbench::cli::run;",
        "pub use crate::cli::*;",
    ] {
        let found = directions("src/issue/rules.rs", text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains("may not import `cli`"), "{found:?}");
    }
    assert!(directions("src/issue/rules.rs", "use super::cli::run;").is_empty());
    assert!(directions("src/issue/mod.rs", "use super::units::Rate;").is_empty());
}

#[test]
fn comments_strings_and_tests_import_nothing() {
    for text in [
        "// use crate::cli;\n/* crate::cli::x /* nested */ crate::cli::y */",
        "const A: &str = \"crate::cli::run\";",
        "const A: &str = r#\"say \"crate::cli::run\"\"#; const Q: char = '\"';",
        "#[cfg(test)]\nmod tests {\n    use crate::cli::run;\n    fn f() { if a { b } }\n}",
        "#[cfg(test)]\nuse crate::cli::run;",
    ] {
        assert_eq!(directions("src/issue/rules.rs", text), [""; 0], "{text}");
    }
    assert!(directions("src/issue/tests.rs", "use crate::cli::run;").is_empty());
    let after = "#[cfg(test)]\nmod tests { }\nuse crate::cli::run;";
    assert_eq!(directions("src/issue/rules.rs", after).len(), 1);
    let quote = "fn f<'a>(c: char) { c == '\\'' } use crate::cli::run; // '";
    assert_eq!(directions("src/issue/rules.rs", quote).len(), 1);
}

#[test]
fn a_module_that_the_table_does_not_know_is_found() {
    assert_eq!(
        directions("src/novel.rs", ""),
        ["src/novel.rs:1: `novel` is not in the table of layers"]
    );
}

#[test]
fn an_entry_that_nobody_uses_is_found() {
    let sources = [
        fixture("src/issue/mod.rs", "use crate::units::Rate;"),
        fixture("src/units.rs", ""),
    ];
    let table: &[(&str, &[&str])] = &[("gone", &[]), ("issue", &["plan", "units"]), ("units", &[])];
    assert_eq!(
        unused_entries(&sources, table),
        [
            "`gone` is in the table but not in src/",
            "`issue` imports `plan` no more: strike it from the table"
        ]
    );
}

#[test]
fn a_privilege_that_was_not_given_is_found() {
    for (path, text) in [
        ("src/sut/mod.rs", "use ort::session::Session;"),
        ("src/library/mod.rs", "fn f() { println!(\"a\") }"),
        ("src/cli/mod.rs", "fn f() { print!(\"a\") }"),
        ("src/model/mod.rs", "fn f() { std::eprintln!(\"a\") }"),
        ("src/cli/mod.rs", "fn f() { eprintln!(\"a\") }"),
        ("src/drive/mod.rs", "use std::time::{Duration, Instant};"),
        ("src/model/mod.rs", "use std::io; fn f() { io::stdout() }"),
        ("src/drive/mod.rs", "fn f() { thread::sleep(x) }"),
        ("src/report/folder.rs", "fn f() { SystemTime::now() }"),
        ("src/model/mod.rs", "use anyhow::Context;"),
    ] {
        let found = privilege_violations(&[fixture(path, text)], &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("{path}:1: ")), "{found:?}");
    }
    for (path, text) in [
        ("src/runtime/load.rs", "use ort::session::Session;"),
        ("src/cli/mod.rs", "fn f() { print_err(\"a\") }"),
        ("src/clock/monotonic.rs", "use std::time::Instant;"),
        ("src/library/mod.rs", "use std::time::Duration;"),
        (
            "src/model/mod.rs",
            "fn f() { writeln!(out, \"a\"); support::x() }",
        ),
        ("src/library/tests.rs", "fn f() { println!(\"a\") }"),
    ] {
        assert_eq!(privilege_violations(&[fixture(path, text)], &[]), [""; 0]);
    }
}

#[test]
fn a_debt_is_excused_until_it_is_paid() {
    let debts = [("src/cli/old.rs", "anyhow")];
    let text = "use anyhow::Result;";
    let owing = fixture("src/cli/old.rs", text);
    assert_eq!(privilege_violations(&[owing], &debts), [""; 0]);
    let other = privilege_violations(&[fixture("src/cli/new.rs", text)], &debts);
    assert_eq!(
        other.len(),
        2,
        "the new one, and the debt that nobody has: {other:?}"
    );
    let paid = privilege_violations(&[fixture("src/cli/old.rs", "")], &debts);
    assert_eq!(
        paid,
        ["src/cli/old.rs uses `anyhow` no more: strike it from DEBTS"]
    );
}

#[test]
fn a_pure_module_that_names_the_world_is_found() {
    for text in [
        "use std::fs;",
        "use std::{fmt, thread};",
        "use crossbeam::channel::unbounded;",
        "fn f() { std::env::var(\"A\") }",
        "use std::time::Instant;",
    ] {
        let found = purity_violations(&[fixture("src/issue/mod.rs", text)]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains("`issue` is pure"), "{found:?}");
        assert!(purity_violations(&[fixture("src/cli/mod.rs", text)]).is_empty());
    }
    let text = "use std::fmt;\nuse std::time::Duration;";
    assert!(purity_violations(&[fixture("src/issue/mod.rs", text)]).is_empty());
}

#[test]
fn a_long_file_and_a_stale_excuse_are_found() {
    let long = fixture("src/a.rs", &"\n".repeat(LINES_MAX + 1));
    let short = fixture("src/b.rs", "\n");
    let sources = [long, short];
    assert_eq!(
        length_violations(&sources, &[]),
        ["src/a.rs:701: 701 lines, at most 700"]
    );
    assert!(length_violations(&sources, &[("src/a.rs", 701)]).is_empty());
    let stale = [("src/a.rs", 750), ("src/b.rs", 800), ("src/c.rs", 900)];
    assert_eq!(
        length_violations(&sources, &stale),
        [
            "src/b.rs:1: short again: strike it from LONG_FILES",
            "src/c.rs is in LONG_FILES but not in src/"
        ]
    );
}

#[test]
fn words_that_the_house_does_not_use_are_found() {
    for text in [
        "fn f() { todo!() }",
        "#[path = \"x.rs\"] mod a;",
        "fn f() { a.unwrap() }",
    ] {
        let found = word_violations(&[fixture("src/issue/mod.rs", text)]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    assert_eq!(
        word_violations(&[fixture("src/issue/utils.rs", "")]).len(),
        1
    );
    let fine =
        "fn f() { a.unwrap_or(b).expect(\"x\") }\n#[cfg(test)]\nmod t { fn f() { a.unwrap() } }";
    assert!(word_violations(&[fixture("src/issue/mod.rs", fine)]).is_empty());
}
