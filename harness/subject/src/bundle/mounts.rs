//! Mounts as `--mount` and `--tmpfs`.

use runtime::oci::{Mount, example};

use super::dialect::Dialect;
use super::request::Request;
use super::unexpressed::Unexpressed;

pub(super) fn translate(mounts: &[Mount], dialect: Dialect, made: &mut Request) -> Result<(), Unexpressed> {
    let usual = example().mounts;
    for own in &usual {
        if !mounts.contains(own) {
            return Err(Unexpressed::new(format!(
                "mounts without the usual one at {}",
                own.destination.display()
            )));
        }
    }
    for mount in mounts.iter().filter(|mount| !usual.contains(mount)) {
        one(mount, dialect, made)?;
    }
    Ok(())
}

fn one(mount: &Mount, dialect: Dialect, made: &mut Request) -> Result<(), Unexpressed> {
    let at = mount.destination.display().to_string();
    let unexpressed = |what: &str| Unexpressed::new(format!("mounts at {at} with {what}"));
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(unexpressed("uidMappings"));
    }
    if at.contains([',', ':', '=']) {
        return Err(unexpressed("such a destination"));
    }
    let is_bind = mount.options.iter().any(|option| option == "bind" || option == "rbind");
    match mount.kind.as_deref() {
        Some("bind" | "none") | None if is_bind => {
            let option = bind(mount, &at)?;
            made.option("--mount", option);
        }
        Some("tmpfs") => {
            let option = tmpfs(mount, &at, dialect)?;
            made.option("--tmpfs", option);
        }
        other => return Err(unexpressed(&format!("type {}", other.unwrap_or("none")))),
    }
    Ok(())
}

/// Sources: docker run, --mount; its binds are recursive and private.
fn bind(mount: &Mount, at: &str) -> Result<String, Unexpressed> {
    let unexpressed = |what: &str| Unexpressed::new(format!("mounts at {at} with {what}"));
    let source = mount.source.as_ref().map(|source| source.display().to_string()).unwrap_or_default();
    if !source.starts_with('/') || source.contains([',', '"']) {
        return Err(unexpressed("such a source"));
    }
    let mut option = format!("type=bind,source={source},target={at}");
    let mut spread = None;
    for word in &mount.options {
        match word.as_str() {
            "rbind" | "rw" => {}
            "bind" => option.push_str(",bind-nonrecursive=true"),
            "ro" => option.push_str(",readonly"),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => spread = Some(word.clone()),
            other => return Err(unexpressed(other)),
        }
    }
    if let Some(spread) = spread {
        option.push_str(&format!(",bind-propagation={spread}"));
    }
    Ok(option)
}

/// Both add nosuid, nodev and noexec where the contrary is not asked for; Podman copies what the image has there.
fn tmpfs(mount: &Mount, at: &str, dialect: Dialect) -> Result<String, Unexpressed> {
    let known = |word: &str| {
        let mut names = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"][..];
        let mut flags =
            &["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime"][..];
        if dialect == Dialect::Podman {
            (names, flags) = (&names[..2], &flags[..8]);
        }
        match word.split_once('=') {
            Some((name, _)) => names.contains(&name),
            None => flags.contains(&word),
        }
    };
    if let Some(other) = mount.options.iter().find(|word| !known(word)) {
        return Err(Unexpressed::new(format!("mounts at {at} with {other}")));
    }
    let mut words = mount.options.clone();
    for (off, on) in [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")] {
        if !words.iter().any(|word| word == off || word == on) {
            words.push(on.to_owned());
        }
    }
    if dialect == Dialect::Podman {
        words.push("notmpcopyup".to_owned());
    }
    Ok(format!("{at}:{}", words.join(",")))
}
