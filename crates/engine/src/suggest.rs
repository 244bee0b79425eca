//! "Did you mean": the candidate that looks most like what was written.

/// The candidate nearest to `written`, if it is near enough to be what was meant. Case is ignored.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let length = lower.chars().count();
    // A third of the letters may be wrong, and one letter in short names.
    let allowed = (written.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != written)
        .map(|candidate| (candidate.to_lowercase(), candidate))
        // No distance is smaller than this one; the comparison takes the product of both lengths.
        .filter(|(other, _)| other.chars().count().abs_diff(length) <= allowed)
        .map(|(other, candidate)| (strsim::damerau_levenshtein(&lower, &other), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or the choices when nothing is near and there are few of them.
pub fn hint<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    const SHOWN_MAX: usize = 12;
    if let Some(near) = nearest(written, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = candidates.into_iter().collect();
    match all.len() {
        0 => None,
        1..=SHOWN_MAX => Some(format!("there is {}", quoted(&all))),
        more => Some(format!("there is {} and {} more", quoted(&all[..SHOWN_MAX]), more - SHOWN_MAX)),
    }
}

/// Whether a hint names something that looks like what was written: a typing error, in all likelihood.
pub fn is_near(hint: &str) -> bool {
    hint.starts_with("did you mean `")
}

/// `a`, `b`, `c`
pub(crate) fn quoted<T: std::fmt::Display>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_a_stranger_does_not() {
        let tables = ["trusted.orders", "trusted.users", "refined.revenue"];
        assert_eq!(nearest("trusted.ordrs", tables), Some("trusted.orders"));
        assert_eq!(nearest("Trusted.Orders", tables), Some("trusted.orders"));
        assert_eq!(nearest("weather", tables), None);
        assert_eq!(nearest("ib", ["id", "name"]), Some("id"));
        assert_eq!(nearest("id", ["id"]), None);
    }

    #[test]
    fn few_choices_are_listed_when_nothing_is_near() {
        assert_eq!(hint("weather", ["a", "b"]).as_deref(), Some("there is `a`, `b`"));
        assert_eq!(hint("weather", []), None);
    }
}
