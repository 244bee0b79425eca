//! The versions of predictors: what there is, which is current, and changing that by hand.

use std::{collections::BTreeSet, ops::RangeInclusive};

use chrono::{DateTime, Utc};
use lagar_engine::suggest;
use lagar_flow::{Blame, Code, Error, Name, Result, codes};
use lagar_lake::{PredictorVersion, Release};
use lagar_ml::{JudgedOn, Predictor, Scorer};
use serde::Serialize;

use crate::{predictor, reader::Reader, workplace::Workplace};

/// A predictor of the lake or the project.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    pub name: Name,
    /// The version that `predict` asks.
    pub current: Option<u64>,
    pub versions: u64,
    /// Whether the newest version was found good enough.
    pub promoted: bool,
    /// Whether a person put another version, or none, in the place of the newest.
    pub set_aside: bool,
    pub algorithm: String,
    pub from: String,
    pub trained_at: Option<DateTime<Utc>>,
    /// The most telling measures of the current version (else the newest), by name.
    pub headline: Vec<(String, f64)>,
    /// Which rows these are measures of.
    pub judged_on: Option<JudgedOn>,
    /// Whether the project defines it.
    pub defined: bool,
    /// Why its record cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// One version.
#[derive(Debug, Clone)]
pub struct Shown {
    pub name: Name,
    pub current: Option<u64>,
    pub stored: PredictorVersion,
    pub predictor: Predictor,
    /// What the project says about it.
    pub description: Option<String>,
    pub versions: Vec<ListedVersion>,
}

/// A version among all that there are.
#[derive(Debug, Clone, Copy)]
pub struct ListedVersion {
    pub number: u64,
    /// `None`: its record cannot be read.
    pub trained_at: Option<DateTime<Utc>>,
    /// Whether it was found good enough.
    pub promoted: bool,
}

/// The predictors of the project and the lake, by name.
pub async fn list(workplace: &Workplace) -> Result<Vec<Listed>> {
    let release = workplace.lake.current_release().await?;
    let project = &workplace.project;
    let mut listed = Vec::new();
    for name in names(workplace).await? {
        let def = project.predictors.get(&name);
        let mut one = Listed {
            current: current(release.as_ref(), &name),
            versions: 0,
            promoted: false,
            set_aside: false,
            algorithm: def.map(|def| def.spec.algorithm.clone()).unwrap_or_default(),
            from: def.map(|def| def.spec.from.to_string()).unwrap_or_default(),
            trained_at: None,
            headline: Vec::new(),
            judged_on: None,
            defined: def.is_some(),
            damaged: None,
            name,
        };
        match read_into(workplace, &mut one, release.as_ref()).await {
            // It does not stand in the way of the others.
            Err(error) if error.blame() != Blame::Outside => one.damaged = Some(error.message().to_owned()),
            read => read?,
        }
        listed.push(one);
    }
    Ok(listed)
}

/// What the lake knows of a predictor.
async fn read_into(workplace: &Workplace, one: &mut Listed, release: Option<&Release>) -> Result<()> {
    let Some(newest) = workplace.lake.newest_predictor(&one.name).await? else { return Ok(()) };
    (one.versions, one.promoted) = (newest.number, newest.promoted);
    one.set_aside = release.is_some_and(|release| release.sets_aside(&one.name, newest.number));
    let shown = match one.current {
        Some(number) if number != newest.number => workplace.lake.predictor(&one.name, number).await?,
        _ => newest,
    };
    one.trained_at = Some(shown.created_at);
    let predictor = predictor::read(&one.name, &shown)?;
    one.headline = predictor.judged.headline();
    one.judged_on = Some(predictor.judged.on);
    (one.algorithm, one.from) = (predictor.algorithm, predictor.learned_from.table);
    Ok(())
}

/// Version `number` of `name`; without a number the current one, else the newest.
///
/// # Errors
/// [`codes::USAGE`] if there is none.
pub async fn show(workplace: &Workplace, name: &str, number: Option<u64>) -> Result<Shown> {
    let name = known(workplace, name).await?;
    let release = workplace.lake.current_release().await?;
    let current = current(release.as_ref(), &name);
    let numbers = workplace.lake.predictor_numbers(&name).await?;
    let wanted = number.or(current).or(numbers.as_ref().map(|numbers| *numbers.end()));
    let stored = stored(workplace, &name, wanted, numbers.as_ref()).await?;
    let predictor = predictor::read(&name, &stored)?;
    let mut versions = Vec::new();
    for number in numbers.into_iter().flatten() {
        // A damaged one does not stand in the way of the others.
        let read = match workplace.lake.predictor(&name, number).await {
            Err(error) if error.blame() != Blame::Outside => None,
            read => Some(read?),
        };
        versions.push(ListedVersion {
            number,
            trained_at: read.as_ref().map(|read| read.created_at),
            promoted: read.is_some_and(|read| read.promoted),
        });
    }
    let description = workplace.project.predictors.get(&name).and_then(|def| def.spec.description.clone());
    Ok(Shown { name, current, stored, predictor, description, versions })
}

/// The version that is shown, ready to be asked for rows.
///
/// # Errors
/// [`codes::PREDICTOR_STORED`], with the name: what was stored does not fit together; [`codes::CONFIG`] for forecasts.
pub fn scorer(shown: &Shown) -> Result<Scorer> {
    predictor::scorer(&shown.name, shown.stored.number, shown.predictor.clone())
}

/// Whether a table has the columns that a predictor asks for.
///
/// # Errors
/// [`codes::USAGE`]: those that it lacks, and those that it has; [`codes::SQL_UNKNOWN_TABLE`]: there is no such table.
pub async fn check_table(workplace: &Workplace, shown: &Shown, table: &str) -> Result<()> {
    let columns = Reader::open(workplace).await?.columns(table).await?;
    let features = shown.predictor.frame.iter().flat_map(|frame| &frame.features);
    let names = features.map(|feature| feature.name.as_str());
    let lacks: Vec<String> = names
        .filter(|name| columns.column_with_name(name).is_none())
        .map(|name| format!("`{name}`"))
        .collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let of_table: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    let what = format!("`{table}` has no column {}, for which `{}` asks", lacks.join(", "), shown.name);
    Err(Error::new(codes::USAGE, what).hint(format!("its columns are {}", of_table.join(", "))))
}

/// Makes version `number` of `name` current: a release with the same tables.
///
/// # Errors
/// [`codes::USAGE`] if there is no such version, or it is current; [`codes::LAKE_CONFLICT`] if another release was
/// first.
pub async fn promote(workplace: &Workplace, name: &str, number: u64) -> Result<Release> {
    let name = known(workplace, name).await?;
    let before = workplace.lake.current_release().await?;
    instead(workplace, name, number, before).await
}

/// A release after `before` in which version `number` of `name` is current.
async fn instead(workplace: &Workplace, name: Name, number: u64, before: Option<Release>) -> Result<Release> {
    // After the release: whatever is set aside for good was there when a person chose.
    let numbers = workplace.lake.predictor_numbers(&name).await?;
    let there = stored(workplace, &name, Some(number), numbers.as_ref()).await?;
    // What cannot answer should not be asked.
    predictor::sound(&name, &there)?;
    if current(before.as_ref(), &name) == Some(number) {
        return Err(Error::new(codes::USAGE, format!("version {number} of `{name}` is the current one")));
    }
    let mut contents = before.as_ref().map(Release::contents).unwrap_or_default();
    if let Some(numbers) = numbers {
        contents.set_aside.insert(name.clone(), *numbers.end());
    }
    contents.predictors.insert(name, number);
    let run_id = uuid::Uuid::now_v7().to_string();
    workplace.lake.publish(before.map(|before| before.number), contents, &run_id, None).await
}

/// Makes the version that was current before this one current again; which that is, and the release.
///
/// # Errors
/// [`codes::USAGE`] if there was none before.
pub async fn rollback(workplace: &Workplace, name: &str) -> Result<(u64, Release)> {
    let name = known(workplace, name).await?;
    let mut releases = workplace.lake.releases().await?;
    let now = current(releases.last(), &name);
    let mut before = releases.iter().rev().filter_map(|release| current(Some(release), &name));
    match before.find(|number| Some(*number) != now) {
        // Another one that was released meanwhile is not what is to be taken back.
        Some(number) => Ok((number, instead(workplace, name, number, releases.pop()).await?)),
        None => Err(Error::new(codes::USAGE, format!("no other version of `{name}` was ever current"))
            .hint("`lagar predictors promote NAME VERSION` makes any version current")),
    }
}

fn current(release: Option<&Release>, name: &Name) -> Option<u64> {
    release.and_then(|release| release.predictors.get(name).copied())
}

/// Those of the project and those of the lake.
pub(crate) async fn names(workplace: &Workplace) -> Result<BTreeSet<Name>> {
    let mut names: BTreeSet<Name> = workplace.project.predictors.keys().cloned().collect();
    names.extend(workplace.lake.predictors().await?);
    Ok(names)
}

/// None of `names` is the one that was asked.
pub(crate) fn unknown(code: Code, asked: &str, names: &BTreeSet<Name>) -> Error {
    let error = Error::new(code, format!("there is no predictor `{asked}`"));
    match suggest::hint(asked, names.iter().map(Name::as_str)) {
        Some(hint) => error.hint(hint),
        None => error.hint("`predictors` in lagar.yaml defines them"),
    }
}

/// # Errors
/// [`codes::USAGE`]: nobody has heard of it.
async fn known(workplace: &Workplace, name: &str) -> Result<Name> {
    let names = names(workplace).await?;
    let found = names.iter().find(|known| known.as_str() == name).cloned();
    found.ok_or_else(|| unknown(codes::USAGE, name, &names))
}

/// Version `number`, of those that there are; nothing of the others is read.
///
/// # Errors
/// [`codes::USAGE`]: there is no such version.
async fn stored(
    workplace: &Workplace,
    name: &Name,
    number: Option<u64>,
    numbers: Option<&RangeInclusive<u64>>,
) -> Result<PredictorVersion> {
    match number.filter(|number| numbers.is_some_and(|numbers| numbers.contains(number))) {
        Some(number) => workplace.lake.predictor(name, number).await,
        None => Err(no_version(name, number, numbers)),
    }
}

fn no_version(name: &Name, number: Option<u64>, numbers: Option<&RangeInclusive<u64>>) -> Error {
    let error = match number {
        Some(number) => Error::new(codes::USAGE, format!("there is no version {number} of `{name}`")),
        None => Error::new(codes::USAGE, format!("`{name}` was never trained")),
    };
    match numbers {
        None => error.hint(format!("train it: lagar predictors train {name}")),
        Some(numbers) if numbers.start() == numbers.end() => {
            error.hint(format!("its only version is {}", numbers.end()))
        }
        Some(numbers) => error.hint(format!("its versions are {} to {}", numbers.start(), numbers.end())),
    }
}
