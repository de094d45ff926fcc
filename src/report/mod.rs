//! A run's or a sweep's folder → one page that says what it came to, or a picture of one chart of it.
//!
//! ```text
//! folder ─► run ─┬─ requests (parts, counts) ─┐
//!   (rows)       └─ series ───────────────────┴─► kinds ─► figure ─┬─► page (plotly, advice, text)
//!                                                                  └─► picture
//! ```
//!
//! Laws:
//! - Nothing is simulated or estimated here: a figure is `summary.json`'s, or is counted from the rows of the run's files.
//! - Memory does not grow with the number of requests or intervals, and neither does the page.
//! - The page fetches nothing, and shows text of files as text.
//! - The same files give the same bytes: no clock and no path is on the page.

mod advice;
mod counts;
mod error;
mod figure;
mod folder;
mod kinds;
mod page;
mod parts;
mod picture;
mod plan;
mod plotly;
mod requests;
mod rows;
mod run;
mod series;
mod slices;
mod sweep;

pub use advice::{Advice, advice};
pub use error::ReportError;
pub use figure::{Axis, Body, Figure, Limit, Line, Scale, Side, Stroke};
pub use folder::RunFolder;
pub use kinds::{KINDS, Kind};
pub use page::{page, plan_page, rates_page, sweep_page};
pub use parts::{PARTS, PARTS_OF_TTFT, PartSums, Parts};
pub use picture::{png, svg};
pub use plan::Plan;
pub use requests::{Requests, SlowRequest, Spread};
pub use run::{Run, Source};
pub use series::{Attainment, Course, LINES_OF_A_KIND, Quantity, Series};
pub use sweep::{Drawn, Knee, SWEEP_KINDS, Sweep, SweepKind, front, knees};
