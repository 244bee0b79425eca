//! The order of rows where pages are counted. A server without one may shuffle them between two pages.

use url::Url;

use super::{Place, Rest, set_param};
use crate::config::ConfigError;

/// What SODA servers (Socrata) order by when nothing else is asked: the row's own number.
const SODA_ORDER: (&str, &str) = ("$order", ":id");
/// They give so many rows at once when nobody says more, without a word about the others.
const SODA_LIMIT: &str = "$limit";
/// Queries whose rows have no number.
const SODA_OTHER_ROWS: &[&str] = &["$query", "$group"];

impl Rest {
    /// Asks a SODA server for rows in an order, and not for the first thousand alone.
    pub(super) fn heed_soda(&mut self) -> Result<(), ConfigError> {
        let counted = self.config.pages.as_ref().map(|pages| pages.is_counted());
        let window: Vec<String> =
            self.window.iter().flat_map(|window| window.names()).map(str::to_owned).collect();
        let Place::Server(url) = &mut self.place else { return Ok(()) };
        if !is_soda(url) {
            return Ok(());
        }
        let has = |name: &str| window.iter().any(|known| known == name) || has_param(url, name);
        if counted.is_none() && !has(SODA_LIMIT) && !has("$query") {
            let message = "a SODA server gives 1000 rows and no more unless it is asked: add `pages: {type: offset, size: 1000, size_param: $limit, offset_param: $offset}`, or `$limit` to `params`";
            return Err(ConfigError::new(&["url"], message));
        }
        if counted == Some(true) && !has(SODA_ORDER.0) && !SODA_OTHER_ROWS.iter().any(|name| has(name)) {
            set_param(url, SODA_ORDER.0, SODA_ORDER.1);
            self.is_ordered = true;
        }
        Ok(())
    }

    /// What to say about pages that are counted over rows of no known order.
    pub(super) fn order_warning(&self) -> Option<String> {
        let Place::Server(url) = &self.place else { return None };
        if self.is_ordered {
            let (name, value) = SODA_ORDER;
            return Some(format!(
                "its rows are asked for with `{name}={value}`: without an order a SODA server may shuffle them between two pages; say it in `params` to choose another"
            ));
        }
        let orders = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.contains("order") || name.contains("sort")
        };
        let is_ordered = url.query_pairs().any(|(name, _)| orders(&name) || name == "$query")
            || self.window.iter().flat_map(|window| window.names()).any(orders);
        let is_counted = self.config.pages.as_ref().is_some_and(|pages| pages.is_counted());
        (is_counted && !is_ordered).then(|| {
            "its pages are counted and no parameter names an order: if the server has none of its own, rows may be missing or come twice".to_owned()
        })
    }
}

/// Whether `url` is `…/resource/NAME.json`, as SODA servers have it.
fn is_soda(url: &Url) -> bool {
    url.path().rsplit_once('/').is_some_and(|(folder, name)| {
        folder.ends_with("/resource") && name.strip_suffix(".json").is_some_and(|name| !name.is_empty())
    })
}

fn has_param(url: &Url, name: &str) -> bool {
    url.query_pairs().any(|(known, _)| known == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Source, rest::parse};

    const SODA: &str = "https://data.example/resource/erm2-nwe9.json";

    fn warnings(url: &str, more: Value) -> Vec<String> {
        let mut config = json!({"url": url, "pages": {"type": "offset", "size": 10}});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let source: Box<dyn Source> = parse(&config).unwrap_or_else(|error| panic!("{error:?}"));
        source.warnings()
    }

    #[test]
    fn a_soda_server_is_asked_for_an_order() {
        let said = |url: &str, more| warnings(url, more).concat();
        assert!(said(SODA, json!({})).contains("`$order=:id`"));
        assert_eq!(said(SODA, json!({"params": {"$order": "unique_key"}})), "");
        assert_eq!(said(&format!("{SODA}?$order=x"), json!({})), "");
        assert_eq!(said(SODA, json!({"params": {"$query": "SELECT a ORDER BY a"}})), "");
        let grouped = json!({"params": {"$group": "agency", "$select": "agency, count(*)"}});
        assert!(said(SODA, grouped).contains("no parameter names an order"));
    }

    #[test]
    fn counted_pages_without_an_order_are_said() {
        let said = |more| warnings("https://a.example/rows", more).concat();
        assert!(said(json!({})).contains("no parameter names an order"));
        assert_eq!(said(json!({"params": {"sort_by": "id"}})), "");
        assert_eq!(said(json!({"pages": {"type": "link"}})), "");
    }

    #[test]
    fn a_soda_server_is_not_asked_for_its_first_thousand_rows() {
        let refused = |config: Value| parse(&config).err().map(|error| error.message);
        assert!(refused(json!({"url": SODA})).unwrap().contains("gives 1000 rows"));
        assert_eq!(refused(json!({"url": SODA, "params": {"$limit": 1000000000}})), None);
        assert_eq!(refused(json!({"url": "https://a.example/resources/x.json"})), None);
    }
}
