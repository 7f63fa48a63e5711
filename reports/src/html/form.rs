//! Pages as a form of records.

use super::{bench_page, fleet_page, matrix_page, page};
use crate::form::{Form, Look, Product, Records, Refused};

/// One page that needs nothing else.
#[derive(Debug)]
pub struct Page;

impl Form for Page {
    fn name(&self) -> &'static str {
        "html"
    }

    fn about(&self) -> &'static str {
        "One page that needs nothing else"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        Ok(Product::Text(match (&records.whole, &records.runs[..]) {
            (Some(whole), []) => matrix_page(whole),
            (None, [(_, run)]) => page(run),
            // Several runs are best seen side by side.
            _ => matrix_page(&records.side_by_side()),
        }))
    }

    fn benches(&self, benches: &[(String, record::bench::Bench)]) -> Result<Product, Refused> {
        match benches {
            [(_, bench)] => Ok(Product::Text(bench_page(bench))),
            _ => Err(Refused("a page shows one benchmark; --against compares two".into())),
        }
    }

    fn fleet(&self, fleet: &crate::fleet::Fleet) -> Result<Product, Refused> {
        Ok(Product::Text(fleet_page(fleet)))
    }
}
