//! Takes the wanted members, and only those, out of a verified archive.
//!
//! A pinned member is looked up by its exact path and written under its plain name, so that no path
//! from inside an archive reaches the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::read::GzDecoder;

use super::cache::sha256_of_file;
use super::{FetchError, PinnedFile};

/// Compares the archive's SHA-256 with the pinned one.
///
/// # Errors
/// [`FetchError::WrongSum`] when they differ.
pub(super) fn verify_archive(
    archive: &Path,
    what: &str,
    expected: &'static str,
) -> Result<(), FetchError> {
    let found =
        sha256_of_file(archive).map_err(|source| FetchError::access("read", archive, source))?;
    if found == expected {
        Ok(())
    } else {
        Err(FetchError::WrongSum {
            what: what.to_owned(),
            found,
            expected,
        })
    }
}

/// Unpacks `files` of a zip archive, such as a wheel, into `target`.
///
/// # Errors
/// [`FetchError::Archive`] or [`FetchError::MemberMissing`].
pub(super) fn unzip(archive: &Path, files: &[PinnedFile], target: &Path) -> Result<(), FetchError> {
    let mut zip =
        zip::ZipArchive::new(BufReader::new(open(archive)?)).map_err(|e| broken(archive, &e))?;
    for file in files {
        let member = match zip.by_name(file.member) {
            Ok(member) => member,
            Err(zip::result::ZipError::FileNotFound) => return Err(missing(archive, file)),
            Err(error) => return Err(broken(archive, &error)),
        };
        write(member, file, archive, target)?;
    }
    Ok(())
}

/// Unpacks everything below the archive's `directory` into `target`, with the modes of the archive.
///
/// # Errors
/// [`FetchError::Archive`], also for a member whose path would escape.
pub(super) fn unzip_below(
    archive: &Path,
    directory: &str,
    target: &Path,
) -> Result<(), FetchError> {
    let mut zip =
        zip::ZipArchive::new(BufReader::new(open(archive)?)).map_err(|e| broken(archive, &e))?;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).map_err(|e| broken(archive, &e))?;
        let Some(name) = member.enclosed_name() else {
            return Err(FetchError::Archive {
                archive: archive.to_path_buf(),
                reason: format!("the path of its member {index} escapes"),
            });
        };
        if !name.starts_with(directory) || !member.is_file() {
            continue;
        }
        let path = target.join(name);
        let parent = path.parent().unwrap_or(target);
        fs::create_dir_all(parent)
            .map_err(|source| FetchError::access("create", parent, source))?;
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(member.unix_mode().unwrap_or(0o644) & 0o755);
        let mut output = options
            .open(&path)
            .map_err(|source| FetchError::access("write", &path, source))?;
        io::copy(&mut member, &mut output).map_err(|error| broken(archive, &error))?;
    }
    Ok(())
}

/// Unpacks `files` of a gzipped tar archive, such as an npm package, into `target`.
///
/// # Errors
/// [`FetchError::Archive`] or [`FetchError::MemberMissing`].
pub(super) fn untar(archive: &Path, files: &[PinnedFile], target: &Path) -> Result<(), FetchError> {
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(open(archive)?)));
    let mut wanted: Vec<&PinnedFile> = files.iter().collect();
    for member in tar.entries().map_err(|e| broken(archive, &e))? {
        let member = member.map_err(|e| broken(archive, &e))?;
        let is_file = member.header().entry_type().is_file();
        let path = member.path_bytes().into_owned();
        let found = wanted
            .iter()
            .position(|file| is_file && file.member.as_bytes() == path);
        if let Some(position) = found {
            write(member, wanted.swap_remove(position), archive, target)?;
        }
    }
    wanted
        .first()
        .map_or(Ok(()), |file| Err(missing(archive, file)))
}

/// Writes one member, at most one byte more than its pinned size: a bomb ends as a wrong sum.
fn write(
    member: impl Read,
    file: &PinnedFile,
    archive: &Path,
    target: &Path,
) -> Result<(), FetchError> {
    let path = target.join(file.name);
    let mut output =
        File::create(&path).map_err(|source| FetchError::access("write", &path, source))?;
    io::copy(&mut member.take(file.size_bytes + 1), &mut output)
        .map(drop)
        .map_err(|error| broken(archive, &error))
}

fn open(archive: &Path) -> Result<File, FetchError> {
    File::open(archive).map_err(|source| FetchError::access("read", archive, source))
}

fn broken(archive: &Path, reason: &dyn std::error::Error) -> FetchError {
    FetchError::Archive {
        archive: archive.to_path_buf(),
        reason: reason.to_string(),
    }
}

fn missing(archive: &Path, file: &PinnedFile) -> FetchError {
    FetchError::MemberMissing {
        archive: archive.to_path_buf(),
        member: file.member,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use super::*;
    use crate::fetch::artefacts::samples::{HELLO, HELLO_TEXT};

    fn tarball(directory: &Path, path: &str, content: &str) -> PathBuf {
        let archive = directory.join("a.tgz");
        let gzip = flate2::write::GzEncoder::new(
            File::create(&archive).unwrap(),
            flate2::Compression::fast(),
        );
        let mut tar = tar::Builder::new(gzip);
        let mut header = tar::Header::new_ustar();
        // The safe setter refuses `..`; an attacker does not use it.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, content.as_bytes()).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        archive
    }

    #[test]
    fn the_wanted_member_of_a_tarball_gets_its_plain_name() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = tarball(scratch.path(), "package/hello.txt", HELLO_TEXT);
        untar(&archive, HELLO.files, scratch.path()).unwrap();
        assert_eq!(
            fs::read_to_string(scratch.path().join("hello.txt")).unwrap(),
            HELLO_TEXT
        );
    }

    #[test]
    fn a_member_with_an_escaping_path_is_never_written() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("inner");
        fs::create_dir(&target).unwrap();
        for path in [
            "package/../../hello.txt",
            "../hello.txt",
            "/hello.txt",
            "hello.txt",
        ] {
            let archive = tarball(scratch.path(), path, HELLO_TEXT);
            let error = untar(&archive, HELLO.files, &target).unwrap_err();
            assert!(matches!(error, FetchError::MemberMissing { .. }), "{error}");
            assert!(!scratch.path().join("hello.txt").exists());
            assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_member_longer_than_pinned_is_cut() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = tarball(scratch.path(), "package/hello.txt", &"x".repeat(1000));
        untar(&archive, HELLO.files, scratch.path()).unwrap();
        assert_eq!(
            fs::metadata(scratch.path().join("hello.txt"))
                .unwrap()
                .len(),
            14
        );
    }

    #[test]
    fn the_wanted_member_of_a_zip_gets_its_plain_name() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = scratch.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
        zip.start_file(
            "package/hello.txt",
            zip::write::SimpleFileOptions::default(),
        )
        .unwrap();
        zip.write_all(HELLO_TEXT.as_bytes()).unwrap();
        zip.finish().unwrap();
        unzip(&archive, HELLO.files, scratch.path()).unwrap();
        assert_eq!(
            fs::read_to_string(scratch.path().join("hello.txt")).unwrap(),
            HELLO_TEXT
        );
    }

    #[test]
    fn a_directory_of_a_zip_is_unpacked_with_its_modes_and_nothing_beside_it() {
        let scratch = tempfile::tempdir().unwrap();
        let zip_of = |name: &str, members: &[&str]| {
            let archive = scratch.path().join(name);
            let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
            for member in members {
                let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
                zip.start_file(*member, options).unwrap();
                zip.write_all(HELLO_TEXT.as_bytes()).unwrap();
            }
            zip.finish().unwrap();
            archive
        };
        let target = scratch.path().join("inner");
        let good = zip_of("good.whl", &["node/bin/node", "other/file"]);
        unzip_below(&good, "node", &target).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(
            &fs::metadata(target.join("node/bin/node")).unwrap(),
        );
        assert_eq!(mode & 0o777, 0o755);
        assert!(!target.join("other").exists());
        let evil = zip_of("evil.whl", &["node/../../escaped"]);
        unzip_below(&evil, "node", &target).unwrap_err();
        assert!(!scratch.path().join("escaped").exists());
    }

    #[test]
    fn what_is_no_archive_is_an_error_that_names_it() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = scratch.path().join("a.whl");
        fs::write(&archive, "<html>sign in</html>").unwrap();
        for outcome in [
            unzip(&archive, HELLO.files, scratch.path()),
            untar(&archive, HELLO.files, scratch.path()),
        ] {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("a.whl"), "{error}");
        }
    }
}
