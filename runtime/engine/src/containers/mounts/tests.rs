use super::*;

#[test]
fn volumes_are_read_as_docker_reads_them() {
    let bind = Wanted::from_volume("/host:/in/../side:ro").unwrap();
    assert_eq!((bind.kind, bind.writable, bind.target()), (MountKind::Bind, false, Path::new("/side")));
    let named = Wanted::from_volume("data:/x").unwrap();
    assert_eq!((named.kind, named.source.as_deref()), (MountKind::Volume, Some("data")));
    assert_eq!(Wanted::from_volume("/x").unwrap().source, None);
    for wrong in ["", "x", "/", "a:b", ":/x", "a:/b:c:d", "a:/b:what"] {
        assert!(Wanted::from_volume(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn mounts_name_what_is_wrong() {
    let tmpfs = Wanted::from_mount("type=tmpfs,target=/t,tmpfs-size=1m").unwrap();
    assert!(tmpfs.options.contains(&"size=1m".to_owned()));
    assert!(!Wanted::from_mount("type=bind,src=/a,dst=/b,readonly").unwrap().writable);
    for (wrong, why) in [
        ("type=bind,target=/x", "needs source"),
        ("type=odd,target=/x", "'odd'"),
        ("source=a", "no target"),
        ("target=/x,color=red", "'color'"),
        ("type=bind,source=a,target=/x", "absolute"),
    ] {
        let error = Wanted::from_mount(wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_missing_source_is_made_by_one_and_refused_by_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let missing = dir.path().join("missing");
    let mount = Wanted::from_mount(&format!("type=bind,source={},target=/x", missing.display())).unwrap();
    assert!(mount.resolve(&volumes).unwrap_err().to_string().contains("does not exist"));
    Wanted::from_volume(&format!("{}:/x", missing.display())).unwrap().resolve(&volumes).unwrap();
    assert!(missing.is_dir());
}

#[test]
fn what_an_image_declares_is_a_path_and_no_option() {
    let volume = Wanted::of_image("/:/host").unwrap();
    assert_eq!((volume.kind, volume.source.as_deref()), (MountKind::Volume, None));
    assert_eq!(volume.target(), Path::new("/:/host"));
    assert_eq!(Wanted::of_image("data").unwrap().target(), Path::new("/data"));
    for wrong in ["/", "/proc", "/proc/sys/net/ipv4", "//proc/1/../sys", "/sys/fs", "/dev", "/dev/pts/"] {
        assert!(Wanted::of_image(wrong).is_err(), "{wrong}");
    }
    assert!(Wanted::of_image("/processes").is_ok() && Wanted::of_image("/dev/shm").is_ok());
}

#[test]
fn the_kernel_s_places_are_refused_in_every_spelling() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    let mut wanted = vec![Wanted::from_tmpfs("/proc/x").unwrap(), Wanted::tmpfs("/proc").unwrap()];
    wanted.extend(
        ["x1:/proc/sys", "/etc:/proc/sys", "x1:/sys", "x1:/dev"]
            .map(|text| Wanted::from_volume(text).unwrap()),
    );
    wanted.push(Wanted::from_mount("type=bind,source=/etc/passwd,target=/proc/sysrq-trigger").unwrap());
    for wanted in wanted {
        let error = wanted.clone().resolve(&volumes).unwrap_err().to_string();
        assert!(error.contains("nothing can be mounted at"), "{wanted:?}: {error}");
    }
    assert_eq!(volumes.list().unwrap(), []);
    for allowed in ["/etc/passwd:/proc/uptime", "/sys/fs/cgroup:/sys/fs/cgroup", "/dev:/dev"] {
        Wanted::from_volume(allowed).unwrap().resolve(&volumes).unwrap();
    }
}

#[test]
fn values_with_commas_stand_in_quotation_marks_and_are_no_further_options() {
    let text = "type=bind,\"source=/a,readonly,b\",target=/x";
    let mount = Wanted::from_mount(text).unwrap();
    assert_eq!((mount.source.as_deref(), mount.writable), (Some("/a,readonly,b"), true));
    assert_eq!(fields_of("a,\"b\"\"c\",").unwrap(), ["a", "b\"c", ""]);
    assert!(fields_of("\"a").is_err() && fields_of("\"a\"b").is_err());
    for wrong in ["bind-propagation=rw", "tmpfs-size=1m:exec", "bind-recursive=disabled", "readonly=maybe"] {
        let kind = if wrong.starts_with("tmpfs") { "type=tmpfs" } else { "type=bind,source=/a" };
        assert!(Wanted::from_mount(&format!("{kind},target=/x,{wrong}")).is_err(), "{wrong}");
    }
    assert!(Wanted::from_tmpfs("/t:size=1m,lowerdir=/etc").unwrap_err().to_string().contains("lowerdir"));
}

#[test]
fn options_of_memory_replace_the_default_ones() {
    let wanted = Wanted::from_tmpfs("/t:exec,size=64k").unwrap();
    assert_eq!(wanted.options, ["nosuid", "nodev", "size=64k"]);
}
