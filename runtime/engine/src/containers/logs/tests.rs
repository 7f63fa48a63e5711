//! Logs that are written and read again.

use super::*;

#[test]
fn whatever_is_said_comes_back_in_order_and_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut writer = Writer::open(&path, &LogConfig::default()).unwrap();
    let long = vec![b'x'; LONGEST + 5];
    writer.take(Stream::Stdout, b"one\ntw");
    writer.take(Stream::Stderr, b"bad \xff\n");
    writer.take(Stream::Stdout, b"o\n");
    writer.take(Stream::Stdout, &long);
    writer.finish();
    let mut reader = BufReader::new(File::open(&path).unwrap());
    let mut all = Vec::new();
    while let Some(line) = next(&mut reader, &mut Vec::new()) {
        all.push((line.stream, line.bytes));
    }
    let joined = |stream| -> Vec<u8> {
        all.iter().filter(|(other, _)| *other == stream).flat_map(|(_, bytes)| bytes.clone()).collect()
    };
    assert_eq!(joined(Stream::Stdout), [b"one\ntwo\n".as_slice(), &long].concat());
    assert_eq!(joined(Stream::Stderr), b"bad \xff\n");
    assert_eq!(all[0], (Stream::Stdout, b"one\n".to_vec()));
}

#[test]
fn files_are_begun_anew_and_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let size = |text: &str| text.parse().map_err(|_| Error::new("no number"));
    let options = ["max-size=300".to_owned(), "max-file=3".to_owned()];
    let config = LogConfig::parse("json-file", &options, size).unwrap();
    let mut writer = Writer::open(&path, &config).unwrap();
    let mut follower = Reader::open(&path);
    let mut followed = Vec::new();
    for number in 0..20 {
        writer.take(Stream::Stdout, format!("{number}\n").as_bytes());
        followed.extend(std::iter::from_fn(|| follower.next()));
    }
    let mut reader = Reader::open(&path);
    let all: Vec<Line> = std::iter::from_fn(|| reader.next()).collect();
    assert!((6..20).contains(&all.len()), "{}", all.len());
    assert_eq!(all.last().unwrap().bytes, b"19\n");
    assert_eq!(followed.len(), 20);
    assert_eq!(followed[20 - all.len()..], all);
    assert!(path.with_file_name("log.2").exists() && !path.with_file_name("log.3").exists());
    for wrong in ["max-size=x", "max-file=0", "colour=red", "max-size"] {
        assert!(LogConfig::parse("json-file", &[wrong.to_owned()], size).is_err(), "{wrong}");
    }
    assert!(LogConfig::parse("syslog", &[], size).unwrap_err().to_string().contains("syslog"));
}
