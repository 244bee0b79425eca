//! How a predictor is shown to people: [`text`] for a terminal, [`page`](page()) for a browser. Both say the same;
//! what they say is put together once, in `facts` and `tasks`.
//!
//! Names, classes and notes come from the data of others: nothing in them steers a terminal or is taken for HTML.

mod facts;
mod model;
mod page;
mod picture;
mod tasks;
mod text;
mod words;

#[cfg(test)]
mod tests;

pub use page::page;
pub use text::text;

/// What the lake knows of the version that is shown.
#[derive(Debug, Clone)]
pub struct About<'a> {
    pub name: &'a str,
    pub version: u64,
    /// The version that answers when nobody asks for another.
    pub current: Option<u64>,
    pub trained_at: String,
    pub run_id: &'a str,
    pub description: Option<&'a str>,
    /// Their number, when they were trained, and whether they were good enough to become current.
    pub versions: &'a [(u64, String, bool)],
}

/// How words are coloured: from text to text, as it was where there is no terminal.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    pub name: fn(&str) -> String,
    pub good: fn(&str) -> String,
    pub bad: fn(&str) -> String,
    pub dim: fn(&str) -> String,
    pub bar: fn(&str) -> String,
}

impl Paint {
    /// No colours.
    pub fn plain() -> Self {
        Self {
            name: str::to_owned,
            good: str::to_owned,
            bad: str::to_owned,
            dim: str::to_owned,
            bar: str::to_owned,
        }
    }
}

impl Default for Paint {
    fn default() -> Self {
        Self::plain()
    }
}

/// The figures of one line of a list: `balanced_accuracy 0.913 · roc_auc 0.97`.
pub fn figures(headline: &[(String, f64)]) -> String {
    let known = headline.iter().filter(|(_, value)| value.is_finite());
    let figures: Vec<String> =
        known.map(|(name, value)| format!("{} {}", words::name(name), words::short(*value))).collect();
    figures.join(" · ")
}
