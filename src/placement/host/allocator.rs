//! Which allocator serves `malloc` in this process: it moves figures by some percent.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use serde::Serialize;

use super::super::fact::Fact;

/// The allocator as far as the loaded libraries tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allocator {
    /// `tcmalloc`, `jemalloc`, `mimalloc`, `glibc`, `musl`, or `unknown`.
    pub name: &'static str,
    /// Its version, from the library's file name or, for glibc, its own text.
    pub version: Fact<String>,
    /// File names asked for by `LD_PRELOAD`, without folders; absent when it is not set. A library
    /// that is asked for but not `name` was not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ld_preload: Option<Vec<String>>,
}

/// Start of a library's file name -> allocator. Before the C library, which is always loaded too.
const LIBRARIES: [(&str, &str); 6] = [
    ("libtcmalloc", "tcmalloc"),
    ("libjemalloc", "jemalloc"),
    ("libmimalloc", "mimalloc"),
    ("libc.so", "glibc"),
    ("libc-2", "glibc"),
    ("ld-musl", "musl"),
];

impl Allocator {
    /// From the text of `/proc/self/maps` and the value of `LD_PRELOAD`.
    ///
    /// `read` opens the C library's file, whose text holds its version.
    pub(super) fn find(
        maps: &str,
        preload: Option<&OsStr>,
        read: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Self {
        // The path is the sixth field and may hold spaces.
        let paths: BTreeSet<&str> = maps
            .lines()
            .filter_map(|line| Some(&line[line.find('/')?..]))
            .collect();
        let loaded = LIBRARIES.iter().find_map(|(start, name)| {
            let path = paths
                .iter()
                .find(|path| file_name(path).starts_with(start))?;
            Some((*name, *path))
        });
        let (name, version) = match loaded {
            None => ("unknown", None),
            Some(("glibc", path)) => {
                let in_name = file_name(path)
                    .strip_prefix("libc-")
                    .and_then(|rest| rest.strip_suffix(".so"));
                let version = in_name.map(str::to_owned);
                ("glibc", version.or_else(|| version_in_text(&read(path)?)))
            }
            Some((name, path)) => {
                let version = file_name(path)
                    .split_once(".so.")
                    .map(|(_, version)| version.to_owned());
                (name, version)
            }
        };
        let ld_preload = preload.filter(|value| !value.is_empty()).map(|value| {
            let value = value.to_string_lossy();
            // The loader takes both separators.
            let parts = value.split([':', ' ']).filter(|part| !part.is_empty());
            parts.map(|part| file_name(part).to_owned()).collect()
        });
        Self {
            name,
            version: version.into(),
            ld_preload,
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// glibc carries a banner: `GNU C Library (...) stable release version 2.36.`
fn version_in_text(library: &[u8]) -> Option<String> {
    let find = |bytes: &[u8], text: &[u8]| {
        let position = bytes
            .windows(text.len())
            .position(|window| window == text)?;
        Some(position + text.len())
    };
    let banner = &library[find(library, b"GNU C Library")?..];
    let banner = &banner[..banner.len().min(200)];
    let version = &banner[find(banner, b"release version ")?..];
    let end = version
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    let version = std::str::from_utf8(&version[..end]).ok()?;
    Some(version.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(paths: &[&str], preload: Option<&str>) -> Allocator {
        let map = |path: &&str| format!("7f00-7f01 r-xp 00000000 fe:01 123     {path}\n");
        let maps: String = paths.iter().map(map).collect();
        let banner = b"\0GNU C Library (Debian 2.36-9) stable release version 2.36.\nCopy".to_vec();
        Allocator::find(&maps, preload.map(OsStr::new), |_| Some(banner.clone()))
    }

    #[test]
    fn a_preloaded_allocator_wins_over_the_c_library() {
        let found = find(
            &[
                "/usr/lib/libc.so.6",
                "/home/a b/libtcmalloc_minimal.so.4.5.9",
                "[heap]",
            ],
            Some("/home/a b/libtcmalloc_minimal.so.4 libother.so"),
        );
        assert_eq!(
            (found.name, found.version),
            ("tcmalloc", Fact::Known("4.5.9".to_owned()))
        );
        let files = ["a", "libtcmalloc_minimal.so.4", "libother.so"];
        assert!(found
            .ld_preload
            .unwrap()
            .iter()
            .all(|name| files.contains(&name.as_str())));
        assert_eq!(find(&["/lib/libjemalloc.so.2"], None).name, "jemalloc");
        let mimalloc = find(&["/lib/libmimalloc.so"], Some(""));
        assert_eq!(
            (mimalloc.version, mimalloc.ld_preload),
            (Fact::Unknown, None)
        );
    }

    #[test]
    fn the_c_librarys_version_is_read_from_its_name_or_its_banner() {
        let version = |path: &str| find(&[path], None).version.to_string();
        assert_eq!(version("/lib/libc.so.6"), "2.36");
        assert_eq!(version("/lib/libc-2.31.so"), "2.31");
        assert_eq!(find(&["/lib/ld-musl-x86_64.so.1"], None).name, "musl");
        assert_eq!(find(&["/bin/detbench"], None).name, "unknown");
        assert_eq!(version_in_text(b"no library"), None);
    }

    #[test]
    fn a_preload_that_was_not_loaded_shows() {
        let found = find(&["/lib/libc.so.6"], Some("/opt/libmimalloc.so"));
        assert_eq!(found.name, "glibc");
        assert_eq!(found.ld_preload.unwrap(), ["libmimalloc.so"]);
    }
}
