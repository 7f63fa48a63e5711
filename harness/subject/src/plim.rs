//! Our own engine.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::engine::{Engine, Place};
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::program::Program;
use crate::said::Said;

/// Name under which this program is our own engine.
pub const NAME: &str = "plim";

/// Our own engine.
#[derive(Debug)]
pub(crate) struct Plim {
    name: String,
    program: Program,
}

impl Plim {
    pub(crate) fn new(name: &str, program: Program) -> Self {
        Self { name: name.to_owned(), program }
    }

    /// It, if the program says that it is it.
    ///
    /// # Errors
    /// It is asked for what it has not: a daemon, or another runtime below it.
    pub(crate) fn recognise(
        name: &str,
        program: &Program,
        said: &Said,
        options: &Options,
    ) -> Result<Option<Self>, Error> {
        if said.first_line().split(' ').next() != Some(NAME) {
            return Ok(None);
        }
        if *options != Options::default() {
            let text = format!(
                "--subject {name}: plim has no daemon and runs containers itself: leave out --host and --runtime"
            );
            return Err(Error::new(ErrorKind::Unusable, text));
        }
        Ok(Some(Self::new(name, program.clone())))
    }
}

impl Engine for Plim {
    fn name(&self) -> &str {
        &self.name
    }

    fn program(&self) -> &Program {
        &self.program
    }

    fn options(&self, place: &Place) -> Vec<OsString> {
        vec!["--data-root".into(), place.data().into()]
    }

    fn variables(&self, place: &Place) -> Vec<(&'static str, PathBuf)> {
        vec![("PLIM_AUTH_FILE", place.path("auth.json")), ("PLIM_CERTS_DIR", place.path("certs"))]
    }

    fn repair(&self) -> &[&str] {
        &["system", "check", "--repair"]
    }
}
