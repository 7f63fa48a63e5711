//! Charts as a form of records: files.

use super::bench::bench_charts;
use super::draw::Chart;
use super::run::charts;
use crate::form::{Form, Look, Product, Records, Refused};

/// Charts, as files.
#[derive(Debug)]
pub struct Charts;

impl Form for Charts {
    fn name(&self) -> &'static str {
        "charts"
    }

    fn about(&self) -> &'static str {
        "Charts, as SVG files in the directory of --output"
    }

    fn is_text(&self) -> bool {
        false
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let named = records.named();
        files(named.iter().map(|(name, run)| (name.as_str(), charts(run))))
    }

    fn benches(&self, benches: &[(String, record::bench::Bench)]) -> Result<Product, Refused> {
        files(benches.iter().map(|(name, bench)| (name.as_str(), bench_charts(bench))))
    }
}

fn files<'n>(drawn: impl Iterator<Item = (&'n str, Vec<Chart>)>) -> Result<Product, Refused> {
    let files: Vec<_> = drawn
        .flat_map(|(name, charts)| charts.into_iter().map(move |chart| (name, chart)))
        .map(|(name, chart)| (format!("{name}-{}.svg", chart.name), chart.title.clone(), chart.standalone()))
        .collect();
    if files.is_empty() {
        return Err(Refused(
            "no record has the samples for a chart: run the checks of cpu., or a benchmark".into(),
        ));
    }
    Ok(Product::Files(files))
}
