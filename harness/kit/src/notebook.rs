//! What a check expected and saw, written down as it happens.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;

use record::{Evidence, Expectation, KernelFile, Series};

mod words;

/// Evidence being gathered.
#[derive(Debug, Default)]
pub struct Notebook(pub Evidence);

impl Notebook {
    /// Something that must hold.
    pub fn expect(&mut self, what: &str, observed: impl Display, expected: impl Display, holds: bool) {
        self.push(what, observed.to_string(), expected.to_string(), "", holds);
    }

    /// Something that must equal what is expected. Numbers are error numbers if `what` begins with `error of` or `errno of`, and
    /// are told by their names.
    pub fn expect_eq<T: PartialEq + Serialize>(&mut self, what: &str, observed: &T, expected: &T) {
        let holds = observed == expected;
        let values =
            serde_json::to_value(observed).and_then(|seen| Ok((seen, serde_json::to_value(expected)?)));
        let (seen, wanted) = match values {
            Ok((seen, wanted)) => words::both(what, &seen, &wanted),
            Err(error) => (format!("cannot be shown: {error}"), String::new()),
        };
        self.push(what, seen, wanted, "", holds);
    }

    /// A text that must equal what is expected.
    pub fn expect_text(&mut self, what: &str, observed: &str, expected: &str) {
        self.expect_eq(what, &observed, &expected);
    }

    /// A list of texts that must equal what is expected, in this order.
    pub fn expect_list(&mut self, what: &str, observed: &[String], expected: &[&str]) {
        let observed: Vec<&str> = observed.iter().map(String::as_str).collect();
        self.expect_eq(what, &observed.as_slice(), &expected);
    }

    /// An answer of a probe that must equal what is expected; error numbers as of [`Self::expect_eq`].
    pub fn expect_json(&mut self, what: &str, observed: &serde_json::Value, expected: &serde_json::Value) {
        let (seen, wanted) = words::both(what, observed, expected);
        self.push(what, seen, wanted, "", observed == expected);
    }

    /// A measured number that must lie within `expected` ± `tolerance`; says whether it does.
    pub fn expect_near(
        &mut self,
        what: &str,
        observed: f64,
        expected: f64,
        tolerance: f64,
        derived: &str,
    ) -> bool {
        let holds = (observed - expected).abs() <= tolerance;
        self.push(what, format!("{observed:.2}"), format!("{expected:.2} ± {tolerance:.2}"), derived, holds);
        holds
    }

    /// A measured number that must lie in a band. A miss by no more than `noise` - what the control beside the
    /// measurement says that this machine may do by itself - is doubtful, not red. Says whether it lies there.
    pub fn expect_in(
        &mut self,
        what: &str,
        observed: f64,
        band: RangeInclusive<f64>,
        derived: &str,
        noise: f64,
    ) -> bool {
        let holds = band.contains(&observed);
        let wide = (band.start() - noise)..=(band.end() + noise);
        self.push(
            what,
            format!("{observed:.2}"),
            format!("{:.2} to {:.2}", band.start(), band.end()),
            derived,
            holds,
        );
        if !holds && wide.contains(&observed) {
            self.note(format!("{what}: the control beside it was disturbed by {noise:.2}, which may be why"));
            if let Some(last) = self.0.expectations.last_mut() {
                last.doubtful = true;
            }
        }
        holds
    }

    /// A remark.
    pub fn note(&mut self, text: impl Display) {
        self.0.notes.push(text.to_string());
    }

    /// Measured samples.
    pub fn series(&mut self, name: &str, unit: &str, values: Vec<f64>) {
        self.0.series.push(Series { name: name.into(), unit: unit.into(), values });
    }

    /// A kernel file, as it is now.
    pub fn file(&mut self, path: &Path, moment: &str) {
        if let Ok(text) = std::fs::read_to_string(path) {
            self.0.files.push(KernelFile { path: path.display().to_string(), moment: moment.into(), text });
        }
    }

    fn push(&mut self, what: &str, observed: String, expected: String, tolerance: &str, holds: bool) {
        self.0.expectations.push(Expectation {
            what: what.into(),
            observed,
            expected,
            tolerance: tolerance.into(),
            holds,
            doubtful: false,
        });
    }
}
