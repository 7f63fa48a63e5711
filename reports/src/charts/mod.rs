//! Charts of what checks measured, as SVG: labels in the reader's text colour, and colours that the colour-blind tell apart
//! (Okabe and Ito).

mod bench;
mod draw;
mod files;
mod run;
mod timeline;

pub use bench::bench_charts;
pub use draw::Chart;
pub use files::Charts;
pub use run::{charts, samples};
