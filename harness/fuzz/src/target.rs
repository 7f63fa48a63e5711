//! What a target is.

/// One parser, and what must hold of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its directory of seeds.
    pub name: &'static str,
    /// What is read, in a few words.
    pub reads: &'static str,
    /// Reads the bytes; panics where something does not hold.
    pub run: fn(&[u8]),
}
