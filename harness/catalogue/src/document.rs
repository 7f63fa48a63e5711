//! The catalogue as a document: docs/catalogue.md.

use std::fmt::Write;

use kit::check::Check;
use kit::need::Need;

/// Every check in a table for each area.
pub fn markdown(checks: &[&'static Check]) -> String {
    let mut text = format!(
        "# The catalogue\n\nWritten by the code: `cargo test -p catalogue -- --ignored write_catalogue`. {} checks; under \
         each fault the check must go red, and `plimsoll prove` shows that it does. `plimsoll explain ID` tells more. \
         An id that ends in `.by-engine` is the claim of the id before it, tried by an engine's own commands.\n",
        checks.len()
    );
    let mut area = "";
    for check in checks {
        let own = check.id.split('.').next().unwrap_or_default();
        if own != area {
            area = own;
            let _ = write!(
                text,
                "\n## {area}\n\n| id | looks at | claim | needs | faults | source |\n|---|---|---|---|---|---|\n"
            );
        }
        // Containers need groups; each line of a runtime or an engine implies that.
        let needs = check.all_needs().filter(|need| *need != Need::Groups);
        let needs: Vec<String> = needs.map(Need::describe).collect();
        let faults: Vec<&str> = check.faults.iter().map(|fault| fault.name).collect();
        let scope = format!("{:?}", check.scope).to_lowercase();
        let row = [check.id, &scope, check.claim, &needs.join(", "), &faults.join(", "), check.source];
        let _ = writeln!(text, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}
