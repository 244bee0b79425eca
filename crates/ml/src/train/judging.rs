//! The second half of training: how good is it beside trivial predictors, and may it become current.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
};
use lagar_flow::{Error, Result, codes};
use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, ShapeBuilder};
use serde_json::Value;

use super::{
    Fit, Portion, Work,
    baselines::{Beside, compares},
};
use crate::{
    algorithm::Output,
    choice::{self, Verdict},
    judge::{
        self, Measures,
        bias::Bias,
        guards,
        importance::{self, Effort, Importances},
    },
    judged::{Judged, JudgedOn, OfGroup},
    predictor::{LearnedFrom, Predictor, Scorer},
    spec::OF_TWO_CLASSES,
    split::{moments, rows_of},
    target::{Labels, column, counted},
};

/// How often each feature is shuffled, and of how many rows.
const SHUFFLES: usize = 5;
const SHUFFLED_ROWS: usize = 10_000;
/// Rows whose silhouette is taken.
const SILHOUETTE_ROWS: usize = 2_000;
/// Groups that are judged apart: the largest.
const GROUPS_MAX: usize = 50;
/// So many standard deviations from what was asked a share of rows may be by chance.
const DEVIATIONS: f64 = 4.0;

impl Work<'_> {
    /// How good the answers for the rows with these numbers are.
    pub(super) fn measured(&self, fit: &Fit, numbers: &[usize]) -> Result<Measures> {
        let rows = self.portion(fit, numbers)?;
        let answers = self.answers(fit, rows.x.view())?;
        self.measures(&answers, &rows.truth, || rows.x.view().into(), None, fit.fitted.centres())
    }

    /// How good answers are. `x` gives the rows that they are for: few measures look at them. `centres` are those of
    /// groups.
    pub(super) fn measures<'x>(
        &self,
        output: &Output,
        truth: &Labels,
        x: impl FnOnce() -> CowArray<'x, f64, Ix2>,
        threshold: Option<f64>,
        centres: Option<Array2<f64>>,
    ) -> Result<Measures> {
        match (output, truth) {
            (Output::Values(values), Labels::Values(truth)) => {
                judge::regression::regression(truth, values).map(Measures::Regression)
            }
            (Output::Probabilities(rows), Labels::Classes { names, codes }) => {
                judge::classification::classification(codes, names.len(), rows.view(), threshold)
                    .map(Measures::Classification)
            }
            (Output::Scores { scores, outliers }, _) => {
                judge::outliers::outliers(scores, outliers).map(Measures::Outliers)
            }
            (Output::Groups(groups), _) => {
                let (centres, seed) = (centres.as_ref().map(Array2::view), self.spec.seed);
                judge::clustering::clustering(x().view(), groups, centres, SILHOUETTE_ROWS, seed)
                    .map(Measures::Clustering)
            }
            (Output::Components(rows), _) => {
                judge::reduction::reduction(x().view(), rows.view()).map(Measures::Reduction)
            }
            _ => Err(Error::bug("answers that cannot be judged")),
        }
    }

    pub(super) fn judge(
        &self,
        fit: &Fit,
        learned: &[usize],
        threshold: Option<f64>,
        params: &Value,
        notes: &mut Vec<String>,
    ) -> Result<Judged> {
        let (on, rows) = match self.parts.test.is_empty() {
            true => (JudgedOn::Training, learned),
            false => (JudgedOn::Test, &self.parts.test[..]),
        };
        if on == JudgedOn::Training && self.spec.split.test > 0.0 {
            notes.push(
                "there are too few rows to keep some for judging: the measures are of the rows learned from"
                    .into(),
            );
        }
        let rows = self.portion(fit, rows)?;
        let answers = self.answers(fit, rows.x.view())?;
        let measures =
            self.measures(&answers, &rows.truth, || rows.x.view().into(), threshold, fit.fitted.centres())?;
        let mut judged = Judged::new(on);
        if on == JudgedOn::Test {
            self.judge_training(fit, learned, &rows, threshold, &mut judged)?;
            if judged.rows_seen_before > 0 {
                notes.push(format!(
                    "{} of the test {} alike to one that was learned from",
                    counted(judged.rows_seen_before, "row"),
                    if judged.rows_seen_before == 1 { "is" } else { "are" }
                ));
            }
            if self.entry.task.has_target() {
                judged.future = self.future(fit, params)?;
            }
            if let Some(future) = judged.future.as_ref().filter(|future| future.likely) {
                notes.push(format!(
                    "a feature may know the future: judged by rows between those learned from it has {:.3}, by later \
                     ones {:.3}",
                    future.shuffled, future.ordered
                ));
            }
        }
        let own = (&answers, threshold);
        let beside = self.beside(fit, learned, &rows, own, on, notes)?;
        judged.baselines = self.baselines(&beside, own, &rows.truth, || rows.x.view().into())?;
        judged.groups = self.groups(&rows, &answers, &beside, threshold, notes)?;
        judged.bias = self.bias(&rows, &answers, threshold, notes)?;
        judged.importance = self.importance(fit, &rows, threshold)?;
        judged.measures = Some(measures);
        Ok(judged)
    }

    /// How good it is on the rows that it learned from, and how many of those that judge are among them.
    fn judge_training(
        &self,
        fit: &Fit,
        learned: &[usize],
        judging: &Portion,
        threshold: Option<f64>,
        judged: &mut Judged,
    ) -> Result<()> {
        let rows = self.portion(fit, learned)?;
        let answers = self.answers(fit, rows.x.view())?;
        let measures =
            self.measures(&answers, &rows.truth, || rows.x.view().into(), threshold, fit.fitted.centres())?;
        judged.training = Some(measures);
        judged.rows_seen_before = guards::duplicates(rows.x.view(), judging.x.view())?.rows;
        Ok(())
    }

    /// The names of the groups, and the group of each row.
    pub(super) fn group_of_rows(&self) -> Result<(Vec<String>, Vec<u32>)> {
        let Some(name) = &self.spec.group_by else { return Ok((Vec::new(), vec![0; self.rows.num_rows()])) };
        let texts = cast(column(&self.rows, name)?, &DataType::Utf8).map_err(|error| {
            Error::new(codes::PREDICTOR_DATA, format!("`group_by: {name}` has no text form"))
                .caused_by(&error)
        })?;
        let texts: &StringArray = texts.as_string();
        let name_of = |row: usize| if texts.is_valid(row) { texts.value(row) } else { "null" };
        let names: BTreeSet<&str> = (0..texts.len()).map(name_of).collect();
        let place: BTreeMap<&str, u32> =
            names.iter().enumerate().map(|(place, name)| (*name, place as u32)).collect();
        let groups = (0..texts.len()).map(|row| place[name_of(row)]).collect();
        Ok((names.into_iter().map(str::to_owned).collect(), groups))
    }

    fn groups(
        &self,
        rows: &Portion,
        answers: &Output,
        beside: &Beside,
        threshold: Option<f64>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<OfGroup>> {
        if self.spec.group_by.is_none() {
            return Ok(Vec::new());
        }
        let (names, group) = self.group_of_rows()?;
        let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (place, row) in rows.rows.iter().enumerate() {
            places.entry(group[*row]).or_default().push(place);
        }
        let mut largest: Vec<(u32, Vec<usize>)> = places.into_iter().collect();
        if largest.len() > GROUPS_MAX {
            notes.push(format!(
                "of {} groups the {GROUPS_MAX} with the most rows are judged apart",
                largest.len()
            ));
            largest.sort_by_key(|(group, places)| (std::cmp::Reverse(places.len()), *group));
            largest.truncate(GROUPS_MAX);
            largest.sort();
        }
        let mut groups = Vec::new();
        for (group, places) in largest {
            let truth = rows.truth.take(&places);
            let x = || CowArray::from(rows_in(&rows.x, &places));
            let answers = taken(answers, &places);
            let measures = self.measures(&answers, &truth, x, threshold, None)?;
            let own = (&answers, threshold);
            let baselines = self.baselines(&beside.at(&places, own), own, &truth, x)?;
            groups.push(OfGroup { group: names[group as usize].clone(), measures, baselines });
        }
        Ok(groups)
    }

    /// Of two classes and groups.
    fn bias(
        &self,
        rows: &Portion,
        answers: &Output,
        threshold: Option<f64>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Bias>> {
        let (Output::Probabilities(probabilities), Labels::Classes { names, codes }, true) =
            (answers, &rows.truth, self.spec.group_by.is_some())
        else {
            return Ok(None);
        };
        if names.len() != 2 {
            return Ok(None);
        }
        let (groups, of_row) = self.group_of_rows()?;
        let called: Vec<bool> = judge::classification::answers(probabilities.view(), threshold)
            .into_iter()
            .map(|class| class == 1)
            .collect();
        let truth: Vec<bool> = codes.iter().map(|code| *code == 1).collect();
        let of_row: Vec<u32> = rows.rows.iter().map(|row| of_row[*row]).collect();
        // A group of the rows that were learned from may have none among the last ones: that is no reason to learn
        // nothing.
        let asked = self.spec.reference_group.as_deref();
        let has_rows = |name: &&str| of_row.iter().any(|group| groups[*group as usize] == **name);
        let reference = asked.filter(has_rows);
        let mut bias = judge::bias::bias(&truth, &called, &of_row, &groups, reference)?;
        if let (Some(asked), None) = (asked, reference) {
            let (judging, largest) = (truth.len(), &bias.reference);
            notes.push(format!(
                "`reference_group: {asked}` has no rows among the {judging} that judge: groups are compared with the \
                 largest, `{largest}`"
            ));
        }
        if bias.keep_largest(GROUPS_MAX) {
            notes.push(format!(
                "the table of bias has the {GROUPS_MAX} groups with the most rows, and that they are compared with"
            ));
        }
        Ok(Some(bias))
    }

    fn importance(&self, fit: &Fit, rows: &Portion, threshold: Option<f64>) -> Result<Option<Importances>> {
        if !self.entry.task.has_target() {
            return Ok(None);
        }
        let features: Vec<importance::Feature> = fit
            .frame
            .ranges()
            .into_iter()
            .map(|(name, columns)| importance::Feature { name, columns })
            .collect();
        let effort = Effort { repeats: SHUFFLES, rows: SHUFFLED_ROWS, seed: self.spec.seed };
        let score = |x: ArrayView2<'_, f64>, places: &[usize]| {
            let answers = self.answers(fit, x)?;
            let truth = rows.truth.take(places);
            natural(&self.measures(&answers, &truth, || x.into(), threshold, None)?).ok_or_else(|| {
                Error::new(codes::PREDICTOR_DATA, "the target is the same in all rows that judge")
            })
        };
        match importance::importance(rows.x.view(), &features, effort, score) {
            Ok(importances) => Ok(Some(importances)),
            Err(error) if error.code() == codes::PREDICTOR_DATA => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn verdict(&self, predictor: &Predictor) -> Result<Verdict> {
        if self.spec.promote.is_none() {
            return Ok(Verdict::unasked());
        }
        if predictor.judged.on != JudgedOn::Test {
            return Ok(Verdict::unjudged());
        }
        let metric = self.metric()?;
        let own = predictor.judged.measures.as_ref().and_then(|measures| metric.of(measures));
        let classes = predictor.classes().len();
        if own.is_none() && classes > 2 && OF_TWO_CLASSES.contains(&metric.name) {
            return Ok(Verdict::of_other_classes(metric, classes));
        }
        let baselines = predictor.judged.baselines.iter();
        let baselines = baselines.filter(|baseline| compares(metric) && baseline.stands_for(metric));
        let baselines = baselines.map(|baseline| choice::Baseline {
            name: &baseline.name,
            value: metric.of(&baseline.measures),
            margin: baseline.margins.of(metric),
        });
        let baselines: Vec<choice::Baseline<'_>> = baselines.collect();
        let before = match self.lesson.before {
            Some(before) => Some(self.value_of(before, metric)?),
            None => None,
        };
        Ok(Verdict::of(metric, own, &baselines, before))
    }

    /// Whether another version may have learned from the rows that judge now. It did not if they were divided alike,
    /// and those that it left for its judgement begin no later than these, or are at least as large a share.
    fn may_know_the_test(&self, other: &LearnedFrom) -> bool {
        if other.split_by != self.split_by {
            return true;
        }
        match &self.moments {
            Some(moments) => {
                let first = self.parts.test.iter().map(|row| moments[*row]).min();
                let began = other.test_from.as_deref().and_then(|text| self.moment_of(text));
                began.zip(first).is_none_or(|(began, first)| began > first)
            }
            None => {
                let share = self.spec.split.test;
                match other.test_share {
                    Some(others) => others < share,
                    // Records of before tell rows: of a hash their share is about that which was asked.
                    None => {
                        let rows = (other.rows + other.rows_test).max(1) as f64;
                        let by_chance = DEVIATIONS * (share * (1.0 - share) / rows).sqrt();
                        other.rows_test as f64 / rows < share - by_chance
                    }
                }
            }
        }
    }

    /// A value of the column of the time that was written as text.
    fn moment_of(&self, text: &str) -> Option<i64> {
        let name = self.spec.time.as_ref()?;
        let to = self.rows.column_by_name(name)?.data_type();
        let value = cast(&StringArray::from(vec![text]), to).ok()?;
        moments(name, &value).ok()?.first().copied()
    }

    /// The measure of another version on the test rows, or why it cannot be judged by them.
    fn value_of(
        &self,
        other: &Predictor,
        metric: &judge::Metric,
    ) -> Result<std::result::Result<f64, String>> {
        let no = |why: &str| Ok(Err(why.to_owned()));
        if other.task != self.entry.task {
            return no("it answers another question");
        }
        if other.target.as_ref().map(|target| &target.name) != self.spec.target.as_ref() {
            return no("it has another target");
        }
        if self.may_know_the_test(&other.learned_from) {
            return no("its rows were split in another way, it may have learned from those that judge now");
        }
        let rows = rows_of(&self.rows, &self.parts.test)?;
        let scorer = Scorer::new(other.clone())?.with_threads(self.lesson.threads);
        let answered = scorer.output(&rows);
        let output = match answered {
            Ok(output) => output,
            Err(error) if error.code() == codes::PREDICTOR_DATA => return no(error.message()),
            Err(error) => return Err(error),
        };
        let output = match (output, &self.labels) {
            (Output::Probabilities(theirs), Labels::Classes { names, .. }) => {
                let mut all = Array2::zeros((theirs.nrows(), names.len()));
                for (column, class) in other.classes().iter().enumerate() {
                    // A class that no row has any more: its share goes to nobody.
                    if let Some(place) = names.iter().position(|name| name == class) {
                        all.column_mut(place).assign(&theirs.column(column));
                    }
                }
                Output::Probabilities(all)
            }
            (output, _) => output,
        };
        let threshold = other.target.as_ref().and_then(|target| target.threshold);
        let truth = self.labels.take(&self.parts.test);
        let measures = match (&output, truth) {
            (Output::Values(values), Labels::Values(truth)) => {
                judge::regression::regression(&truth, values).map(Measures::Regression)
            }
            (Output::Probabilities(rows), Labels::Classes { names, codes }) => {
                judge::classification::classification(&codes, names.len(), rows.view(), threshold)
                    .map(Measures::Classification)
            }
            _ => return no("its answers are of another kind"),
        };
        match measures {
            Ok(measures) => {
                Ok(metric.of(&measures).ok_or_else(|| format!("its `{}` is not defined", metric.name)))
            }
            // Such as an answer beyond all numbers, of a line far from what it learned from: no reason to learn nothing.
            Err(error) if error.code() == codes::PREDICTOR_DATA => no(error.message()),
            Err(error) => Err(error),
        }
    }
}

/// A measure of which 1 is the best: balanced accuracy, or R².
fn natural(measures: &Measures) -> Option<f64> {
    match measures {
        Measures::Classification(classes) => Some(classes.balanced_accuracy),
        Measures::Regression(numbers) => numbers.r2,
        _ => None,
    }
}

/// The rows in these places, which lie in memory as those of [`crate::frame::Frame::matrix`].
fn rows_in(x: &Array2<f64>, places: &[usize]) -> Array2<f64> {
    Array2::from_shape_fn((places.len(), x.ncols()).f(), |(row, column)| x[[places[row], column]])
}

/// The answers in these places.
pub(super) fn taken(answers: &Output, places: &[usize]) -> Output {
    fn pick<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
        places.iter().map(|place| all[*place].clone()).collect()
    }
    match answers {
        Output::Values(values) => Output::Values(pick(values, places)),
        Output::Probabilities(rows) => Output::Probabilities(rows.select(Axis(0), places)),
        Output::Components(rows) => Output::Components(rows.select(Axis(0), places)),
        Output::Groups(groups) => Output::Groups(pick(groups, places)),
        Output::Scores { scores, outliers } => {
            Output::Scores { scores: pick(scores, places), outliers: pick(outliers, places) }
        }
    }
}
