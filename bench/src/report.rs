//! The report: self-contained HTML files, made from results alone; it never measures.

mod axis;
mod figures;
mod page;
mod plot;
mod profiles;
mod what_if;

pub use page::render;
pub use profiles::profiles;
pub use what_if::{answers, what_if};
