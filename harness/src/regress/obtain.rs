//! Old versions: fetched from a distribution's suites, or given as files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use matrix::archive::{Archive, Source};
use subject::Subject;

use super::error::Error;
use super::table::{Release, Table, Version};

/// A version that can be run.
#[derive(Debug, Clone)]
pub struct Obtained {
    /// How it is called in reports.
    pub name: String,
    /// The program: `runc`, `crun`.
    pub program: String,
    /// Its upstream version.
    pub release: Release,
    /// The table's version that is the same build.
    pub same_as: Option<String>,
    /// It, as a subject.
    pub subject: Subject,
}

/// Fetches a version of the table; its files are kept in `cache`, and its program is called in `bin`.
///
/// # Errors
/// There is no network, or it does not run here.
pub fn fetch(table: &Table, version: &Version, cache: &Path, bin: &Path) -> Result<Obtained, Error> {
    let unpack = |suite: &str, names: &[String]| -> Result<PathBuf, Error> {
        let source = Source {
            mirror: table.mirror.clone(),
            keyring: table.keyring.clone(),
            suites: vec![suite.to_owned()],
        };
        let archive = Archive::open(&cache.join("suites").join(suite.replace(' ', "-")), &source, false)?;
        let found = archive.available(|name| names.iter().any(|wanted| wanted == name))?;
        let packages = names
            .iter()
            .map(|name| {
                found.get(name).cloned().ok_or_else(|| Error::new(format!("{suite} has no package {name}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(archive.unpack(&packages, "unpacked")?)
    };
    let dir = unpack(&version.suite, std::slice::from_ref(&version.program))?;
    let file = dir.join(&version.file);
    let file = if says_version(&file) {
        file
    } else {
        let suite = version.library_suite.as_deref().unwrap_or(&version.suite);
        with_own_libraries(&file, &unpack(suite, &version.libraries)?, bin, &version.name)?
    };
    obtain(table, &version.name, &file, bin)
}

/// Takes a program of the user's as a version.
///
/// # Errors
/// It is no runtime, or not the version of the table whose name it was given.
pub fn given(table: &Table, name: &str, path: &Path, bin: &Path) -> Result<Obtained, Error> {
    let invalid = |why: String| Error::new(format!("--with {name}={}: {why}", path.display()));
    let path = path.canonicalize().map_err(|error| invalid(error.to_string()))?;
    let obtained = obtain(table, name, &path, bin)?;
    let claimed = table.versions.iter().find(|version| version.name == name);
    match claimed {
        Some(claimed) if obtained.release != claimed.reports.parse()? => Err(invalid(format!(
            "it says that it is {} (give it another name)",
            obtained.subject.info.version
        ))),
        Some(_) => Ok(Obtained { same_as: Some(name.to_owned()), ..obtained }),
        None => Ok(obtained),
    }
}

fn obtain(table: &Table, name: &str, file: &Path, bin: &Path) -> Result<Obtained, Error> {
    let told = |error: std::io::Error| Error::new(format!("making {}: {error}", bin.join(name).display()));
    fs::create_dir_all(bin).map_err(told)?;
    let called = bin.join(name);
    let _ = fs::remove_file(&called);
    let first = Subject::named(&file.display().to_string())?;
    let (program, reports) = told_version(&first.info.version).ok_or_else(|| {
        Error::new(format!("{}: '{}' names no version", file.display(), first.info.version))
    })?;
    if program == "crun" && is_hybrid() {
        write_script(&called, file).map_err(told)?;
    } else {
        symlink(file, &called).map_err(told)?;
    }
    let subject = Subject::named(&called.display().to_string())?;
    Ok(Obtained {
        name: name.to_owned(),
        release: reports.parse()?,
        same_as: table.same_build(&program, &reports).map(|version| version.name.clone()),
        program,
        subject,
    })
}

/// `runc` and `1.1.5+ds1` of `runc version 1.1.5+ds1`.
fn told_version(line: &str) -> Option<(String, String)> {
    let mut words = line.split(' ');
    let (program, version) = (words.next()?, words.nth(1)?);
    Some((program.to_owned(), version.to_owned()))
}

/// Whether v1 controllers and a cgroup2 hierarchy lie beside each other.
fn is_hybrid() -> bool {
    runtime::cgroup::Layout::detect().is_ok_and(|layout| layout.mode() == runtime::cgroup::Mode::Hybrid)
}

/// crun refuses a hybrid host: it runs where cgroup2 is not mounted. The host's mount table stays as it is.
fn write_script(path: &Path, program: &Path) -> std::io::Result<()> {
    let text = format!(
        "#!/bin/sh\nexec unshare -m --propagation private sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec {} \"$@\"' \
         crun \"$@\"\n",
        program.display()
    );
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn says_version(program: &Path) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A copy of a program that loads the libraries of its own suite.
fn with_own_libraries(program: &Path, libraries: &Path, bin: &Path, name: &str) -> Result<PathBuf, Error> {
    let failed = |why: &dyn std::fmt::Display| Error::new(format!("{name}: {why}"));
    let told = |error: std::io::Error| failed(&error);
    let copy = bin.join("own-libraries").join(name);
    fs::create_dir_all(bin.join("own-libraries")).map_err(told)?;
    fs::copy(program, &copy).map_err(told)?;
    let dirs: Vec<PathBuf> = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64"]
        .iter()
        .map(|dir| libraries.join(dir))
        .filter(|dir| dir.is_dir())
        .collect();
    let loader = dirs.iter().map(|dir| dir.join("ld-linux-x86-64.so.2")).find(|file| file.is_file());
    let loader = loader.ok_or_else(|| failed(&"the suite's libc6 has no ld-linux-x86-64.so.2"))?;
    let paths: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let output = Command::new("patchelf")
        .args(["--set-interpreter"])
        .arg(&loader)
        .args(["--force-rpath", "--set-rpath", &paths.join(":")])
        .arg(&copy)
        .output()
        .map_err(|error| {
            failed(&format!(
                "newer libraries than this host's need patchelf: {error} (apt-get install patchelf)"
            ))
        })?;
    if !output.status.success() || !says_version(&copy) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&format!("it does not run with its own libraries: {}", said.trim())));
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_the_version_of_its_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("old");
        fs::write(&program, "#!/bin/sh\necho 'runc version 1.1.4'\necho 'spec: 1.0.2'\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let (table, bin) = (Table::read().unwrap(), dir.path().join("bin"));
        let refused = given(&table, "runc-1.1.5", &program, &bin).unwrap_err();
        assert!(refused.to_string().contains("1.1.4"), "{refused}");
        let taken = given(&table, "mine", &program, &bin).unwrap();
        assert_eq!((taken.program.as_str(), taken.same_as), ("runc", None));
        assert_eq!(taken.subject.name(), "mine");
    }
}
