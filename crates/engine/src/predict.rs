//! `predict('name')`, `predict_proba('name')` and `forecast('name')` in SQL.
//!
//! A call names the predictor only; its features come from the row by their names. So the text is changed before it
//! is planned: `predict('p')` becomes a function of its own for this predictor, called with the feature columns.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt64Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    catalog::{MemTable, TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{DataFusionError, Result as DfResult, ScalarValue, plan_err},
    logical_expr::{
        ColumnarValue, Expr as PlannedExpr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility,
    },
    sql::{
        parser::Statement,
        sqlparser::{
            ast::{
                self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
                ObjectNamePart, Spanned, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
            },
            tokenizer::Span,
        },
    },
};
use lagar_flow::{Error, Name, Result, codes, type_word};
use lagar_ml::{Forecasts, Question, Scorer, frame::Kind, predictor::fits};

use crate::{
    sql::{Spot, normalized},
    suggest,
};

const PREDICT: &str = "predict";
const PREDICT_PROBA: &str = "predict_proba";
pub(crate) const FORECAST: &str = "forecast";

/// A predictor as a session knows it.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Version `version`, which answers for rows, and keeps some of those that it was asked for in `seen`.
    Rows { version: u64, scorer: Arc<Scorer>, seen: Arc<Seen> },
    /// Version `version`, which made forecasts.
    Series { version: u64, forecasts: Arc<Forecasts> },
    /// It has learned nothing yet: only what it will read and answer is known, for planning.
    Planned {
        features: Vec<PlannedFeature>,
        /// The classes that it will tell apart: none if it is no classifier; `None` while nobody knows them.
        classes: Option<Vec<String>>,
        answer: DataType,
        probability: Probability,
    },
    /// The same of one that will make forecasts, `horizon` steps ahead.
    PlannedSeries { columns: SchemaRef, horizon: Option<usize> },
}

impl Asked {
    /// The columns of a row that it reads; of forecasts none.
    fn features(&self) -> Vec<PlannedFeature> {
        match self {
            Asked::Rows { scorer, .. } => {
                let features = scorer.features().iter();
                features
                    .map(|feature| PlannedFeature { name: feature.name.clone(), kind: Some(feature.kind) })
                    .collect()
            }
            Asked::Planned { features, .. } => features.clone(),
            Asked::Series { .. } | Asked::PlannedSeries { .. } => Vec::new(),
        }
    }
}

/// A column that a predictor will read, and of what kind it is where that can be learned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFeature {
    pub name: String,
    pub kind: Option<Kind>,
}

/// The answer to `predict_proba`, as far as it is known before anything is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probability {
    /// It has none.
    None,
    /// Its type.
    Typed(DataType),
    /// Its type hangs on how many classes there are, which nobody knows yet.
    Unknown,
}

/// Some of the rows that a predictor was asked for: of each batch some, as by chance, so that rows that lie in an
/// order are not all of one kind. Each row once, also if two calls ask for it.
#[derive(Debug, Default)]
pub struct Seen(Mutex<SeenRows>);

#[derive(Debug, Default)]
struct SeenRows {
    /// The call whose rows are kept.
    call: Option<String>,
    batches: Vec<RecordBatch>,
}

/// Rows of a batch that are kept, and of all together.
const SEEN_OF_BATCH: usize = 256;
const SEEN_MAX: usize = 100_000;

impl Seen {
    fn add(&self, call: &str, rows: &RecordBatch) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.call.get_or_insert_with(|| call.to_owned()) == call;
        if !first || seen.batches.len() * SEEN_OF_BATCH >= SEEN_MAX {
            return;
        }
        let one_in = (rows.num_rows() / SEEN_OF_BATCH).max(1) as u64;
        let by_chance = |row: &u64| {
            (row.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).is_multiple_of(one_in)
        };
        let kept: UInt64Array = (0..rows.num_rows() as u64).filter(by_chance).collect::<Vec<_>>().into();
        // What is looked at later is a sample: without these rows it is a smaller one.
        let kept = take_record_batch(rows, &kept).ok();
        seen.batches.extend(kept);
    }

    /// The rows that were kept, as one batch with the features by name; `None` if it was asked for none.
    pub fn rows(&self) -> Option<RecordBatch> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        concat_batches(&seen.batches.first()?.schema(), seen.batches.iter()).ok()
    }
}

/// A predictor that a query names, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedPredictor {
    pub spot: Spot,
    pub name: String,
}

/// What the calls of a statement need to be planned.
#[derive(Default)]
pub(crate) struct Functions {
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// Predictors by name, if `forecast` is called.
    pub forecast: Option<Arc<dyn TableFunctionImpl>>,
    /// Where rows are asked, and how that call is shown.
    calls: Vec<(Spot, String)>,
}

impl Functions {
    pub fn is_empty(&self) -> bool {
        self.scalar.is_empty() && self.forecast.is_none()
    }

    /// What planning said of columns that nobody wrote: the features of a call.
    pub fn explain(&self, error: Error) -> Error {
        let explained = error.each().map(|error| {
            let spot = error.place().map(|place| (place.line, place.column));
            let call = self.calls.iter().find(|(at, _)| Some(*at) == spot);
            match (call, error.alone()) {
                (Some((_, shown)), error) if error.code() == codes::SQL_UNKNOWN_COLUMN => {
                    let needs = "it needs the features that it learned from, as columns of the row";
                    let hint = error.hint_text().unwrap_or(needs).to_owned();
                    error.context(shown.clone()).hint(hint)
                }
                (Some((_, shown)), error) if error.code() == codes::SQL_PLAN => error.context(shown.clone()).hint(
                    "features are taken by their names: ask in a SELECT over a subquery that has each of them once",
                ),
                (_, error) => error,
            }
        });
        Error::all(explained.collect::<Vec<_>>()).unwrap_or(error)
    }
}

/// The predictors that a statement names, in the order of the text. A call without a name is told when it is
/// planned.
pub(crate) fn named(statement: &Statement) -> Vec<NamedPredictor> {
    let mut found = Vec::new();
    let mut walk = Walk {
        on_call: &mut |call| {
            if let (Some(Ok(name)), spot) = (call.name(), call.spot()) {
                found.push(NamedPredictor { spot, name });
            }
            Ok(())
        },
        error: None,
    };
    // The walk changes what it is told to, and is told nothing.
    let _ = walk.statement(&mut statement.clone());
    found.sort();
    found.dedup();
    found
}

/// Whether a predictor is asked in `expr`.
pub(crate) fn is_asked_in(expr: &Expr) -> bool {
    let mut is_asked = false;
    let mut on_call = |_: Call<'_>| {
        is_asked = true;
        Ok(())
    };
    let mut walk = Walk { on_call: &mut on_call, error: None };
    // The walk changes what it is told to, and is told nothing.
    let _ = VisitMut::visit(&mut expr.clone(), &mut walk);
    is_asked
}

/// Puts the functions of the named predictors in the place of the calls.
///
/// # Errors
/// [`codes::SQL_PLAN`]: a call that is not `predict('name')`; [`codes::SQL_UNKNOWN_TABLE`]: there is no such predictor.
/// With their places.
pub(crate) fn replace(statement: &mut Statement, known: &BTreeMap<Name, Asked>) -> Result<Functions> {
    refuse_renamed_features(statement, known)?;
    let mut functions = Functions::default();
    let mut on_call = |call: Call<'_>| -> Result<()> {
        let spot = call.spot();
        one(call, known, &mut functions).map_err(|error| error.at("", spot.0, spot.1))
    };
    let mut walk = Walk { on_call: &mut on_call, error: None };
    match walk.statement(statement) {
        ControlFlow::Continue(()) => Ok(functions),
        ControlFlow::Break(()) => Err(walk.error.unwrap_or_else(|| Error::bug("a walk broke off"))),
    }
}

/// In ORDER BY, HAVING, QUALIFY and DISTINCT ON a name is first that of a result: of `SELECT abs(x) AS x FROM t ORDER BY
/// predict('p')` the predictor would be asked for `abs(x)` where it learned from `x`, without a word.
///
/// # Errors
/// [`codes::SQL_PLAN`], with the place of the call.
fn refuse_renamed_features(statement: &Statement, known: &BTreeMap<Name, Asked>) -> Result<()> {
    let found = match statement {
        Statement::Statement(statement) => statement.as_ref().visit(&mut RenamedFeatures { known }),
        Statement::Explain(explain) => return refuse_renamed_features(&explain.statement, known),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => return Ok(()),
    };
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct RenamedFeatures<'a> {
    known: &'a BTreeMap<Name, Asked>,
}

impl Visitor for RenamedFeatures<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
        let ast::SetExpr::Select(select) = query.body.as_ref() else { return ControlFlow::Continue(()) };
        let relations: Vec<String> = select.from.iter().flat_map(relations_of).collect();
        let results = select.projection.iter().flat_map(|item| new_names(item, &relations)).collect();
        let mut calls = CallsBeside { depth: 0, predictors: self, results };
        query.order_by.visit(&mut calls)?;
        select.having.visit(&mut calls)?;
        select.qualify.visit(&mut calls)?;
        select.distinct.visit(&mut calls)
    }
}

/// The calls beside the list of a SELECT, without those of queries inside, which have results of their own.
struct CallsBeside<'a> {
    depth: usize,
    predictors: &'a RenamedFeatures<'a>,
    results: Vec<String>,
}

impl Visitor for CallsBeside<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match expr {
            Expr::Function(function) if self.depth == 0 => self.predictors.renamed(function, &self.results),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The names by which columns of a table are written.
fn relations_of(from: &ast::TableWithJoins) -> Vec<String> {
    let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    let named = factors.filter_map(|factor| match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(normalized(&alias.name))
        }
        TableFactor::Table { name, .. } => match name.0.last()? {
            ObjectNamePart::Identifier(name) => Some(normalized(name)),
            ObjectNamePart::Function(_) => None,
        },
        _ => None,
    });
    named.collect()
}

/// The names that results get which are not the columns of these names.
fn new_names(item: &ast::SelectItem, relations: &[String]) -> Vec<String> {
    let (expr, alias) = match item {
        ast::SelectItem::ExprWithAlias { expr, alias } => (expr, alias),
        ast::SelectItem::Wildcard(options) | ast::SelectItem::QualifiedWildcard(_, options) => {
            let replaced = options.opt_replace.iter().flat_map(|replace| &replace.items);
            return replaced.map(|item| normalized(&item.column_name)).collect();
        }
        _ => return Vec::new(),
    };
    let column = match expr {
        Expr::Identifier(column) => Some(column),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            // Of a column that is a struct it would be a part.
            [.., relation, column] if relations.contains(&normalized(relation)) => Some(column),
            _ => None,
        },
        _ => None,
    };
    let name = normalized(alias);
    if column.map(normalized).as_ref() == Some(&name) { Vec::new() } else { vec![name] }
}

impl RenamedFeatures<'_> {
    /// Whether `function` asks a predictor for a column that one of `results` is called like.
    fn renamed(&self, function: &ast::Function, results: &[String]) -> ControlFlow<Error> {
        let name = arguments(function).first().and_then(text_of).and_then(|name| name.parse::<Name>().ok());
        let asked =
            name.as_ref().filter(|_| scalar_of(function).is_some()).and_then(|name| self.known.get(name));
        let (Some(name), Some(asked)) = (name, asked) else { return ControlFlow::Continue(()) };
        let features = asked.features();
        let Some(feature) = features.iter().find(|feature| results.contains(&feature.name)) else {
            return ControlFlow::Continue(());
        };
        let feature = &feature.name;
        let what = format!(
            "`{name}` learned from `{feature}`, and a result of this SELECT is called `{feature}` too"
        );
        let hint = "give one of them another name, or ask in the list of the SELECT, as `predict('NAME') AS answer`, \
                    and go by `answer`";
        let start = function.name.span().start;
        ControlFlow::Break(Error::new(codes::SQL_PLAN, what).hint(hint).at(
            "",
            start.line as usize,
            start.column as usize,
        ))
    }
}

/// Which of the functions of a row it is.
fn scalar_of(function: &ast::Function) -> Option<&'static str> {
    let called = match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => normalized(name),
        _ => return None,
    };
    [PREDICT, PREDICT_PROBA].into_iter().find(|name| *name == called)
}

/// A call, as it stands in the text.
enum Call<'a> {
    Scalar { name: &'static str, function: &'a mut ast::Function },
    Table { args: &'a [FunctionArg], span: Span },
}

impl Call<'_> {
    /// The first argument, if there is one and it is a text.
    fn name(&self) -> Option<std::result::Result<String, ()>> {
        let args = match self {
            Call::Scalar { function, .. } => arguments(function),
            Call::Table { args, .. } => args,
        };
        args.first().map(|arg| text_of(arg).map(str::to_owned).ok_or(()))
    }

    fn spot(&self) -> Spot {
        let span = match self {
            Call::Scalar { function, .. } => function.name.span(),
            Call::Table { span, .. } => *span,
        };
        (span.start.line as usize, span.start.column as usize)
    }
}

fn arguments(function: &ast::Function) -> &[FunctionArg] {
    match &function.args {
        FunctionArguments::List(list) => &list.args,
        _ => &[],
    }
}

fn text_of(arg: &FunctionArg) -> Option<&str> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

struct Walk<'a> {
    on_call: &'a mut dyn FnMut(Call<'_>) -> Result<()>,
    error: Option<Error>,
}

impl Walk<'_> {
    fn statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        match statement {
            Statement::Statement(statement) => VisitMut::visit(statement.as_mut(), self),
            Statement::Explain(explain) => self.statement(&mut explain.statement),
            Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {
                ControlFlow::Continue(())
            }
        }
    }

    fn told(&mut self, call: Call<'_>) -> ControlFlow<()> {
        match (self.on_call)(call) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl VisitorMut for Walk<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        match scalar_of(function) {
            Some(name) => self.told(Call::Scalar { name, function }),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(args), .. }
                if name.to_string().eq_ignore_ascii_case(FORECAST) =>
            {
                self.told(Call::Table { args: &args.args, span: name.span() })
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn one(call: Call<'_>, known: &BTreeMap<Name, Asked>, functions: &mut Functions) -> Result<()> {
    let spot = call.spot();
    let function_name = match &call {
        Call::Scalar { name, .. } => name,
        Call::Table { .. } => FORECAST,
    };
    let wrong = |what: &str| {
        Error::new(codes::SQL_PLAN, format!("`{function_name}` {what}"))
            .hint(format!("write {function_name}('NAME'): the features come from the row by their names"))
    };
    let name = match call.name() {
        None => return Err(wrong("needs the name of a predictor")),
        Some(Err(())) => return Err(wrong("takes the name of a predictor as a text")),
        Some(Ok(name)) => name,
    };
    let found = name.parse::<Name>().ok().and_then(|name| known.get(&name));
    let asked = found.ok_or_else(|| {
        let error = Error::new(codes::SQL_UNKNOWN_TABLE, format!("there is no predictor `{name}`"));
        match suggest::hint(&name, known.keys().map(Name::as_str)) {
            Some(hint) => error.hint(hint),
            None => error.hint("`lagar predictors list` lists them"),
        }
    })?;
    match (call, asked) {
        (Call::Table { .. }, Asked::Series { .. } | Asked::PlannedSeries { .. }) => {
            functions.forecast = Some(Arc::new(ForecastFunction { known: known.clone() }));
            Ok(())
        }
        (Call::Table { .. }, _) => {
            let what = format!("`{name}` makes no forecasts");
            Err(Error::new(codes::SQL_PLAN, what).hint(format!("ask it for a row: predict('{name}')")))
        }
        (Call::Scalar { .. }, Asked::Series { .. } | Asked::PlannedSeries { .. }) => {
            let what = format!("`{name}` makes forecasts");
            Err(Error::new(codes::SQL_PLAN, what)
                .hint(format!("read them: SELECT * FROM forecast('{name}')")))
        }
        (Call::Scalar { name: function_name, function }, asked) => {
            if is_more_than_a_call(function) {
                return Err(wrong(
                    "is asked of each row by itself: OVER, FILTER, DISTINCT and the like say nothing here",
                ));
            }
            let class = match arguments(function) {
                [_] => None,
                [_, class] if function_name == PREDICT_PROBA => {
                    Some(text_of(class).ok_or_else(|| wrong("takes a class as a text"))?.to_owned())
                }
                _ => return Err(wrong("takes nothing but a name")),
            };
            let question = match function_name {
                PREDICT => Question::Answer,
                _ => Question::Probability,
            };
            let made = Predict::new(&name, question, class, asked)?;
            functions.calls.push((spot, made.shown.clone()));
            call_with_features(function, &made);
            functions.scalar.push(Arc::new(ScalarUDF::from(made)));
            Ok(())
        }
    }
}

/// Whether it is written as a window or an aggregate: what these add would be passed over.
fn is_more_than_a_call(function: &ast::Function) -> bool {
    let in_brackets = match &function.args {
        FunctionArguments::List(list) => list.duplicate_treatment.is_some() || !list.clauses.is_empty(),
        _ => false,
    };
    in_brackets
        || function.over.is_some()
        || function.filter.is_some()
        || function.null_treatment.is_some()
        || !function.within_group.is_empty()
}

/// Changes the call to one of `made` with the feature columns, all at the place of the call.
fn call_with_features(function: &mut ast::Function, made: &Predict) {
    let span = function.name.span();
    function.name =
        ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote_and_span('"', span, &made.name))]);
    if let FunctionArguments::List(list) = &mut function.args {
        let column = |feature: &PlannedFeature| {
            let column = Expr::Identifier(Ident::with_quote_and_span('"', span, &feature.name));
            FunctionArg::Unnamed(FunctionArgExpr::Expr(column))
        };
        list.args = made.features.iter().map(column).collect();
    }
}

/// The function of one predictor and question.
#[derive(Debug)]
pub(crate) struct Predict {
    /// Unlike any that can be written: `predict:NAME`.
    name: String,
    shown: String,
    question: Question,
    /// Of several classes the one whose probability is asked.
    class: Option<String>,
    features: Vec<PlannedFeature>,
    returns: DataType,
    /// `None`: only planned.
    scorer: Option<Arc<Scorer>>,
    seen: Arc<Seen>,
    version: u64,
    signature: Signature,
}

/// [`codes::TABLE_MISSING`], as of other things that will be known after a run.
fn not_trained(predictor: &str) -> Error {
    let what = format!("how many classes `{predictor}` tells apart is known when it was trained");
    Error::new(codes::TABLE_MISSING, what)
        .hint(format!("`lagar run` trains it; predict_proba('{predictor}', 'CLASS') is a number in any case"))
}

impl Predict {
    fn new(predictor: &str, question: Question, class: Option<String>, asked: &Asked) -> Result<Self> {
        let function = if question == Question::Answer { PREDICT } else { PREDICT_PROBA };
        let mut seen_by = Arc::default();
        let features = asked.features();
        let (returns, scorer, version) = match asked {
            Asked::Rows { version, scorer, seen } => {
                seen_by = seen.clone();
                (scorer.answer_type(question)?, Some(scorer.clone()), *version)
            }
            Asked::Planned { answer, probability, .. } => {
                let returns = match (question, probability) {
                    (Question::Answer, _) => answer.clone(),
                    (Question::Probability, Probability::Typed(data_type)) => data_type.clone(),
                    (Question::Probability, Probability::Unknown) if class.is_some() => DataType::Float64,
                    (Question::Probability, Probability::Unknown) => return Err(not_trained(predictor)),
                    (Question::Probability, Probability::None) => {
                        let what = format!("`{predictor}` has no probabilities");
                        return Err(Error::new(codes::SQL_PLAN, what)
                            .hint(format!("ask it with predict('{predictor}')")));
                    }
                };
                (returns, None, 0)
            }
            Asked::Series { .. } | Asked::PlannedSeries { .. } => {
                return Err(Error::bug("a forecast is no function of a row"));
            }
        };
        let classes = match asked {
            Asked::Rows { scorer, .. } => Some(scorer.predictor().classes()),
            Asked::Planned { classes, .. } => classes.as_deref(),
            Asked::Series { .. } | Asked::PlannedSeries { .. } => None,
        };
        if let (Some(class), Some(classes)) = (&class, classes)
            && !classes.contains(class)
        {
            let error = Error::new(codes::SQL_PLAN, format!("`{predictor}` knows no class `{class}`"));
            return Err(match classes {
                [] => error.hint(format!("ask for its one number: {function}('{predictor}')")),
                classes => error.hint(format!("its classes are {}", classes.join(", "))),
            });
        }
        let of_class = class.as_ref().map(|class| format!(":{class}")).unwrap_or_default();
        let argument = class.as_ref().map(|class| format!(", '{class}'")).unwrap_or_default();
        Ok(Self {
            name: format!("{function}:{predictor}{of_class}"),
            shown: format!("{function}('{predictor}'{argument})"),
            returns: if class.is_some() { DataType::Float64 } else { returns },
            signature: match features.len() {
                0 => Signature::nullary(Volatility::Immutable),
                features => Signature::any(features, Volatility::Immutable),
            },
            question,
            class,
            features,
            scorer,
            seen: seen_by,
            version,
        })
    }

    fn answer(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let scorer = self.scorer.as_ref().ok_or_else(|| {
            Error::new(codes::PREDICTOR_STORED, format!("{}: nothing was learned yet", self.shown))
                .hint("`lagar run` trains it")
        })?;
        self.seen.add(&self.name, rows);
        let answer = match &self.class {
            Some(class) => scorer.probability_of(class, rows),
            None => scorer.answer(self.question, rows),
        };
        answer.map_err(|error| error.context(self.shown.clone()))
    }
}

impl Predict {
    fn same(&self) -> (&str, u64, bool) {
        (&self.name, self.version, self.scorer.is_some())
    }
}

impl PartialEq for Predict {
    fn eq(&self, other: &Self) -> bool {
        self.same() == other.same()
    }
}

impl Eq for Predict {}

impl Hash for Predict {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.same().hash(state);
    }
}

impl ScalarUDFImpl for Predict {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema_name(&self, _: &[PlannedExpr]) -> DfResult<String> {
        Ok(self.shown.clone())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<Arc<Field>> {
        for (feature, field) in self.features.iter().zip(args.arg_fields) {
            if let Some(kind) = feature.kind
                && !fits(kind, field.data_type())
            {
                return plan_err!(
                    "{}: the feature `{}` {} {}, and has the type {} here",
                    self.shown,
                    feature.name,
                    if self.scorer.is_some() { "was" } else { "is learned as" },
                    kind.said(),
                    type_word(field.data_type())
                );
            }
        }
        Ok(Arc::new(Field::new(self.name(), self.returns.clone(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns: Vec<ArrayRef> =
            args.args.into_iter().map(|value| value.into_array(rows)).collect::<DfResult<_>>()?;
        let fields = self.features.iter().zip(&columns);
        let fields: Vec<Field> = fields
            .map(|(feature, column)| Field::new(&feature.name, column.data_type().clone(), true))
            .collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let answer = self.answer(&batch).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Array(answer))
    }
}

/// `forecast('name' [, horizon])`: the next values of each series, with their interval.
#[derive(Debug)]
struct ForecastFunction {
    known: BTreeMap<Name, Asked>,
}

impl TableFunctionImpl for ForecastFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> DfResult<Arc<dyn TableProvider>> {
        let literal = |at: usize| match args.exprs().get(at) {
            Some(PlannedExpr::Literal(value, _)) => Some(value.clone()),
            _ => None,
        };
        let name = match literal(0) {
            Some(ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name))) => name,
            _ => return plan_err!("`forecast` takes the name of a predictor as a text"),
        };
        let horizon = match (args.exprs().len(), literal(1)) {
            (1, _) => None,
            (2, Some(ScalarValue::Int64(Some(horizon)))) if horizon > 0 => Some(horizon as usize),
            _ => return plan_err!("`forecast('NAME', HORIZON)`: the horizon is a whole number from 1"),
        };
        let asked = name.parse::<Name>().ok().and_then(|name| self.known.get(&name));
        match asked {
            Some(Asked::Series { forecasts, .. }) => {
                let batch = forecasts.batch(horizon).map_err(|error| {
                    DataFusionError::External(Box::new(error.context(format!("forecast('{name}')"))))
                })?;
                Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
            }
            Some(Asked::PlannedSeries { columns, horizon: made }) => {
                if let (Some(horizon), Some(made)) = (horizon, made)
                    && horizon > *made
                {
                    return plan_err!(
                        "forecast('{name}'): {horizon} steps are asked, and {made} will be made"
                    );
                }
                Ok(Arc::new(MemTable::try_new(columns.clone(), vec![vec![]])?))
            }
            _ => plan_err!("`{name}` makes no forecasts"),
        }
    }
}
