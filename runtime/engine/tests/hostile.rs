//! Archives made at random and damaged at random: whatever they hold, unpacking ends, does not panic, and touches nothing outside
//! of its tree. `PLIM_FUZZ_SECONDS` says how long, `PLIM_FUZZ_SEED` which archives.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use engine::layer::{Contents, Limits, extract};
use tar::EntryType;

/// Numbers that look random: xorshift, so that a seed gives the same archives everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const NAMES: &[&str] = &[
    "a",
    "b",
    "dir",
    "dir/",
    "dir/a",
    "dir/dir/b",
    "link",
    "link/a",
    "link/../a",
    "..",
    "../outside",
    "dir/../../outside",
    "/outside",
    ".",
    "./",
    "./a/./b",
    ".wh.a",
    ".wh..wh..opq",
    "dir/.wh..wh..opq",
    ".wh...",
    ".wh..",
    "dir/.wh.dir",
    "link/.wh.outside",
    "",
    "a\0b",
    "sentinel",
];

fn archive(dice: &mut Dice, outside: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for _ in 0..=dice.below(12) {
        let kinds = [
            EntryType::Regular,
            EntryType::Directory,
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Char,
            EntryType::Block,
            EntryType::Fifo,
            EntryType::GNUSparse,
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
            EntryType::Continuous,
            EntryType::new(b'z'),
        ];
        let kind = kinds[dice.below(kinds.len())];
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(u32::try_from(dice.next() & 0o7777).unwrap());
        header.set_uid(dice.next() & 0xffff);
        header.set_mtime(dice.next() & 0xffff_ffff);
        let name = dice.one(NAMES);
        let target = match dice.below(4) {
            0 => outside,
            1 => "..",
            2 => "/",
            _ => dice.one(NAMES),
        };
        let content: Vec<u8> = match kind {
            EntryType::GNULongName | EntryType::GNULongLink => format!("{}\0", dice.one(NAMES)).into_bytes(),
            EntryType::XHeader | EntryType::XGlobalHeader => {
                let record = match dice.below(5) {
                    0 => format!("path={}", dice.one(NAMES)),
                    1 => format!("linkpath={target}"),
                    2 => format!("size={}", dice.next() >> dice.below(64)),
                    3 => "SCHILY.xattr.trusted.overlay.opaque=y".to_owned(),
                    _ => format!("mtime={}.{}", dice.next() >> 40, dice.next()),
                };
                // A record begins with its own length.
                let bare = record.len() + 2;
                let length = bare + (bare + 2).to_string().len();
                format!("{length} {record}\n").into_bytes()
            }
            EntryType::Regular => vec![b'x'; dice.below(2000)],
            _ => Vec::new(),
        };
        header.set_size(if dice.below(20) == 0 {
            dice.next() >> dice.below(64)
        } else {
            content.len() as u64
        });
        let bytes = header.as_gnu_mut().unwrap();
        bytes.name[..name.len()].copy_from_slice(name.as_bytes());
        let length = target.len().min(100);
        bytes.linkname[..length].copy_from_slice(&target.as_bytes()[..length]);
        header.set_cksum();
        builder.append(&header, content.as_slice()).unwrap();
    }
    let mut bytes = builder.into_inner().unwrap();
    // Half of them are damaged, too.
    if dice.below(2) == 0 {
        for _ in 0..dice.below(20) {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        let length = bytes.len();
        bytes.truncate(length - dice.below(length));
    }
    bytes
}

/// Names, kinds, modes, times and contents of what lies beside the tree.
fn around(dir: &Path) -> Vec<String> {
    let mut seen: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name() != "tree")
        .map(|entry| {
            let of = entry.metadata().unwrap();
            let content = if of.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
            let inner = if of.is_dir() { fs::read_dir(entry.path()).unwrap().count() } else { 0 };
            format!(
                "{:?} {:o} {} {} {} {content:?} {inner}",
                entry.file_name(),
                of.mode(),
                of.uid(),
                of.mtime(),
                of.nlink()
            )
        })
        .collect();
    seen.sort();
    seen
}

#[test]
fn no_archive_escapes_or_panics() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("PLIM_FUZZ_SECONDS").unwrap_or(3);
    let seed = number("PLIM_FUZZ_SEED")
        .unwrap_or_else(|| u64::from(UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) | 1);
    println!("PLIM_FUZZ_SEED={seed}");
    let mut dice = Dice(seed);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("outside"), "untouched").unwrap();
    fs::create_dir(dir.path().join("beside")).unwrap();
    fs::write(dir.path().join("beside/file"), "untouched").unwrap();
    let before = around(dir.path());
    let tree = dir.path().join("tree");
    let outside = dir.path().join("outside").display().to_string();
    let (mut cases, mut refused) = (0_u64, 0_u64);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let bytes = archive(&mut dice, &outside);
        fs::create_dir(&tree).unwrap();
        let contents = Contents { devices: false, whiteouts: dice.below(2) == 0, live: false };
        let limits = Limits { bytes: 1 << 20, entries: 100 };
        refused += u64::from(extract(bytes.as_slice(), &tree, contents, limits).is_err());
        cases += 1;
        assert_eq!(around(dir.path()), before, "case {cases} of seed {seed}");
        // Modes of directories may forbid it to others than root.
        if fs::remove_dir_all(&tree).is_err() {
            let _ = std::process::Command::new("chmod").args(["-R", "u+rwx"]).arg(&tree).status();
            fs::remove_dir_all(&tree).unwrap();
        }
    }
    println!("{cases} archives, {refused} refused");
    // A fuzzer whose archives are all refused at once looks at nothing.
    assert!(refused > 0 && refused < cases, "{refused} of {cases} refused");
}
