//! What a check expected and saw, written down as it happens.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;

use record::{Evidence, Expectation, KernelFile, Series};

mod words;

/// Evidence being gathered.
///
/// ```
/// let mut seen = kit::notebook::Notebook::default();
/// seen.expect_eq("error of a fork past the limit", &libc::EAGAIN, &libc::EAGAIN);
/// seen.expect_in("CPU time, in ms", 31.0, 15.0..=25.0, "one tick", 8.0);
/// let [fork, time] = &seen.0.expectations[..] else { panic!() };
/// assert!(fork.holds && fork.observed == "EAGAIN");
/// assert!(!time.holds && time.doubtful, "the control was disturbed by more than the miss");
/// ```
#[derive(Debug, Default)]
pub struct Notebook(pub Evidence);

/// What a control beside a measurement says: how far this machine's own noise can move the value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Control {
    /// Towards less.
    pub below: f64,
    /// Towards more.
    pub above: f64,
}

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

    /// An answer of a probe that must equal what is expected; error numbers are shown as by [`Self::expect_eq`].
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
    /// measurement measured of this machine's own noise - is doubtful, not a failure. Says whether it lies there.
    pub fn expect_in(
        &mut self,
        what: &str,
        observed: f64,
        band: RangeInclusive<f64>,
        derived: &str,
        noise: f64,
    ) -> bool {
        self.expect_beside(what, observed, band, derived, Control { below: noise, above: noise })
    }

    /// The same, where the machine's own noise can move the value further in one direction than in the other:
    /// what others take from a group makes its use smaller and never larger. A control of 0 on both sides is none, and
    /// then a miss is a miss.
    pub fn expect_beside(
        &mut self,
        what: &str,
        observed: f64,
        band: RangeInclusive<f64>,
        derived: &str,
        control: Control,
    ) -> bool {
        let holds = band.contains(&observed);
        let expected = format!("{:.2} to {:.2}", band.start(), band.end());
        self.push(what, format!("{observed:.2}"), expected, derived, holds);
        let (missed_by, control) = if observed < *band.start() {
            (band.start() - observed, control.below)
        } else {
            (observed - band.end(), control.above)
        };
        let Some(last) = self.0.expectations.last_mut() else { return holds };
        if control > 0.0 {
            last.control = Some(control);
            last.missed_by = (!holds).then_some(missed_by);
        }
        if !holds && missed_by <= control {
            last.doubtful = true;
            self.note(format!(
                "{what}: the control beside it was disturbed by {control:.2}, which may be why"
            ));
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
            missed_by: None,
            control: None,
        });
    }
}
