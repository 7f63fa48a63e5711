//! One page that explains itself to somebody who was not there: everything in one file, nothing fetched.

mod bar;
mod bench;
mod fleet;
mod form;
mod frame;
mod matrix;
mod run;

pub use bench::bench_page;
pub use fleet::fleet_page;
pub use form::Page;
pub use matrix::matrix_page;
pub use run::page;
