//! Records of every kind, and every form that they are shown in.

use record::Run;
use reports::json::{Record, parse_any};
use reports::{charts, difference, html, junit, kcidb, ktap, markdown, matrix, terminal};

pub(super) fn any(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_any(text) {
        Ok(Record::Run(run)) => forms(&run),
        Ok(Record::Row(row)) => row.run.iter().for_each(forms),
        Ok(Record::Matrix(all)) => {
            let _ = (matrix::table(&all), html::matrix_page(&all), all.exit_status());
        }
        Ok(Record::Bench(bench)) => {
            let _ = (reports::bench::table(&bench), html::bench_page(&bench), charts::bench_charts(&bench));
        }
        Err(_) => {}
    }
}

fn forms(run: &Run) {
    let _ = (terminal::table(run, true), terminal::summary(run));
    let runs = [(String::new(), run)];
    let _ = (junit::junit(&runs), kcidb::kcidb(&runs), ktap::ktap(&runs), markdown::markdown(&runs));
    let _ = (charts::charts(run), html::page(run));
    let changes = difference::difference(run, run);
    assert!(changes.is_empty(), "a run differs from itself: {}", difference::text(run, run, &changes));
}
