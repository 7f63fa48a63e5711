//! The forms in which records are shown. A new form is one file that implements [`Form`], and one line in [`ALL`].

use crate::form::Form;

/// Every form, the usual one first.
pub const ALL: &[&dyn Form] = &[
    &crate::terminal::Table,
    &crate::html::Page,
    &crate::markdown::Markdown,
    &crate::junit::Junit,
    &crate::ktap::Ktap,
    &crate::kcidb::Kcidb,
    &crate::json::Json,
    &crate::github::Github,
    &crate::openmetrics::OpenMetrics,
    &crate::sarif::Sarif,
    &crate::charts::Charts,
];

/// The form of a name.
pub fn named(name: &str) -> Option<&'static dyn Form> {
    ALL.iter().copied().find(|form| form.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_a_name_of_its_own() {
        for (number, form) in ALL.iter().enumerate() {
            assert!(ALL[..number].iter().all(|other| other.name() != form.name()), "{}", form.name());
            assert!(named(form.name()).is_some() && !form.about().is_empty());
        }
    }
}
