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
        .map(|(name, chart)| {
            (file_name(&format!("{name}-{}.svg", chart.name)), chart.title.clone(), chart.standalone())
        })
        .collect();
    if files.is_empty() {
        return Err(Refused(
            "no record has the samples for a chart: run the checks of cpu., or a benchmark".into(),
        ));
    }
    Ok(Product::Files(files))
}

/// A name for a file in the directory that was asked for. Names of rows and subjects come from records, which may say anything, and
/// stay as they are where they are plain.
fn file_name(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+=@,".contains(letter);
    let mut after_dot = true;
    let letters = name.chars().map(|letter| {
        let is_fit = is_plain(letter) || (letter == '.' && !after_dot);
        after_dot = letter == '.';
        if is_fit { letter } else { '_' }
    });
    letters.take(LONGEST_NAME).collect()
}

/// Bytes that a file's name has at most. Source: limits.h, NAME_MAX.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_names_a_file_elsewhere() {
        assert_eq!(file_name("6.12-v2-cpu-sweep-core.svg"), "6.12-v2-cpu-sweep-core.svg");
        assert_eq!(file_name("../../etc/cron.d/x.svg"), "___.__etc_cron.d_x.svg");
        for hostile in ["../x", "/etc/x", "..", ".hidden", "a/../../b", "a\0b", "a\nb", "\u{202e}x"] {
            let name = file_name(hostile);
            assert!(
                !name.contains(['/', '\0', '\n']) && !name.starts_with('.') && !name.contains(".."),
                "{name}"
            );
        }
        assert_eq!(file_name(&"x".repeat(1000)).len(), 255);
    }
}
