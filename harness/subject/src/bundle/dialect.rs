//! Whose words are spoken.

/// Whose words are spoken, where those of engines with Docker's command line differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Docker's.
    Docker,
    /// Podman's.
    Podman,
}
