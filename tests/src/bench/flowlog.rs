//! What flow logs take: records, files, the index, and a real agent that collects.

mod collection;
mod files;
mod index;

pub use index::Filled;

use super::Figures;

/// One sample of each figure but the index'.
pub fn measure(figures: &mut Figures) {
    files::measure(figures);
    collection::overhead(figures);
    collection::million(figures);
}
