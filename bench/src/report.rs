//! The report: one self-contained HTML file, made from the result alone; it never measures.

mod axis;
mod figures;
mod page;
mod plot;

pub use page::render;
