//! The documentation, held against the repository: links lead somewhere, the table of layers is
//! the tested one, named tests and types exist, every dependency is accounted for.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::source::{named_paths, without_comments_and_strings};
use crate::{assert_none, root, rust_files, MAY_IMPORT};

/// Every page: those in the root and all below `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [
        root().to_owned(),
        root().join("docs"),
        root().join("docs/adr"),
    ] {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("a readable entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Relative link targets outside code fences, with their lines.
fn relative_links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number + 1, file));
            }
        }
    }
    found
}

/// Texts between single backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a word stands in `code` right after one of `keywords`.
fn is_defined(code: &str, keywords: &[&str], name: &str) -> bool {
    keywords.iter().any(|keyword| {
        code.split(&format!("{keyword} {name}"))
            .skip(1)
            .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// Whether `code` names a crate: in a path, or in a `use` or attribute of its own.
fn is_named(code: &str, name: &str) -> bool {
    let plain = without_comments_and_strings(code);
    named_paths(&plain)
        .iter()
        .any(|named| named.path.split("::").next() == Some(name))
}

fn all_code(folder: &str) -> String {
    let mut files = BTreeSet::new();
    rust_files(&root().join(folder), &mut files);
    files
        .iter()
        .map(|file| fs::read_to_string(file).expect("a source file"))
        .collect()
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let folder = page.parent().expect("a page lies in a folder");
        for (line, target) in relative_links(&text) {
            if !folder.join(target).exists() {
                broken.push(format!("{}:{line}: no file {target}", page.display()));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn the_architecture_page_shows_the_tested_table_of_layers() {
    let page = read("docs/architecture.md");
    let shown: Vec<_> = page
        .lines()
        .skip_while(|line| !line.starts_with("| module | imports |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(str::to_owned)
        .collect();
    let tested: Vec<_> = MAY_IMPORT
        .iter()
        .map(|(module, may)| {
            let list = if may.is_empty() {
                "nothing of ours".to_owned()
            } else {
                may.join(", ")
            };
            format!("| {module} | {list} |")
        })
        .collect();
    assert_eq!(shown.join("\n"), tested.join("\n"));
}

#[test]
fn every_test_that_a_decision_names_as_its_proof_exists() {
    let code = all_code("src") + &all_code("tests");
    let mut missing = Vec::new();
    let mut decisions = 0;
    for page in pages() {
        let name = page.file_name().expect("a file").to_string_lossy();
        let is_decision = name.starts_with(|first: char| first.is_ascii_digit());
        if !is_decision {
            continue;
        }
        decisions += 1;
        let text = fs::read_to_string(&page).expect("a page");
        let proof = text.split("## Proof").nth(1);
        let proof = proof.unwrap_or_else(|| panic!("{}: no `## Proof`", page.display()));
        let names = code_spans(proof).filter(|span| span.matches('_').count() >= 3);
        for name in names {
            if !is_defined(&code, &["fn"], name) {
                missing.push(format!("{}: no test {name}", page.display()));
            }
        }
    }
    assert!(decisions >= 6);
    assert_none(&missing);
}

#[test]
fn every_type_in_the_list_of_terms_exists() {
    let page = read("docs/terms.md");
    let keywords = ["struct", "enum", "trait", "type", "fn", "mod"];
    let mut missing = Vec::new();
    let spans = code_spans(&page)
        .filter(|span| span.contains("::") && span.starts_with(|first: char| first.is_lowercase()));
    for span in spans {
        let (module, name) = span.rsplit_once("::").expect("it has a `::`");
        let module = module.split("::").next().expect("a first segment");
        let folder = root().join("src").join(module);
        let code = if folder.is_dir() {
            all_code(&format!("src/{module}"))
        } else {
            read(&format!("src/{module}.rs"))
        };
        if !is_defined(&code, &keywords, name) {
            missing.push(format!("docs/terms.md: no {span}"));
        }
    }
    assert_none(&missing);
}

#[test]
fn every_dependency_is_accounted_for() {
    let page = read("docs/dependencies.md");
    let manifest = read("Cargo.toml");
    let mut listed = BTreeSet::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (in_dependencies, line.split_once(" = ")) {
            listed.insert(name.trim());
        }
    }
    assert!(listed.contains("ort") && listed.contains("proptest"));
    let told: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let code = all_code("src") + &all_code("tests") + &all_code("benches");
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let name = line[3..].split('`').next().expect("the rest of the row");
        let is_used = is_named(&code, &name.replace('-', "_"));
        let is_excused = line.contains("not used yet");
        assert!(
            is_used != is_excused,
            "docs/dependencies.md: {name} is used: {is_used}"
        );
    }
    assert_eq!(
        told, listed,
        "left: docs/dependencies.md, right: Cargo.toml"
    );
}

#[test]
fn links_are_found_outside_fences_and_without_their_anchors() {
    let text = "a [b](c.md#d) [e](https://f) [g](#h)\n```\n[i](j.md)\n```\n![k](l/m.png \"n\")";
    assert_eq!(relative_links(text), [(1, "c.md"), (5, "l/m.png")]);
}

#[test]
fn a_definition_is_the_whole_word() {
    assert!(is_defined("fn a_b() {}", &["fn"], "a_b"));
    assert!(!is_defined("fn a_b_c() {}", &["fn"], "a_b"));
    assert!(is_defined("pub struct A<T>", &["enum", "struct"], "A"));
}
