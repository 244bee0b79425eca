//! A predictor for people.

use lagar_ml::card::{self, About, Paint};
use lagar_orchestrate::predictors::Shown;

use super::style_out;

/// The card for a terminal.
pub fn text(shown: &Shown) -> String {
    let paint = Paint {
        name: |text| style_out("1").paint(text),
        good: |text| style_out("32").paint(text),
        bad: |text| style_out("33").paint(text),
        dim: |text| style_out("2").paint(text),
        bar: |text| style_out("36").paint(text),
    };
    about(shown, |about| card::text(about, &shown.predictor, super::line_width(), &paint))
}

/// The card as a page that needs no other file.
pub fn page(shown: &Shown) -> String {
    about(shown, |about| card::page(about, &shown.predictor))
}

fn about(shown: &Shown, show: impl Fn(&About<'_>) -> String) -> String {
    let when = |at: &chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let versions = shown.versions.iter().map(|version| {
        let trained = version.trained_at.as_ref().map_or_else(|| "cannot be read".to_owned(), when);
        (version.number, trained, version.promoted)
    });
    let versions: Vec<_> = versions.collect();
    show(&About {
        name: shown.name.as_str(),
        version: shown.stored.number,
        current: shown.current,
        trained_at: when(&shown.stored.created_at),
        run_id: &shown.stored.run_id,
        description: shown.description.as_deref(),
        versions: &versions,
    })
}
