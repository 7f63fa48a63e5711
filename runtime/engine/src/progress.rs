//! What a caller is told while the engine works. The engine itself shows nothing.

/// Told of work that takes long, and of the course of builds.
pub trait Progress: Sync {
    /// A piece of work of a known number of bytes begins.
    fn bytes(&self, label: &str, length: u64) -> Box<dyn Bar>;

    /// A piece of work of unknown length begins.
    fn task(&self, label: &str) -> Box<dyn Bar>;

    /// A step of a build, or its result.
    fn line(&self, text: &str);

    /// Something that is probably not what the caller meant.
    fn warning(&self, text: &str);
}

/// One piece of work.
pub trait Bar: Sync {
    /// More bytes are done.
    fn advance(&self, bytes: u64);

    /// So many bytes are done.
    fn at(&self, bytes: u64);

    /// What is being done now.
    fn doing(&self, what: &str);

    /// It is done.
    fn done(self: Box<Self>, what: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn bytes(&self, _: &str, _: u64) -> Box<dyn Bar> {
        Box::new(Self)
    }

    fn task(&self, _: &str) -> Box<dyn Bar> {
        Box::new(Self)
    }

    fn line(&self, _: &str) {}

    fn warning(&self, _: &str) {}
}

impl Bar for Silent {
    fn advance(&self, _: u64) {}

    fn at(&self, _: u64) {}

    fn doing(&self, _: &str) {}

    fn done(self: Box<Self>, _: &str) {}
}
