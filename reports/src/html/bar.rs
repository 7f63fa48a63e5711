//! A measured number against the band that it was expected in, as a small bar.

use maud::{Markup, html};

use record::Expectation;

/// The bar of an expectation; nothing where it is no number or has no band.
pub(super) fn of(expectation: &Expectation) -> Markup {
    let parsed = expectation.observed.parse::<f64>().ok().zip(band(&expectation.expected));
    let Some((observed, (low, high))) = parsed.filter(|(value, _)| value.is_finite()) else {
        return html! {};
    };
    // Room beside the band, so that a number outside of it is seen to be outside.
    let width = (high - low).abs().max(1e-9);
    let (from, to) = (observed.min(low - width), observed.max(high + width));
    let at = |value: f64| (value - from) / (to - from) * 100.0;
    let label = format!("{observed} in a band from {low} to {high}");
    html! {
        svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.axis x="0" y="4.5" width="100" height="1" {}
            rect.in x=(format!("{:.2}", at(low))) y="2" width=(format!("{:.2}", at(high) - at(low))) height="6" {}
            rect class=(if expectation.holds { "at" } else { "at out" }) x=(format!("{:.2}", at(observed) - 0.6)) y="0" width="1.2" height="10" {}
        }
    }
}

/// `A to B`, or `A ± B`.
fn band(text: &str) -> Option<(f64, f64)> {
    if let Some((low, high)) = text.split_once(" to ") {
        return Some((low.parse().ok()?, high.parse().ok()?));
    }
    let (middle, half) = text.split_once(" ± ")?;
    let (middle, half): (f64, f64) = (middle.parse().ok()?, half.parse().ok()?);
    Some((middle - half, middle + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_read_in_both_forms() {
        assert_eq!(band("1.5 to 2"), Some((1.5, 2.0)));
        assert_eq!(band("20.00 ± 0.50"), Some((19.5, 20.5)));
        assert_eq!(band("8 or more"), None);
    }

    #[test]
    fn what_is_no_number_has_no_bar() {
        let expectation = |observed: &str, expected: &str| Expectation {
            what: String::new(),
            observed: observed.into(),
            expected: expected.into(),
            tolerance: String::new(),
            holds: false,
            doubtful: false,
            missed_by: None,
            control: None,
        };
        assert!(of(&expectation("7.00", "1 to 2")).into_string().contains("at out"));
        assert_eq!(of(&expectation("none", "1 to 2")).into_string(), "");
    }
}
