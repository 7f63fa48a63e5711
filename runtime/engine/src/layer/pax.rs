//! Extended headers. Values may hold any byte: records are told apart by their lengths, never by their ends of line.
//! Source: pax(1), "pax Extended Header".

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use tar::PaxExtensions;

/// Keys and values of one extended header.
pub(super) type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// The records of the entry that comes next, seen by who follows the bytes and taken by who unpacks the entry.
pub(super) type Latest = Rc<RefCell<Records>>;

/// Reads an extended header's body.
///
/// # Errors
/// A record is not as long as it says; or another reader, which goes by ends of line, would take its path or size from
/// within a value.
pub(super) fn parse(body: &[u8]) -> io::Result<Records> {
    let malformed = || io::Error::other("malformed pax extension");
    let (mut records, mut rest) = (Records::new(), body);
    while rest.first().is_some_and(|byte| *byte != 0) {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length: Option<usize> =
            std::str::from_utf8(&rest[..space]).ok().and_then(|text| text.parse().ok());
        let record = length.and_then(|length| rest.get(space + 1..length)).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        rest = &rest[space + 1 + record.len() + 1..];
    }
    let ours = |key: &[u8]| records.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice());
    let by_line = |key: &[u8]| {
        let mut lines = PaxExtensions::new(body).filter_map(Result::ok);
        lines.find(|line| line.key_bytes() == key).map(|line| line.value_bytes())
    };
    // The parser of entries goes by ends of line, and gives up looking for a size at the first that it cannot read.
    let is_torn = PaxExtensions::new(body).any(|line| line.is_err());
    let differs = [&b"path"[..], b"linkpath", b"size"].into_iter().any(|key| ours(key) != by_line(key));
    if differs || (is_torn && ours(b"size").is_some()) {
        return Err(io::Error::other("an attribute that reads like a path or a size is refused"));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (rest..).find(|length| length - rest == length.to_string().len()).unwrap();
        [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
    }

    proptest! {
        #[test]
        fn any_value_is_read_as_it_was_written(values in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let body: Vec<u8> = values.iter().flat_map(|value| record("SCHILY.xattr.user.a", value)).collect();
            let read: Vec<Vec<u8>> = parse(&body).unwrap().into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn no_body_panics(body in any::<Vec<u8>>()) {
            let _ = parse(&body);
        }
    }

    #[test]
    fn a_path_within_a_value_is_refused() {
        let inner = [b"\n".to_vec(), record("path", b"etc/passwd")].concat();
        let error = parse(&record("SCHILY.xattr.user.a", &inner)).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(parse(&record("path", b"a\nb")).is_err());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for body in [&b"99 path=a\n"[..], b"5 a=b\n", b"x path=a\n", b"3 \n", b"0 a=b\n", b"12 path=abcde"] {
            assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
