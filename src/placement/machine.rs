//! Named placements: the files of `configs/machines/`, compiled in, and files of the user's own.
//!
//! A file holds the keys of [`PlacementRequest`] and two texts, `description` and `source`. Unknown
//! keys are refused with the nearest known one; flags are laid over the preset key by key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::plan::PlacementRequest;
use crate::strict_toml::{did_you_mean, line_of_key, nearest};

/// Name and text of each compiled-in preset.
const BUILT_IN: [(&str, &str); 5] = [
    (
        "all-cores",
        include_str!("../../configs/machines/all-cores.toml"),
    ),
    (
        "clx-28c",
        include_str!("../../configs/machines/clx-28c.toml"),
    ),
    (
        "clx-28c-batch",
        include_str!("../../configs/machines/clx-28c-batch.toml"),
    ),
    (
        "clx-28c-online",
        include_str!("../../configs/machines/clx-28c-online.toml"),
    ),
    (
        "clx-28c-ssd-vgg16",
        include_str!("../../configs/machines/clx-28c-ssd-vgg16.toml"),
    ),
];

/// A placement with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachinePreset {
    /// What it is called: the file's name without `.toml`.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// Where its numbers come from.
    pub source: String,
    /// What it asks for.
    pub placement: PlacementRequest,
}

/// Why a preset cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// No preset has this name.
    #[error(
        "there is no machine preset `{name}`; known are {known}, or give a path that ends in .toml"
    )]
    UnknownPreset {
        /// The name as given.
        name: String,
        /// The known names.
        known: String,
    },
    /// The file cannot be read.
    #[error("the machine file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("the machine file {} is not valid TOML: {}", path.display(), source.message())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Why, with the place.
        source: Box<toml::de::Error>,
    },
    /// A key means nothing here.
    #[error("{}:{line}: there is no key `{key}` in a machine file{}", path.display(), did_you_mean(*nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// The key as given.
        key: String,
        /// The known key most like it.
        nearest: Option<&'static str>,
    },
    /// A key has a value that it cannot have.
    #[error("{}:{line}: `{key} = {value}` cannot be: {}", path.display(), source.message())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
        /// The key.
        key: String,
        /// Its value as given.
        value: String,
        /// What was expected.
        source: Box<toml::de::Error>,
    },
}

impl MachinePreset {
    /// The names of the compiled-in presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The preset of this name, or that of the file when `name_or_path` ends in `.toml`.
    ///
    /// # Errors
    /// When there is no such preset or file, or the file does not follow the schema.
    pub fn find(name_or_path: &str) -> Result<Self, MachineError> {
        let path = Path::new(name_or_path);
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = fs::read_to_string(path).map_err(|source| MachineError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
            return Self::parse(path, &text);
        }
        let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) else {
            return Err(MachineError::UnknownPreset {
                name: name_or_path.to_owned(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            });
        };
        Self::parse(&PathBuf::from(format!("{name}.toml")), text)
    }

    /// Parses a machine file; `path` gives its name and is named in errors.
    ///
    /// # Errors
    /// When the text is not TOML, or holds an unknown key or a value of the wrong kind.
    pub fn parse(path: &Path, text: &str) -> Result<Self, MachineError> {
        let table: toml::Table = toml::from_str(text).map_err(|source| MachineError::NotToml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let mut preset = Self {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            description: String::new(),
            source: String::new(),
            placement: PlacementRequest::default(),
        };
        for (key, value) in table {
            let line = line_of_key(text, &key);
            if !is_known(&key) {
                return Err(MachineError::UnknownKey {
                    path: path.to_owned(),
                    line,
                    nearest: nearest(&key, PlacementRequest::KEYS.into_iter().chain(TEXT_KEYS)),
                    key,
                });
            }
            preset
                .set(&key, value.clone())
                .map_err(|source| MachineError::BadValue {
                    path: path.to_owned(),
                    line,
                    value: value.to_string(),
                    key,
                    source: Box::new(source),
                })?;
        }
        Ok(preset)
    }

    /// Key by key, so that an error knows which one it is about.
    fn set(&mut self, key: &str, value: toml::Value) -> Result<(), toml::de::Error> {
        match key {
            "description" => self.description = value.try_into()?,
            "source" => self.source = value.try_into()?,
            _ => {
                let alone = toml::Table::from_iter([(key.to_owned(), value)]);
                let request = PlacementRequest::default();
                self.placement =
                    std::mem::replace(&mut self.placement, request).overlaid_by(alone.try_into()?);
            }
        }
        Ok(())
    }
}

const TEXT_KEYS: [&str; 2] = ["description", "source"];

fn is_known(key: &str) -> bool {
    PlacementRequest::KEYS.contains(&key) || TEXT_KEYS.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::super::allowed::{Allowance, CpuQuota};
    use super::super::plan::{plan, CoresPerInstance, Layout, Pin};
    use super::super::topology::{fixtures::cascade_lake, Topology};
    use super::super::CpuList;
    use super::*;

    fn parse(text: &str) -> Result<MachinePreset, MachineError> {
        MachinePreset::parse(Path::new("my/box.toml"), text)
    }

    #[test]
    fn every_key_is_read() {
        let preset = parse(
            "description = 'd'\nsource = 's'\ninstances = 2\ncores_per_instance = 'socket'\n\
             intra_threads = 3\ninter_threads = 1\ncpus = '0-3,8'\npin = 'none'\nsmt = true\n\
             socket = 0\nnuma_node = 1\nlayout = 'many-narrow'\n",
        )
        .unwrap();
        assert_eq!(
            (
                &preset.name[..],
                &preset.description[..],
                &preset.source[..]
            ),
            ("box", "d", "s")
        );
        let expected = PlacementRequest {
            instances: Some(2),
            cores_per_instance: Some(CoresPerInstance::Socket),
            intra_threads: Some(3),
            inter_threads: Some(1),
            cpus: Some("0-3,8".parse().unwrap()),
            pin: Some(Pin::None),
            smt: Some(true),
            socket: Some(0),
            numa_node: Some(1),
            layout: Some(Layout::ManyNarrow),
        };
        assert_eq!(preset.placement, expected);
        let keys = serde_json::to_value(&expected).unwrap();
        let mut keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
        keys.sort();
        let mut known = PlacementRequest::KEYS;
        known.sort_unstable();
        assert_eq!(keys, known, "the list of keys is the struct's");
        let count = parse("cores_per_instance = 4")
            .unwrap()
            .placement
            .cores_per_instance;
        assert_eq!(count, Some(CoresPerInstance::Count(4)));
    }

    #[test]
    fn mistakes_name_file_line_and_remedy() {
        for (text, said) in [
            ("smt = true\nintra_thread = 3", "my/box.toml:2: there is no key `intra_thread` in a machine file; did you mean `intra_threads`?"),
            ("[placement]\nsmt = true", "my/box.toml:1: there is no key `placement`"),
            ("\n  pin = 'cores'", "my/box.toml:2: `pin = \"cores\"` cannot be: unknown variant `cores`, expected `none` or `core`"),
            ("instances = -1", "my/box.toml:1: `instances = -1` cannot be: "),
            ("cpus = '3-1'", "my/box.toml:1: `cpus = \"3-1\"` cannot be: the range `3-1`"),
            ("cores_per_instance = 'sock'", "`sock` is no value of cores_per_instance; write a number or `socket`"),
            ("cores_per_instance = 1.5", "a number of cores or \"socket\""),
            ("instances = ", "my/box.toml is not valid TOML"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}\n{error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
        let error = MachinePreset::find("clx").unwrap_err().to_string();
        assert!(error.contains("known are all-cores, clx-28c,"), "{error}");
        assert!(matches!(
            MachinePreset::find("none.toml"),
            Err(MachineError::Unreadable { .. })
        ));
    }

    #[test]
    fn every_file_is_compiled_in_and_explains_itself() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/machines");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut names: Vec<String> = MachinePreset::names()
            .map(|name| format!("{name}.toml"))
            .collect();
        names.sort();
        assert_eq!(files, names);
        for name in MachinePreset::names() {
            let preset = MachinePreset::find(name).unwrap();
            assert_eq!(preset.name, name);
            assert!(!preset.description.is_empty() && !preset.source.is_empty());
        }
    }

    #[test]
    fn on_a_smaller_machine_a_preset_is_scaled_or_refused_with_the_reason() {
        let root = cascade_lake();
        // Four cores of socket 0 are allowed.
        let cpus: CpuList = "0-3".parse().unwrap();
        let topology = Topology::read(root.path(), &cpus);
        let quota = CpuQuota::Unlimited;
        let allowance = Allowance { cpus, quota };
        let planned = |name: &str| {
            let preset = MachinePreset::find(name).unwrap();
            plan(&preset.placement, &topology, &allowance)
        };
        // What says "a socket" takes what there is of it; what says a number of cores needs them.
        let batch = planned("clx-28c-batch").unwrap();
        assert_eq!(
            (batch.instances.len(), batch.instances[0].intra_threads),
            (1, 4)
        );
        assert_eq!(planned("clx-28c-online").unwrap().instances.len(), 1);
        for (name, needed) in [("clx-28c", "28 cores"), ("clx-28c-ssd-vgg16", "21 cores")] {
            let told = planned(name).unwrap_err().to_string();
            assert!(
                told.contains(needed) && told.contains("4 are usable"),
                "{told}"
            );
        }
    }

    #[test]
    fn the_presets_fit_the_machine_that_they_are_named_after() {
        let root = cascade_lake();
        let cpus: CpuList = "0-111".parse().unwrap();
        let topology = Topology::read(root.path(), &cpus);
        let quota = CpuQuota::Unlimited;
        let allowance = Allowance { cpus, quota };
        for (name, instances, threads, nodes) in [
            ("all-cores", 56, 1, 2),
            ("clx-28c", 1, 28, 1),
            ("clx-28c-batch", 2, 28, 2),
            ("clx-28c-online", 14, 4, 2),
            ("clx-28c-ssd-vgg16", 1, 21, 1),
        ] {
            let preset = MachinePreset::find(name).unwrap();
            let placement = plan(&preset.placement, &topology, &allowance).unwrap();
            assert_eq!(placement.instances.len(), instances, "{name}");
            let each = |threads| {
                placement
                    .instances
                    .iter()
                    .all(|i| i.intra_threads == threads)
            };
            assert!(each(threads), "{name}");
            let mut used: Vec<usize> = placement
                .instances
                .iter()
                .map(|i| i.node.expect("no instance straddles"))
                .collect();
            used.dedup();
            assert_eq!(used.len(), nodes, "{name}");
        }
    }
}
