//! Packages of a distribution: found in its signed index, fetched once, and checked against the index each time they are used. apt
//! does what it does best, in directories of its own: nothing of the host's is touched.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::error::Error;

/// How old a package index may be before it is asked for again.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// One package of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    sha256: String,
}

/// Where a distribution's packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The mirror of the package archives.
    pub mirror: String,
    /// The file with the keys that sign the index.
    pub keyring: String,
    /// Each `ARCHIVE SUITE`.
    pub suites: Vec<String>,
}

/// Where packages and indexes are kept.
#[derive(Debug)]
pub struct Archive {
    cache: PathBuf,
}

/// Where packages are kept if nobody says otherwise.
pub fn default_cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("plimsoll")
}

impl Archive {
    /// Opens the cache, and brings the index up to date if it is old or lacks a suite.
    ///
    /// # Errors
    /// apt is missing, or there is neither a network nor an old index.
    pub fn open(cache: &Path, source: &Source, refresh: bool) -> Result<Self, Error> {
        let archive = Self { cache: cache.to_owned() };
        archive.configure(source)?;
        let stamp = cache.join("apt/updated");
        let wanted = fs::read_to_string(archive.sources()).unwrap_or_default();
        let fresh = fs::metadata(&stamp)
            .and_then(|stamp| stamp.modified())
            .is_ok_and(|then| SystemTime::now().duration_since(then).is_ok_and(|age| age < FRESH))
            && fs::read_to_string(&stamp).is_ok_and(|had| had == wanted);
        if fresh && !refresh {
            return Ok(archive);
        }
        let output = archive.apt("apt-get", ["-qq", "update"])?;
        if output.status.success() && output.stderr.is_empty() {
            fs::write(&stamp, wanted).map_err(|error| format!("writing {}: {error}", stamp.display()))?;
        } else if !stamp.exists() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            return Err(format!(
                "the package index of {} cannot be fetched: {said} (is there a network? --mirror names another one)",
                source.mirror
            ).into());
        }
        Ok(archive)
    }

    fn sources(&self) -> PathBuf {
        self.cache.join("apt/sources.list")
    }

    fn configure(&self, source: &Source) -> Result<(), Error> {
        let told = |error: std::io::Error| format!("making {}: {error}", self.cache.display());
        let apt = self.cache.join("apt");
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(dir)).map_err(told)?;
        }
        fs::create_dir_all(self.cache.join("packages")).map_err(told)?;
        if !Path::new(&source.keyring).exists() {
            return Err(format!(
                "{}: the keys of the package index are missing (apt-get install debian-archive-keyring)",
                source.keyring
            )
            .into());
        }
        let mut suites: Vec<&String> = source.suites.iter().collect();
        suites.sort_unstable();
        suites.dedup();
        let sources: String = suites
            .iter()
            .filter_map(|suite| suite.split_once(' '))
            .map(|(archive, suite)| {
                format!(
                    "deb [arch=amd64 signed-by={}] {}/{archive} {suite} main\n",
                    source.keyring, source.mirror
                )
            })
            .collect();
        fs::write(self.sources(), sources).map_err(told)?;
        let shown = apt.display();
        // Languages and DEP-11 are for people who browse packages.
        let configuration = format!(
            "Dir::Etc::sourcelist \"{shown}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::State::lists \"{shown}/lists\";\nDir::Cache \"{shown}/cache\";\nDir::State::status \"/dev/null\";\n\
             APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
        );
        fs::write(apt.join("apt.conf"), configuration).map_err(|error| told(error).into())
    }

    fn apt<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<std::process::Output, Error> {
        Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", self.cache.join("apt/apt.conf"))
            .current_dir(self.cache.join("packages"))
            .output()
            .map_err(|error| {
                format!("{program}: {error} (packages are fetched with apt: run on Debian or Ubuntu)").into()
            })
    }

    /// The newest package of each name that is asked for, as the index has it.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn available(&self, is_wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Package>, Error> {
        let output = self.apt("apt-cache", ["dumpavail"])?;
        Ok(parse(&String::from_utf8_lossy(&output.stdout), is_wanted))
    }

    /// The package's file: the one in the cache if it is whole, else fetched.
    ///
    /// # Errors
    /// It cannot be fetched, or what came is not what the index promises.
    pub fn fetch(&self, package: &Package) -> Result<PathBuf, Error> {
        let path = self.cache.join("packages").join(format!("{}_{}.deb", package.name, package.sha256));
        if path.exists() {
            if digest(&path)? == package.sha256 {
                return Ok(path);
            }
            // Broken by a crash or a full disk: fetched again.
            let _ = fs::remove_file(&path);
        }
        let dir = self.cache.join("packages").join(format!("{}.partial", package.name));
        let told = |error: std::io::Error| format!("fetching {}: {error}", package.name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(told)?;
        let output = Command::new("apt-get")
            .args(["-qq", "download", &format!("{}={}", package.name, package.version)])
            .env("APT_CONFIG", self.cache.join("apt/apt.conf"))
            .current_dir(&dir)
            .output()
            .map_err(told)?;
        let fetched = fs::read_dir(&dir).map_err(told)?.flatten().map(|entry| entry.path()).next();
        let Some(fetched) = fetched.filter(|_| output.status.success()) else {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            return Err(format!(
                "fetching {}: {said} (is there a network, and room on the disk?)",
                package.name
            )
            .into());
        };
        if digest(&fetched)? != package.sha256 {
            return Err(format!(
                "{} is not what the package index promises: --refresh fetches the index again",
                package.name
            )
            .into());
        }
        fs::rename(&fetched, &path).map_err(told)?;
        let _ = fs::remove_dir_all(&dir);
        Ok(path)
    }

    /// The files of packages, unpacked once, below `what`.
    ///
    /// # Errors
    /// A package cannot be fetched or unpacked.
    pub fn unpack(&self, packages: &[Package], what: &str) -> Result<PathBuf, Error> {
        let name: Vec<String> =
            packages.iter().map(|package| package.sha256.chars().take(16).collect()).collect();
        let dir = self.cache.join(what).join(name.join("-"));
        let debs: Vec<PathBuf> =
            packages.iter().map(|package| self.fetch(package)).collect::<Result<_, _>>()?;
        if dir.exists() {
            return Ok(dir);
        }
        let partial = dir.with_extension(format!("partial-{}", std::process::id()));
        fs::create_dir_all(&partial).map_err(|error| format!("making {}: {error}", partial.display()))?;
        for deb in debs {
            let output = Command::new("dpkg-deb")
                .arg("-x")
                .args([&deb, &partial])
                .output()
                .map_err(|error| format!("dpkg-deb: {error}"))?;
            if !output.status.success() {
                let _ = fs::remove_dir_all(&partial);
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!(
                    "unpacking {}: {} (is there room on the disk?)",
                    deb.display(),
                    said.trim()
                )
                .into());
            }
        }
        // Another one may have been faster.
        match fs::rename(&partial, &dir) {
            Err(_) if dir.exists() => drop(fs::remove_dir_all(&partial)),
            renamed => renamed.map_err(|error| format!("making {}: {error}", dir.display()))?,
        }
        Ok(dir)
    }
}

/// Reads what `apt-cache dumpavail` prints; packages that nobody asked for are passed over.
pub(crate) fn parse(text: &str, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Package> {
    let mut packages = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
        };
        let Some(name) = field("Package").filter(|name| is_wanted(name)) else { continue };
        if let (Some(version), Some(sha256)) = (field("Version"), field("SHA256")) {
            packages.insert(name.clone(), Package { name, version, sha256 });
        }
    }
    packages
}

fn digest(path: &Path) -> Result<String, Error> {
    let told = |error: std::io::Error| format!("reading {}: {error}", path.display());
    let mut file = File::open(path).map_err(told)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut chunk).map_err(told)?;
        if length == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&chunk[..length]);
    }
}
