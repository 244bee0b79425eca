//! What is looked at beside training: is the target given away, by the row or by one that comes later?

use std::collections::{BTreeMap, BTreeSet};

use lagar_flow::{Error, Result, codes};
use serde_json::Value;

use super::{Fit, Work};
use crate::{
    algorithm::{Output, Target},
    frame::{Raw, parts_of},
    judge::{
        self,
        guards::{self, Ahead, Column, Place, Score},
    },
    spec::Encode,
    split::{moments, rows_of, shares},
    target::{Labels, column, counted, rows_with_target},
};

impl Work<'_> {
    /// # Errors
    /// [`codes::PREDICTOR_LEAK`]: features that determine the target, of their row or of a later one, and are not
    /// allowed to.
    pub(super) fn refuse_leaks(&self) -> Result<()> {
        let rows = rows_of(&self.rows, &self.parts.train)?;
        let labels = self.labels.take(&self.parts.train);
        let target = match &labels {
            Labels::Values(values) => Target::Values(values),
            Labels::Classes { names, codes } => Target::Classes { codes, count: names.len() },
            Labels::None => return Ok(()),
        };
        let checked: Vec<&String> =
            self.features.iter().filter(|feature| !self.spec.allow_leak.contains(feature)).collect();
        let mut raw: Vec<(&str, Raw)> = Vec::new();
        for name in checked {
            let values = column(&rows, name)?;
            match self.spec.encode.get(name) {
                // No more than the parts is learned from: that each day is another one gives nothing away.
                Some(Encode::Parts(parts)) => {
                    let parts = parts_of(name, parts, values)?;
                    raw.extend(parts.into_iter().map(|part| (name.as_str(), Raw::Numbers(part))));
                }
                _ => raw.push((name, Raw::of(name, values)?)),
            }
        }
        let codes: Vec<Vec<Option<u32>>> = raw.iter().map(|(_, raw)| codes_of(raw)).collect();
        let columns = raw.iter().zip(&codes).map(|((name, raw), codes)| match raw {
            Raw::Numbers(values) => (*name, Column::Numbers(values)),
            Raw::Texts(_) => (*name, Column::Categories(codes)),
        });
        let features: Vec<(&str, Column<'_>)> = columns.collect();
        self.refuse_own(&features, target)?;
        self.refuse_later(&features, target)
    }

    fn refuse_own(&self, features: &[(&str, Column<'_>)], target: Target<'_>) -> Result<()> {
        let leaks = guards::leaks(features, target, self.spec.seed)?;
        let Some(leak) = leaks.first() else { return Ok(()) };
        let mut named: Vec<&str> = leaks.iter().map(|leak| leak.feature.as_str()).collect();
        let mut met = BTreeSet::new();
        named.retain(|name| met.insert(*name));
        let target = self.spec.target.as_deref().unwrap_or_default();
        let what = match named.as_slice() {
            [one] => format!(
                "the feature `{one}` gives `{target}` away (it says {:.1} % of it)",
                leak.score * 100.0
            ),
            more => format!("the features {} give `{target}` away", more.join(", ")),
        };
        Err(given_away(what, &named))
    }

    fn refuse_later(&self, features: &[(&str, Column<'_>)], target: Target<'_>) -> Result<()> {
        let mut found: BTreeMap<String, Ahead> = BTreeMap::new();
        for places in self.series()? {
            for ahead in guards::ahead(features, target, &places, self.spec.seed)? {
                found.entry(ahead.feature.clone()).or_insert(ahead);
            }
        }
        let found: Vec<&Ahead> = found.values().collect();
        let target = self.spec.target.as_deref().unwrap_or_default();
        let later = |ahead: &Ahead| format!("{} later", counted(ahead.rows as u64, "row"));
        let what = match found.as_slice() {
            [] => return Ok(()),
            [one] => format!(
                "the feature `{}` knows the future: it gives `{target}` away {} (it says {:.1} % of it)",
                one.feature,
                later(one),
                one.score * 100.0
            ),
            more => {
                let named = more.iter().map(|one| format!("{} ({})", one.feature, later(one)));
                let named = named.collect::<Vec<_>>().join(", ");
                format!("the features {named} know the future: they give `{target}` of later rows away")
            }
        };
        let named: Vec<&str> = found.iter().map(|ahead| ahead.feature.as_str()).collect();
        Err(given_away(what, &named))
    }

    /// Where the rows of the training stand among all from which a feature may have been computed, in each way in
    /// which the settings know series: by the key but for the time, by the group, by what is encoded by its values,
    /// and all rows as one.
    fn series(&self) -> Result<Vec<Vec<Place>>> {
        let Some(time) = &self.spec.time else { return Ok(Vec::new()) };
        // Rows without a target stand between the others all the same. If one has no time either, nobody knows where.
        let all = self.lesson.rows;
        let Ok(moments) = moments(time, column(all, time)?) else { return Ok(Vec::new()) };
        let is_encoded = |feature: &&String| matches!(self.spec.encode.get(*feature), Some(Encode::By(_)));
        let mut ways: Vec<Vec<&String>> = vec![
            self.spec.key.iter().filter(|column| *column != time).collect(),
            self.spec.group_by.iter().collect(),
            self.features.iter().filter(is_encoded).collect(),
            Vec::new(),
        ];
        ways.sort();
        ways.dedup();
        let with_target = rows_with_target(all, self.spec.target.as_deref())?;
        let mut series = Vec::new();
        for way in ways {
            let columns = way.into_iter().map(|name| Ok((name.as_str(), column(all, name)?)));
            let of_rows = shares(&columns.collect::<Result<Vec<_>>>()?, all.num_rows())?;
            if let Some(places) = places(&of_rows, &moments) {
                series.push(self.parts.train.iter().map(|row| places[with_target[*row]]).collect());
            }
        }
        Ok(series)
    }

    /// Whether a feature seems to know what comes after its row: the same predictor, judged by rows that lie between
    /// those that it learned from.
    pub(super) fn future(&self, fit: &Fit, params: &Value) -> Result<Option<guards::Future>> {
        if self.moments.is_none() {
            return Ok(None);
        }
        // A class of the last rows only: nobody could have learned it in time, whatever the features know.
        let known = |row: &usize| match &self.labels {
            Labels::Classes { codes, .. } => fit.seen.binary_search(&codes[*row]).is_ok(),
            _ => true,
        };
        let tested: Vec<usize> = self.parts.test.iter().copied().filter(known).collect();
        let Some(ordered) = self.score(fit, &tested)? else { return Ok(None) };
        let names: Vec<&String> = self.features.iter().chain(&self.spec.target).collect();
        let columns = names.into_iter().map(|name| Ok((name.as_str(), column(&self.rows, name)?)));
        let shares = shares(&columns.collect::<Result<Vec<_>>>()?, self.rows.num_rows())?;
        let mut order: Vec<usize> = (0..self.rows.num_rows()).filter(known).collect();
        order.sort_by(|a, b| shares[*a].total_cmp(&shares[*b]).then(a.cmp(b)));
        let (test, learned) = order.split_at(tested.len());
        match self.fit(params, learned).and_then(|fit| self.score(&fit, test)) {
            Ok(shuffled) => Ok(shuffled.map(|shuffled| guards::future(ordered, shuffled))),
            // A part without one of the classes, and the like: nothing is known.
            Err(error) if error.code() == codes::PREDICTOR_DATA => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How good the answers for the rows with these numbers are, as [`guards::future`] compares it.
    fn score(&self, fit: &Fit, numbers: &[usize]) -> Result<Option<Score>> {
        if numbers.is_empty() {
            return Ok(None);
        }
        let rows = self.portion(fit, numbers)?;
        let answers = self.answers(fit, rows.x.view())?;
        Ok(match (&answers, &rows.truth, &self.labels) {
            (Output::Probabilities(shares), Labels::Classes { names, codes }, _) => {
                let mut right = vec![Vec::new(); names.len()];
                for (answer, code) in judge::classification::answers(shares.view(), None).iter().zip(codes) {
                    right[*code as usize].push(if answer == code { 1.0 } else { 0.0 });
                }
                Score::of(&right)
            }
            (Output::Values(values), Labels::Values(truth), Labels::Values(all)) => {
                let count = all.len() as f64;
                let mean = all.iter().map(|value| value / count).sum::<f64>();
                let variance = all.iter().map(|value| (value - mean) * ((value - mean) / count)).sum::<f64>();
                let worth = |(value, truth): (&f64, &f64)| 1.0 - (value - truth) * (value - truth) / variance;
                Score::of([&values.iter().zip(truth).map(worth).collect()])
            }
            _ => None,
        })
    }
}

fn given_away(what: String, named: &[&str]) -> Error {
    Error::new(codes::PREDICTOR_LEAK, what).hint(format!(
        "leave out what is not known when the predictor is asked; if it is, say so: `allow_leak: [{}]`",
        named.join(", ")
    ))
}

fn codes_of(raw: &Raw) -> Vec<Option<u32>> {
    let Raw::Texts(texts) = raw else { return Vec::new() };
    let distinct: BTreeSet<&str> = texts.iter().flatten().collect();
    let place: BTreeMap<&str, u32> =
        distinct.into_iter().enumerate().map(|(place, text)| (text, place as u32)).collect();
    texts.iter().map(|text| text.map(|text| place[text])).collect()
}

/// Of each row its series and its place there. `None`: rows of one series have one moment, and nobody knows which of
/// them comes first.
fn places(series: &[f64], moments: &[i64]) -> Option<Vec<Place>> {
    let of_row = |row: &usize| (series[*row].to_bits(), moments[*row]);
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_unstable_by_key(of_row);
    if order.windows(2).any(|pair| of_row(&pair[0]) == of_row(&pair[1])) {
        return None;
    }
    let mut places = vec![(0, 0); series.len()];
    for rows in order.chunk_by(|a, b| of_row(a).0 == of_row(b).0) {
        for (step, row) in rows.iter().enumerate() {
            places[*row] = (of_row(row).0, step);
        }
    }
    Some(places)
}
