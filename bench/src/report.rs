//! The report: self-contained HTML files, made from results alone; it never measures.

mod axis;
mod costs;
mod figures;
mod page;
mod phases;
mod plot;
mod profiles;
mod services;
mod what_if;

pub use costs::costs;
pub use figures::Named;
pub use page::{overlay, render};
pub use profiles::profiles;
pub use what_if::{answers, what_if};
