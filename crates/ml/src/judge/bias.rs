//! Whether a classifier of two classes treats groups of rows alike: the measures of Aequitas (Saleiro et al.,
//! "Aequitas: A Bias and Fairness Audit Toolkit", 2018), under its names.

use std::{cmp::Reverse, collections::BTreeSet};

use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{curve::Counts, numbers::ratio};

/// The measures of each group, and how they compare with those of one group, the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bias {
    /// The group with which the others are compared.
    pub reference: String,
    /// Rows.
    pub total_entities: u64,
    /// Rows of any group that were called positive.
    pub k: u64,
    /// Those that have rows; of many the largest, and the reference.
    pub groups: Vec<Group>,
}

/// Measures of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    pub name: String,
    /// Its rows.
    pub group_size: u64,
    /// Positive and called so.
    pub tp: u64,
    /// Negative and called positive.
    pub fp: u64,
    /// Negative and called so.
    pub tn: u64,
    /// Positive and called negative.
    #[serde(rename = "fn")]
    pub fn_: u64,
    /// Called positive.
    pub pp: u64,
    /// Called negative.
    pub pn: u64,
    pub rates: Rates,
    /// Each rate as a multiple of the reference's; not defined if the latter is 0 (Aequitas says 10).
    pub disparities: Rates,
}

/// Shares of rows; not defined where there are no rows to be a share of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// True positive rate, or recall: of the positive rows, those called so. `tp / (tp + fn)`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpr: Option<f64>,
    /// True negative rate: of the negative rows, those called so. `tn / (tn + fp)`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tnr: Option<f64>,
    /// False omission rate: of the rows called negative, those that are positive. `fn / pn`
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<f64>,
    /// False discovery rate: of the rows called positive, those that are negative. `fp / pp`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fdr: Option<f64>,
    /// False positive rate: of the negative rows, those called positive. `fp / (tn + fp)`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fpr: Option<f64>,
    /// False negative rate: of the positive rows, those called negative. `fn / (tp + fn)`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fnr: Option<f64>,
    /// Negative predictive value: of the rows called negative, those that are. `tn / pn`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npv: Option<f64>,
    /// Of the rows called positive, those that are. `tp / pp`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Predicted positive rate: of all rows called positive, those of this group. `pp / k`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppr: Option<f64>,
    /// Predicted prevalence: of the rows of this group, those called positive. `pp / group_size`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pprev: Option<f64>,
    /// Prevalence: of the rows of this group, those that are positive. `(tp + fn) / group_size`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<f64>,
}

/// Measures each group: for each row whether it is positive, whether it was called so, and the place of its group
/// in `names`. The reference is the group of that name, or the one with the most rows (of equals the first).
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] without rows or if the reference has none; a defect if lengths differ.
pub fn bias(
    truth: &[bool],
    called: &[bool],
    groups: &[u32],
    names: &[String],
    reference: Option<&str>,
) -> Result<Bias> {
    let lengths = truth.len() == called.len() && truth.len() == groups.len();
    if !lengths || groups.iter().any(|group| *group as usize >= names.len()) {
        return Err(Error::bug("the rows and the groups to compare do not fit together"));
    }
    let mut counts = vec![Counts { tp: 0, fp: 0, tn: 0, fn_: 0 }; names.len()];
    for ((truth, called), group) in truth.iter().zip(called).zip(groups) {
        let counts = &mut counts[*group as usize];
        let of = match (truth, called) {
            (true, true) => &mut counts.tp,
            (false, true) => &mut counts.fp,
            (false, false) => &mut counts.tn,
            (true, false) => &mut counts.fn_,
        };
        *of += 1;
    }
    let k = called.iter().filter(|called| **called).count() as u64;
    let mut measured: Vec<Group> = names
        .iter()
        .zip(counts)
        .map(|(name, counts)| Group::of(name, counts, k))
        .filter(|group| group.group_size > 0)
        .collect();
    let found = match reference {
        Some(name) => measured.iter().find(|group| group.name == name),
        None => measured.iter().rev().max_by_key(|group| group.group_size),
    };
    let Some(found) = found else {
        let name = reference.map_or_else(String::new, |name| format!(" of the group `{name}`"));
        let rows = truth.len();
        return Err(Error::new(
            codes::PREDICTOR_DATA,
            format!("there are no rows{name} among the {rows} rows to compare groups by"),
        )
        .hint("compare with a group that has rows"));
    };
    let (reference, rates) = (found.name.clone(), found.rates.clone());
    measured.iter_mut().for_each(|group| group.disparities = group.rates.compared(&rates));
    Ok(Bias { reference, total_entities: truth.len() as u64, k, groups: measured })
}

impl Bias {
    /// Leaves out all groups but the `most` largest (of equals the first) and the reference. Whether some were.
    pub(crate) fn keep_largest(&mut self, most: usize) -> bool {
        let mut sizes: Vec<(u64, usize)> =
            self.groups.iter().map(|group| group.group_size).zip(0..).collect();
        sizes.sort_by_key(|(size, place)| (Reverse(*size), *place));
        let kept: BTreeSet<usize> = sizes.into_iter().take(most).map(|(_, place)| place).collect();
        let (count, mut place) = (self.groups.len(), 0..);
        self.groups.retain(|group| {
            place.next().is_some_and(|place| kept.contains(&place)) || group.name == self.reference
        });
        self.groups.len() < count
    }
}

impl Group {
    fn of(name: &str, counts: Counts, k: u64) -> Self {
        let Counts { tp, fp, tn, fn_ } = counts;
        let (pp, pn) = (tp + fp, tn + fn_);
        let rates = Rates {
            tpr: ratio(tp, tp + fn_),
            tnr: ratio(tn, tn + fp),
            for_: ratio(fn_, pn),
            fdr: ratio(fp, pp),
            fpr: ratio(fp, tn + fp),
            fnr: ratio(fn_, tp + fn_),
            npv: ratio(tn, pn),
            precision: ratio(tp, pp),
            ppr: ratio(pp, k),
            pprev: ratio(pp, pp + pn),
            prev: ratio(tp + fn_, pp + pn),
        };
        let disparities = rates.compared(&rates);
        Self { name: name.to_owned(), group_size: pp + pn, tp, fp, tn, fn_, pp, pn, rates, disparities }
    }
}

impl Rates {
    /// The rates by their names, as Aequitas writes them.
    pub fn named(&self) -> [(&'static str, Option<f64>); 11] {
        [
            ("tpr", self.tpr),
            ("tnr", self.tnr),
            ("for", self.for_),
            ("fdr", self.fdr),
            ("fpr", self.fpr),
            ("fnr", self.fnr),
            ("npv", self.npv),
            ("precision", self.precision),
            ("ppr", self.ppr),
            ("pprev", self.pprev),
            ("prev", self.prev),
        ]
    }

    fn compared(&self, reference: &Rates) -> Rates {
        let times = |own: Option<f64>, other: Option<f64>| Some(own? / other.filter(|other| *other > 0.0)?);
        Rates {
            tpr: times(self.tpr, reference.tpr),
            tnr: times(self.tnr, reference.tnr),
            for_: times(self.for_, reference.for_),
            fdr: times(self.fdr, reference.fdr),
            fpr: times(self.fpr, reference.fpr),
            fnr: times(self.fnr, reference.fnr),
            npv: times(self.npv, reference.npv),
            precision: times(self.precision, reference.precision),
            ppr: times(self.ppr, reference.ppr),
            pprev: times(self.pprev, reference.pprev),
            prev: times(self.prev, reference.prev),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRUTH: [u8; 30] =
        [1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
    const CALLED: [u8; 30] =
        [1, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1];
    const GROUPS: [u32; 30] =
        [0, 0, 2, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 2, 0, 1, 1, 0, 0, 2, 0, 0, 2, 1, 0, 1, 0, 1];

    fn names() -> Vec<String> {
        ["a", "b", "c", "without rows"].map(str::to_owned).to_vec()
    }

    fn measured(reference: Option<&str>) -> Result<Bias> {
        bias(&TRUTH.map(|v| v == 1), &CALLED.map(|v| v == 1), &GROUPS, &names(), reference)
    }

    /// `Group().get_crosstabs` of Aequitas 1.1.0.
    #[test]
    fn groups_are_measured_as_by_aequitas() {
        let bias = measured(None).unwrap();
        assert_eq!((bias.reference.as_str(), bias.total_entities, bias.k), ("a", 30, 15));
        let counts = |g: &Group| [g.group_size, g.tp, g.fp, g.tn, g.fn_, g.pp, g.pn];
        let all: Vec<_> = bias.groups.iter().map(counts).collect();
        assert_eq!(all, [[16, 3, 5, 4, 4, 8, 8], [10, 5, 1, 4, 0, 6, 4], [4, 1, 0, 3, 0, 1, 3]]);
        let expected = [
            // tpr, tnr, for, fdr, fpr, fnr, npv, precision, ppr, pprev, prev
            [
                0.42857142857142855,
                0.4444444444444444,
                0.5,
                0.625,
                0.5555555555555556,
                0.5714285714285714,
                0.5,
                0.375,
                0.5333333333333333,
                0.5,
                0.4375,
            ],
            [1.0, 0.8, 0.0, 0.16666666666666666, 0.2, 0.0, 1.0, 0.8333333333333334, 0.4, 0.6, 0.5],
            [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.06666666666666667, 0.25, 0.25],
        ];
        for (group, expected) in bias.groups.iter().zip(expected) {
            assert_eq!(group.rates.named().map(|(_, rate)| rate.unwrap()), expected, "{}", group.name);
        }
    }

    #[test]
    fn groups_are_compared_with_the_reference() {
        let bias = measured(None).unwrap();
        assert!(bias.groups[0].disparities.named().iter().all(|(_, times)| *times == Some(1.0)));
        let b = &bias.groups[1].disparities;
        assert_eq!((b.pprev, b.fnr), (Some(0.6 / 0.5), Some(0.0)));
        assert!((b.tpr.unwrap() - 7.0 / 3.0).abs() < 1e-12);
        let bias = measured(Some("b")).unwrap();
        assert_eq!(bias.reference, "b");
        let disparities = &bias.groups[0].disparities;
        assert_eq!((disparities.fnr, disparities.for_), (None, None), "the reference has no false negatives");
        assert_eq!(disparities.pprev, Some(0.5 / 0.6));
        for name in ["without rows", "unknown"] {
            assert_eq!(measured(Some(name)).unwrap_err().code(), codes::PREDICTOR_DATA);
        }
        assert_eq!(super::bias(&[], &[], &[], &[], None).unwrap_err().code(), codes::PREDICTOR_DATA);
    }

    /// By hand, of 10 and 5 rows.
    #[test]
    fn rates_and_disparities_are_those_worked_out_by_hand() {
        let rows = |tp, fp, tn, fn_| {
            let each = [(true, true, tp), (false, true, fp), (false, false, tn), (true, false, fn_)];
            each.into_iter().flat_map(|(truth, called, times)| std::iter::repeat_n((truth, called), times))
        };
        let all: Vec<((bool, bool), u32)> =
            rows(3, 1, 4, 2).map(|row| (row, 0)).chain(rows(2, 1, 1, 1).map(|row| (row, 1))).collect();
        let truth: Vec<bool> = all.iter().map(|((truth, _), _)| *truth).collect();
        let called: Vec<bool> = all.iter().map(|((_, called), _)| *called).collect();
        let groups: Vec<u32> = all.iter().map(|(_, group)| *group).collect();
        let bias = bias(&truth, &called, &groups, &names(), Some("a")).unwrap();
        assert_eq!((bias.reference.as_str(), bias.total_entities, bias.k), ("a", 15, 7));
        let [a, b] = &bias.groups[..] else { panic!("{:?}", bias.groups) };
        let counts = |g: &Group| [g.group_size, g.tp, g.fp, g.tn, g.fn_, g.pp, g.pn];
        assert_eq!([counts(a), counts(b)], [[10, 3, 1, 4, 2, 4, 6], [5, 2, 1, 1, 1, 3, 2]]);
        let same = |rates: &Rates, expected: [(&str, f64); 11]| {
            for ((name, rate), (expected_name, expected)) in rates.named().into_iter().zip(expected) {
                assert_eq!(name, expected_name);
                assert!((rate.unwrap() - expected).abs() < 1e-12, "{name}: {rate:?} and {expected}");
            }
        };
        same(
            &a.rates,
            [
                ("tpr", 3.0 / 5.0),
                ("tnr", 4.0 / 5.0),
                ("for", 2.0 / 6.0),
                ("fdr", 1.0 / 4.0),
                ("fpr", 1.0 / 5.0),
                ("fnr", 2.0 / 5.0),
                ("npv", 4.0 / 6.0),
                ("precision", 3.0 / 4.0),
                ("ppr", 4.0 / 7.0),
                ("pprev", 4.0 / 10.0),
                ("prev", 5.0 / 10.0),
            ],
        );
        same(
            &b.rates,
            [
                ("tpr", 2.0 / 3.0),
                ("tnr", 1.0 / 2.0),
                ("for", 1.0 / 2.0),
                ("fdr", 1.0 / 3.0),
                ("fpr", 1.0 / 2.0),
                ("fnr", 1.0 / 3.0),
                ("npv", 1.0 / 2.0),
                ("precision", 2.0 / 3.0),
                ("ppr", 3.0 / 7.0),
                ("pprev", 3.0 / 5.0),
                ("prev", 3.0 / 5.0),
            ],
        );
        same(
            &b.disparities,
            [
                ("tpr", 10.0 / 9.0),
                ("tnr", 5.0 / 8.0),
                ("for", 3.0 / 2.0),
                ("fdr", 4.0 / 3.0),
                ("fpr", 5.0 / 2.0),
                ("fnr", 5.0 / 6.0),
                ("npv", 3.0 / 4.0),
                ("precision", 8.0 / 9.0),
                ("ppr", 3.0 / 4.0),
                ("pprev", 3.0 / 2.0),
                ("prev", 6.0 / 5.0),
            ],
        );
    }

    #[test]
    fn they_are_written_under_the_names_of_aequitas() {
        let bias = measured(None).unwrap();
        let value = serde_json::to_value(&bias).unwrap();
        let group = &value["groups"][0];
        assert_eq!((&group["fn"], &group["rates"]["for"]), (&4.into(), &0.5.into()));
        for (name, rate) in bias.groups[0].rates.named() {
            assert_eq!(group["rates"][name].as_f64(), rate, "{name}");
        }
        assert_eq!(serde_json::from_value::<Bias>(value).unwrap(), bias);
    }

    proptest! {
        #[test]
        fn measures_hold_together(
            rows in prop::collection::vec((any::<bool>(), any::<bool>(), 0u32..4), 1..60)
        ) {
            let truth: Vec<bool> = rows.iter().map(|row| row.0).collect();
            let called: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let groups: Vec<u32> = rows.iter().map(|row| row.2).collect();
            let bias = bias(&truth, &called, &groups, &names(), None).unwrap();
            prop_assert_eq!(bias.groups.iter().map(|g| g.group_size).sum::<u64>(), bias.total_entities);
            prop_assert_eq!(bias.groups.iter().map(|g| g.pp).sum::<u64>(), bias.k);
            let one = |a: Option<f64>, b: Option<f64>| a.is_none() && b.is_none()
                || (a.unwrap() + b.unwrap() - 1.0).abs() < 1e-12;
            for group in &bias.groups {
                let rates = &group.rates;
                prop_assert!(one(rates.tpr, rates.fnr) && one(rates.tnr, rates.fpr));
                prop_assert!(one(rates.precision, rates.fdr) && one(rates.npv, rates.for_));
                prop_assert!(rates.pprev.is_some() && rates.prev.is_some());
            }
            let largest = bias.groups.iter().map(|g| g.group_size).max();
            let reference = bias.groups.iter().find(|g| g.name == bias.reference).unwrap();
            prop_assert_eq!(Some(reference.group_size), largest);
        }
    }
}
