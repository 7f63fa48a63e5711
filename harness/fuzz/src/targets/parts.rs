//! Inputs of several parts.

/// The parts of an input: what stands between lines of two percent signs.
pub(super) fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let all = rest?;
        let mark = all.windows(4).position(|four| four == b"\n%%\n");
        let (part, next) = match mark {
            Some(at) => (&all[..at], Some(&all[at + 4..])),
            None => (all, None),
        };
        rest = next;
        Some(part)
    })
}
