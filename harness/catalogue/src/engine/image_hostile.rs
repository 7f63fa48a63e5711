//! Archives of images that try to reach the host.

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::EngineFixture;
use kit::fault::{answer, before};
use kit::need::Need;
use std::path::Path;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "image.hostile-archive",
        "`..`, absolute, symlink-walk, device, hard-link-out, whiteout-out, zip-bomb entries are refused and write nothing outside",
        "OCI image-spec, layer.md; CVE-2019-14271, CVE-2018-15664 and their kin",
        hostile_archive,
    )
    .needs(&[Need::Filesystem("tmpfs"), Need::Tool("mount")])
    .faults(&[
        before("hostile entries passed over", |engine, words| {
            when(words, "import", || {
                let other = ["import".to_owned(), engine.text("honest.tar"), "hostile".to_owned()];
                Ok(words[1].ends_with("/hostile.tar").then(|| other.to_vec()))
            })
        }),
        before("all refused", |_, words| {
            when(words, "import", || Ok(Some(vec!["import".into(), "/no/such/archive".into(), "none".into()])))
        }),
        answer("no limit named", |_, words, said| {
            if words[0] == "import" && said.status != 0 {
                said.err = "unexpected EOF".into();
            }
            Ok(())
        }),
    ]),
];

/// Name, kind, and content or target of an entry.
type Raw = (String, tar::EntryType, String);

fn hostile_archive(engine: &mut EngineFixture) -> Checked {
    use tar::EntryType::{Char, Link, Regular, Symlink};
    let data = engine.data_on_tmpfs(&format!("size={SMALL},mode=700"))?;
    let outside = engine.path("outside");
    std::fs::write(&outside, "untouched")?;
    write_raw(&engine.path("honest.tar"), &[("file".into(), Regular, "honest".into())])?;
    accepted(engine, "an honest archive", "honest.tar")?;
    let up = "../".repeat(12);
    let climbing = format!("{up}{}", outside.strip_prefix("/").unwrap_or(&outside).display());
    let absolute = outside.display().to_string();
    let attacks: Vec<(&str, Vec<Raw>)> = vec![
        ("a name that climbs", vec![(climbing.clone(), Regular, "written".into())]),
        ("an absolute name", vec![(absolute.clone(), Regular, "written".into())]),
        (
            "a way through a symbolic link",
            vec![("way".into(), Symlink, engine.text("")), ("way/outside".into(), Regular, "written".into())],
        ),
        (
            "a hard link to outside",
            vec![("link".into(), Link, absolute.clone()), ("link".into(), Regular, "written".into())],
        ),
        ("a device", vec![("device".into(), Char, String::new())]),
        (
            "a deletion outside",
            vec![
                ("way".into(), Symlink, engine.text("")),
                ("way/.wh.outside".into(), Regular, String::new()),
            ],
        ),
        ("a deletion of the directory itself", vec![("dir/.wh...".into(), Regular, String::new())]),
    ];
    for (what, entries) in attacks {
        write_raw(&engine.path("hostile.tar"), &entries)?;
        refused(engine, what, &engine.text("hostile.tar"))?;
    }
    bomb(&engine.path("bomb.tar.gz"))?;
    large(&engine.path("within.tar.gz"), SMALL / 4)?;
    large(&engine.path("beyond.tar.gz"), SMALL * 2)?;
    for (what, archive) in
        [("a bomb", "bomb.tar.gz"), ("a file larger than the data root's space", "beyond.tar.gz")]
    {
        let said = refused(engine, what, &engine.text(archive))?;
        let told = said.to_lowercase();
        let named = ["bytes", "space", "large", "limit", "size"].iter().any(|word| told.contains(word));
        engine.seen.expect(&format!("{what}: the reason"), &said, "its size, or the space for it", named);
    }
    accepted(engine, "a file for which there is space", "within.tar.gz")?;
    let content = std::fs::read_to_string(&outside).unwrap_or_default();
    engine.seen.expect_eq("the file outside", &content.as_str(), &"untouched");
    let left = std::fs::read_dir(data.join("tmp"))?.count();
    engine.seen.expect_eq("what the refused archives left", &left, &0);
    Ok(())
}

/// Space of the data root that archives are tried on.
const SMALL: u64 = 64 << 20;

fn refused(engine: &mut EngineFixture, what: &str, archive: &str) -> Result<String, Trouble> {
    let said = engine.output(&["import", archive, "hostile"])?;
    engine.seen.expect(what, format!("{} {}", said.status, said.err), "refused", said.status != 0);
    Ok(said.err)
}

/// An archive that must not be refused: its image is there, and is removed.
fn accepted(engine: &mut EngineFixture, what: &str, archive: &str) -> Checked {
    let said = engine.output(&["import", &engine.text(archive), "accepted"])?;
    engine.seen.expect(what, format!("{} {}", said.status, said.err), "status 0", said.status == 0);
    let there = engine.output(&["inspect", "accepted"])?;
    engine.seen.expect_eq(&format!("{what}: looking for its image"), &there.status, &0);
    if there.status == 0 {
        engine.command(&["rmi", "accepted"])?;
    }
    Ok(())
}

/// An archive of one file of zeros, packed.
fn large(file: &Path, size: u64) -> Result<(), Trouble> {
    use std::io::Read;
    let mut header = tar::Header::new_gnu();
    header.set_path("large")?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let tail = std::io::repeat(0).take(size.next_multiple_of(512) + 1024);
    let plain = header.as_bytes().chain(tail);
    Ok(engine::image::Compression::Gzip.compress(plain, std::fs::File::create(file)?)?)
}

/// An archive as only a hostile program writes it.
fn write_raw(file: &Path, entries: &[Raw]) -> Result<(), Trouble> {
    let mut builder = tar::Builder::new(std::fs::File::create(file)?);
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let is_file = kind.is_file();
        header.set_size(if is_file { content.len() as u64 } else { 0 });
        if !is_file && !content.is_empty() {
            header.set_link_name_literal(content)?;
        }
        if name.len() > 100 {
            let mut long = tar::Header::new_gnu();
            long.set_entry_type(tar::EntryType::GNULongName);
            long.set_size(name.len() as u64 + 1);
            long.set_cksum();
            builder.append(&long, format!("{name}\0").as_bytes())?;
        } else if let Some(place) = header.as_gnu_mut() {
            place.name[..name.len()].copy_from_slice(name.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, if is_file { content.as_bytes() } else { b"" })?;
    }
    Ok(builder.finish()?)
}

/// A few hundred bytes that say that a petabyte follows, and many zeros, packed a thousandfold.
fn bomb(file: &Path) -> Result<(), Trouble> {
    use std::io::Write;
    let mut plain = Vec::new();
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb")?;
    header.set_mode(0o644);
    header.set_size(1 << 50);
    header.set_cksum();
    plain.extend_from_slice(header.as_bytes());
    plain.resize(16 << 20, 0);
    let mut packed = Vec::new();
    engine::image::Compression::Gzip.compress(plain.as_slice(), &mut packed)?;
    Ok(std::fs::File::create(file)?.write_all(&packed)?)
}
