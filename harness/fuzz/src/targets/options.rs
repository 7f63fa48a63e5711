//! What stands on a command line of plim, and who it runs as.

use engine::containers::{Identity, Wanted};
use engine::network::publish::Port;

pub(super) fn mounts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for mount in
        [Wanted::from_volume(text), Wanted::from_mount(text), Wanted::from_tmpfs(text)].into_iter().flatten()
    {
        let target = mount.target();
        assert!(target.is_absolute() && target.parent().is_some(), "mounted at {}", target.display());
        assert!(target.components().all(|part| part.as_os_str() != ".."), "mounted at {}", target.display());
    }
    for port in Port::parse(text).into_iter().flatten() {
        assert_ne!(port.container, 0);
    }
}

/// Arguments end with a NUL or a line.
pub(super) fn command_line(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = plim::understand(text.split(['\0', '\n']).map(Into::into));
}

/// The first part is who is wanted, the second /etc/passwd, the third /etc/group.
pub(super) fn users(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = super::parts::parts(text.as_bytes()).map(String::from_utf8_lossy);
    let mut next = || parts.next().unwrap_or_default().into_owned();
    let (wanted, passwd, group) = (next(), next(), next());
    if let Ok(who) = Identity::from_files(&wanted, &passwd, &group) {
        // The kernel takes these for "leave it as it is".
        assert!(who.uid != u32::MAX && who.gid != u32::MAX && !who.groups.contains(&u32::MAX), "{who:?}");
    }
}
