//! The engine of a run, and sessions: names bound to tables, queries over them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList,
        MemorySchemaProvider, TableProvider,
    },
    common::{DataFusionError, config::SpillCompression},
    datasource::ViewTable,
    execution::{
        FunctionRegistry, SessionState, SessionStateBuilder, object_store::ObjectStoreUrl,
        runtime_env::RuntimeEnv,
    },
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
    optimizer::{Optimizer, OptimizerRule},
    prelude::SessionConfig,
    sql::parser::Statement,
};
use lagar_flow::{Error, Name, Result, TableName, Zone, codes};
use lagar_lake::{DataFile, Lake, LeftOut, Manifest, Table, delta_schema};
use object_store::ObjectStore;

use crate::{
    across::looks_across,
    answers_last::AnswersLast,
    cast_names, errors,
    functions::{self, NullTokens},
    fused_text::FuseText,
    guarded,
    in_list::ListsOfColumns,
    lake_table::FilesTable,
    latest::{self, KeepLatest},
    lineage,
    load_order::in_load_order,
    memory::{self, Limits},
    merge::STAGED,
    not_in::NullsOfNotIn,
    predict::{self, Asked},
    quarantine::QuarantineTable,
    query::{self, Query},
    raw_table::{self, RawTable},
    row_hash::row_hash,
    sql::{self, Allowed, NamedTable, Parsed},
    suggest,
    window::WindowsByPartition,
    workers::Workers,
};

/// The catalog and the schema of names without a zone; nothing is ever in the latter.
const CATALOG: &str = "lagar";
const NO_ZONE: &str = "none";
/// The catalog of versions that a check refused.
const REFUSED: &str = "refused";

/// One for a run or process: its memory pool, its spill folder. Clones share everything.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    limits: Limits,
    runtime: Arc<RuntimeEnv>,
    workers: Arc<Workers>,
    /// Made once, because it is dear; every session begins with a copy.
    state: SessionState,
    /// The stores of the lakes seen so far, with the private address under which DataFusion finds each.
    stores: Mutex<Vec<(Arc<dyn ObjectStore>, ObjectStoreUrl)>>,
}

impl Engine {
    /// An engine within `limits`. Creates the spill folder.
    ///
    /// Fails with [`codes::CONFIG`] if that folder cannot be made or used.
    pub fn new(limits: Limits) -> Result<Engine> {
        Self::with_null_tokens(limits, &NullTokens::default())
    }

    /// [`Self::new`] with other texts that mean null for the functions that clean.
    pub fn with_null_tokens(limits: Limits, tokens: &NullTokens) -> Result<Engine> {
        let runtime = memory::runtime(&limits)?;
        let mut state = SessionStateBuilder::new_with_default_features()
            .with_config(config(&limits))
            .with_runtime_env(runtime.clone())
            .with_optimizer_rules(optimizer_rules())
            .with_physical_optimizer_rules(guarded::physical_rules())
            .with_query_planner(Arc::new(latest::Planner))
            .with_physical_optimizer_rule(Arc::new(WindowsByPartition))
            .build();
        for function in functions::all(tokens) {
            state.register_udf(function).map_err(|error| Error::bug(error.strip_backtrace()))?;
        }
        state.register_udf(Arc::new(row_hash())).map_err(|error| Error::bug(error.strip_backtrace()))?;
        let workers = Arc::new(Workers::new(limits.threads)?);
        Ok(Engine(Arc::new(Shared { limits, runtime, workers, state, stores: Mutex::default() })))
    }

    /// A session that knows no table yet.
    pub fn session(&self) -> Session {
        let catalog = Arc::new(MemoryCatalogProvider::new());
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), catalog.clone());
        let mut state = self.0.state.clone();
        state.register_catalog_list(Arc::new(catalogs));
        Session {
            engine: self.clone(),
            catalog,
            state,
            tables: Mutex::default(),
            predictors: Mutex::default(),
        }
    }

    /// What this engine may use.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.0.runtime
    }

    /// The private address of `store`.
    fn store_url(&self, store: &Arc<dyn ObjectStore>) -> Result<ObjectStoreUrl> {
        let mut stores = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, url)) = stores.iter().find(|(known, _)| Arc::ptr_eq(known, store)) {
            return Ok(url.clone());
        }
        let url = ObjectStoreUrl::parse(format!("lagar://lake{}/", stores.len()))
            .map_err(|error| Error::bug(error.to_string()))?;
        self.0.runtime.register_object_store(url.as_ref(), store.clone());
        stores.push((store.clone(), url.clone()));
        Ok(url)
    }
}

/// DataFusion's optimizer rules, and ours among them.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let rules = Optimizer::new().rules.into_iter();
    let mut rules: Vec<_> = rules.map(guarded::logical_rule).collect();
    let mut insert = |near: &str, behind: usize, rule| {
        let place = rules.iter().position(|rule: &Arc<dyn OptimizerRule + Send + Sync>| rule.name() == near);
        rules.insert(place.map_or(rules.len(), |place| place + behind), rule);
    };
    // IN (SELECT …) is no join yet.
    insert("decorrelate_predicate_subquery", 0, Arc::new(NullsOfNotIn));
    // Filters have come to their windows.
    insert("push_down_filter", 1, Arc::new(KeepLatest));
    // Expressions are as simple as they become, and not yet taken apart.
    insert("common_sub_expression_eliminate", 0, Arc::new(AnswersLast));
    insert("common_sub_expression_eliminate", 0, Arc::new(ListsOfColumns));
    insert("common_sub_expression_eliminate", 0, Arc::new(FuseText));
    rules
}

fn config(limits: &Limits) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, NO_ZONE)
        .with_information_schema(true)
        .with_batch_size(limits.batch_rows())
        .with_target_partitions(limits.threads.max(1));
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.spill_compression = SpillCompression::Lz4Frame;
    options.execution.sort_spill_reservation_bytes = limits.merge_bytes();
    // Has given wrong results in 2026 (rows twice under LIMIT, a dropped predicate).
    options.execution.parquet.pushdown_filters = false;
    // Types as other readers of the lake know them.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    config
}

/// A query reports at most this many columns that do not exist.
const UNKNOWN_COLUMNS_MAX: usize = 20;

/// How a query is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Fast: hash joins, a partition for every thread.
    #[default]
    Default,
    /// Joins that can spill, two partitions, small batches: slower, in less memory.
    LowMemory,
}

/// How raw files are read.
#[derive(Debug, Clone)]
pub struct RawOptions {
    /// Folder for copies of remote files while they are read.
    pub spool: PathBuf,
}

/// Tables by name, and queries over them.
///
/// Names are `schema.table`; SQL reads them in lower case unless they are quoted.
pub struct Session {
    engine: Engine,
    catalog: Arc<MemoryCatalogProvider>,
    state: SessionState,
    tables: Mutex<BTreeMap<String, SchemaRef>>,
    predictors: Mutex<BTreeMap<Name, Asked>>,
}

/// Data files in the folder of a table, and the columns that are read from them.
#[derive(Debug, Clone)]
pub struct TableFiles<'a> {
    pub table: &'a TableName,
    pub schema: SchemaRef,
    pub partition_by: &'a [String],
    pub files: &'a [DataFile],
}

impl<'a> TableFiles<'a> {
    /// Those of a version.
    pub fn of(table: &'a Table) -> Self {
        let (partition_by, files) = (&table.partition_by, &table.files);
        Self { table: &table.name, schema: table.schema.clone(), partition_by, files }
    }
}

impl Session {
    /// `raw.<source>`: the rows of `loads` with the columns of `schema`, then `_source_file`, `_load`,
    /// `_loaded_at` and `_row`. A column that an older file lacks is null there. No loads: no rows.
    pub fn add_raw(
        &self,
        source: &Name,
        lake: &Lake,
        loads: Vec<Arc<Manifest>>,
        schema: SchemaRef,
        options: RawOptions,
    ) -> Result<()> {
        let table = RawTable::new(source.clone(), lake.clone(), &loads, &schema, options);
        self.add(Zone::Raw.as_str(), source.as_str(), Arc::new(table))
    }

    /// `quarantine.<source>`: the rejected rows of `loads`, as `_load`, `_loaded_at`, `_source_file`,
    /// `_row`, `_column`, `_reason`, `_value`.
    pub fn add_quarantine(&self, source: &Name, lake: &Lake, loads: Vec<Arc<Manifest>>) -> Result<()> {
        let table = QuarantineTable::new(source.clone(), lake.clone(), loads);
        self.add("quarantine", source.as_str(), Arc::new(table))
    }

    /// A version of a table of the lake, under its own name.
    pub fn add_table(&self, table: &Table, lake: &Lake) -> Result<()> {
        self.add_files(TableFiles::of(table), lake)
    }

    /// Data files under the name of a table: the version that they will be is not committed yet.
    pub fn add_files(&self, files: TableFiles<'_>, lake: &Lake) -> Result<()> {
        let name = files.table;
        let table = self.files_of(files, lake)?;
        self.add(name.zone.as_str(), name.name.as_str(), Arc::new(table))
    }

    /// `staged.<name>`: files that may be a part of a version to be.
    pub fn stage_files(&self, name: &str, files: TableFiles<'_>, lake: &Lake) -> Result<()> {
        let table = self.files_of(files, lake)?;
        self.add(STAGED, name, Arc::new(table))
    }

    fn files_of(&self, of: TableFiles<'_>, lake: &Lake) -> Result<FilesTable> {
        let url = self.engine.store_url(lake.store())?;
        let folder = format!("{}/{}", of.table.zone, of.table.name);
        FilesTable::new(url, lake, &folder, of.schema, of.partition_by, of.files)
    }

    /// `staged.<name>`: the rows of a query, with the order of their loads as one more column. Whether it
    /// is told for all of them: where the query hides from which load its rows are, it is 0.
    ///
    /// Fails as [`Self::describe`] does.
    pub async fn stage_query(&self, name: &str, sql: &str) -> Result<bool> {
        let plan = self.plan(sql, Allowed::Query).await?;
        let laid = in_load_order(&plan).map_err(|error| errors::planning(&error, sql))?;
        self.add(STAGED, name, Arc::new(ViewTable::new(laid.plan, None)))?;
        Ok(!laid.hidden)
    }

    /// `refused.<zone>.<name>`: rows that are not in the table `table` because of a check.
    pub fn add_refused(&self, table: &TableName, rows: &LeftOut, lake: &Lake) -> Result<()> {
        let (zone, name) = (table.zone.as_str(), table.name.as_str());
        let (schema, partition_by, files) = (rows.schema()?, &rows.partition_by, &rows.files);
        let files = self.files_of(TableFiles { table, schema, partition_by, files }, lake)?;
        let bug = |error: datafusion::common::DataFusionError| Error::bug(error.strip_backtrace());
        let catalogs = self.state.catalog_list();
        let catalog = catalogs.catalog(REFUSED).unwrap_or_else(|| {
            let catalog: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
            catalogs.register_catalog(REFUSED.to_owned(), catalog.clone());
            catalog
        });
        let schema = catalog.schema(zone).unwrap_or_else(|| Arc::new(MemorySchemaProvider::new()));
        self.names().insert(format!("{REFUSED}.{table}"), files.schema());
        schema.register_table(name.to_owned(), Arc::new(files)).map_err(bug)?;
        catalog.register_schema(zone, schema).map_err(bug)?;
        Ok(())
    }

    /// Rows in memory as `schema_name.name`.
    ///
    /// Fails with [`codes::BUG`] if a batch has other columns than `schema`.
    pub fn add_rows(
        &self,
        schema_name: &str,
        name: &str,
        batches: Vec<RecordBatch>,
        schema: SchemaRef,
    ) -> Result<()> {
        let table = MemTable::try_new(schema, vec![batches]).map_err(|error| {
            Error::bug(format!("rows of {schema_name}.{name}: {}", error.strip_backtrace()))
        })?;
        self.add(schema_name, name, Arc::new(table))
    }

    /// A table without rows, for planning. The name of a raw table gets the columns that
    /// [`Self::add_raw`] adds.
    pub fn add_empty(&self, name: &TableName, schema: SchemaRef) -> Result<()> {
        let schema = if name.zone == Zone::Raw { raw_table::with_meta_columns(&schema) } else { schema };
        self.add_rows(name.zone.as_str(), name.name.as_str(), vec![], schema)
    }

    /// What `predict('name')`, `predict_proba('name')` or `forecast('name')` ask from now on.
    pub fn add_predictor(&self, name: &Name, predictor: Asked) {
        self.predictors.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), predictor);
    }

    /// Every table with its columns, by name: for completion and listings.
    pub fn tables(&self) -> BTreeMap<String, SchemaRef> {
        self.names().clone()
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, SchemaRef>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, schema_name: &str, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        let bug = |error: datafusion::common::DataFusionError| Error::bug(error.strip_backtrace());
        let schema = match self.catalog.schema(schema_name) {
            Some(schema) => schema,
            None => {
                let schema = Arc::new(MemorySchemaProvider::new());
                self.catalog.register_schema(schema_name, schema.clone()).map_err(bug)?;
                schema
            }
        };
        // The newest of a name wins, so that a session can be told about a new version.
        schema.deregister_table(name).map_err(bug)?;
        self.names().insert(format!("{schema_name}.{name}"), table.schema());
        schema.register_table(name.to_owned(), table).map_err(bug)?;
        Ok(())
    }

    /// The columns of a query, without running it.
    ///
    /// Fails with everything that is known to be wrong with it: [`codes::SQL_SYNTAX`],
    /// [`codes::SQL_NOT_ALLOWED`], [`codes::SQL_UNKNOWN_TABLE`], [`codes::SQL_UNKNOWN_COLUMN`],
    /// [`codes::SQL_PLAN`]. Places are inside `sql`, with an empty file name.
    pub async fn describe(&self, sql: &str) -> Result<SchemaRef> {
        let plan = match self.plan(sql, Allowed::Query).await {
            Ok(plan) => plan,
            Err(error) => return Err(self.with_more_unknown_columns(sql, error).await),
        };
        self.optimized(sql, &plan)?;
        Ok(plan.schema().inner().clone())
    }

    /// Planning gives up at the first column that does not exist. The others are found by planning again with
    /// NULL in its place; whatever else fails then may come from that.
    async fn with_more_unknown_columns(&self, sql: &str, first: Error) -> Error {
        let Ok(Parsed { mut statement, .. }) = sql::parse(sql, Allowed::Query) else { return first };
        let Ok((functions, state)) = self.with_predictors(&mut statement) else { return first };
        let mut all = first.clone();
        let mut newest = first;
        while all.each().count() < UNKNOWN_COLUMNS_MAX && newest.code() == codes::SQL_UNKNOWN_COLUMN {
            let spot = newest.place().map(|place| (place.line, place.column));
            if !spot.is_some_and(|spot| sql::replace_by_null(&mut statement, sql, spot)) {
                break;
            }
            newest = match state.statement_to_plan(statement.clone()).await {
                Ok(_) => break,
                Err(error) => functions.explain(errors::planning(&error, sql)),
            };
            let same = |error: &Error| error.place() == newest.place() && error.message() == newest.message();
            if newest.code() != codes::SQL_UNKNOWN_COLUMN || all.each().any(same) {
                break;
            }
            all = Error::all([all, newest.clone()]).unwrap_or(newest.clone());
        }
        all
    }

    /// Where each column of a query comes from, without running it.
    ///
    /// Fails as [`Self::describe`] does.
    pub async fn lineage(&self, sql: &str) -> Result<Vec<lineage::Origin>> {
        Ok(lineage::of_plan(&self.plan(sql, Allowed::Query).await?))
    }

    /// [`Self::describe`] for a query whose result becomes a table: the columns are those of the table,
    /// and one without a proper name, or of a type that no table can have, is an error.
    pub async fn describe_stored(&self, sql: &str) -> Result<SchemaRef> {
        delta_schema(self.describe(sql).await?.as_ref())
    }

    /// Why the rows that a query makes for one partition may hang on rows of another, if its text shows it.
    ///
    /// Fails as [`Self::describe`] does.
    pub async fn looks_across(&self, sql: &str, partition_by: &[String]) -> Result<Option<&'static str>> {
        let plan = self.plan(sql, Allowed::Query).await?;
        looks_across(&plan, partition_by).map_err(|error| errors::planning(&error, sql))
    }

    /// Starts a query: SELECT, VALUES, WITH, UNION. Errors as of [`Self::describe`]; the rows themselves
    /// may fail with [`codes::SQL_EXECUTION`], [`codes::MEMORY`], [`codes::SPILL`] and those of the lake.
    pub async fn query(&self, sql: &str) -> Result<Query> {
        self.query_with(sql, Strategy::Default).await
    }

    /// [`Self::query`], planned as told.
    pub async fn query_with(&self, sql: &str, strategy: Strategy) -> Result<Query> {
        let plan = self.plan(sql, Allowed::Query).await?;
        self.start(sql, plan, strategy).await
    }

    /// [`Self::query_with`] for a query whose result becomes a table; fails at once if it cannot, as
    /// [`Self::describe_stored`] does. The rows have the query's own types: the table's writer converts.
    pub async fn query_stored(&self, sql: &str, strategy: Strategy) -> Result<Query> {
        let query = self.query_with(sql, strategy).await?;
        delta_schema(query.schema())?;
        Ok(query)
    }

    /// All rows of a query, planned again if they need more memory than there is.
    pub async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let run = |strategy| async move { self.query_with(sql, strategy).await?.collect().await };
        Ok(self.with_less_memory_if_needed(run).await?.0)
    }

    /// [`Self::query`] that also takes EXPLAIN, DESCRIBE and SHOW TABLES | COLUMNS | FUNCTIONS.
    pub async fn inspect(&self, sql: &str, strategy: Strategy) -> Result<Query> {
        let plan = self.plan(sql, Allowed::Inspect).await?;
        self.start(sql, plan, strategy).await
    }

    /// Runs `work` with [`Strategy::Default`], and once more from the start with
    /// [`Strategy::LowMemory`] if it failed with [`codes::MEMORY`]. `work` must undo nothing: what it
    /// wrote the first time must be invisible. Returns the strategy that worked.
    pub async fn with_less_memory_if_needed<T, F, W>(&self, mut work: W) -> Result<(T, Strategy)>
    where
        W: FnMut(Strategy) -> F,
        F: Future<Output = Result<T>>,
    {
        match work(Strategy::Default).await {
            Err(error) if error.code() == codes::MEMORY => {
                tracing::info!(error = %error, "planning the query again for less memory");
                Ok((work(Strategy::LowMemory).await?, Strategy::LowMemory))
            }
            result => Ok((result?, Strategy::Default)),
        }
    }

    /// Plans from now on without the optimizer rule of that name.
    #[cfg(test)]
    pub(crate) fn without_rule(&mut self, name: &str) {
        let rules = optimizer_rules().into_iter().filter(|rule| rule.name() != name).collect();
        self.state =
            SessionStateBuilder::new_from_existing(self.state.clone()).with_optimizer_rules(rules).build();
    }

    /// Reads the files of tables whole from now on.
    #[cfg(test)]
    pub(crate) fn without_pruning(&mut self) {
        let options = self.state.config_mut().options_mut();
        options.execution.parquet.pruning = false;
        options.execution.parquet.enable_page_index = false;
        options.execution.parquet.bloom_filter_on_read = false;
        options.execution.parquet.pushdown_filters = false;
        options.optimizer.enable_dynamic_filter_pushdown = false;
        options.optimizer.enable_topk_dynamic_filter_pushdown = false;
        options.optimizer.enable_join_dynamic_filter_pushdown = false;
        options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
        // By their statistics and folders whole files are left out whatever the options say: no condition may reach
        // them.
        let rules = self.state.physical_optimizers().iter();
        let rules = rules.filter(|rule| !rule.name().contains("FilterPushdown")).cloned().collect();
        self.state = SessionStateBuilder::new_from_existing(self.state.clone())
            .with_physical_optimizer_rules(rules)
            .build();
    }

    /// The same tables, and from now on what `engine` may use.
    #[cfg(test)]
    pub(crate) fn on(self, engine: &Engine) -> Session {
        let mut state = engine.0.state.clone();
        state.register_catalog_list(self.state.catalog_list().clone());
        Session { engine: engine.clone(), state, ..self }
    }

    async fn plan(&self, sql: &str, allowed: Allowed) -> Result<LogicalPlan> {
        let Parsed { mut statement, tables } = sql::parse(sql, allowed)?;
        if let Some(error) = Error::all(tables.iter().filter_map(|table| self.unknown(table))) {
            return Err(error);
        }
        let (functions, state) = self.with_predictors(&mut statement)?;
        let planning = |error: DataFusionError| functions.explain(errors::planning(&error, sql));
        let listing = functions::listing(&statement);
        let mut planned = state.statement_to_plan(statement.clone()).await;
        if planned.as_ref().map_or_else(errors::is_of_a_name_twice, cast_names::meet) {
            cast_names::name(&mut statement);
            let state = cast_names::state(state.into_owned()).map_err(planning)?;
            planned = state.statement_to_plan(statement).await.or(planned);
        }
        let mut plan = planned.map_err(planning)?;
        if let Some(ours) = listing {
            let ours = self.state.create_logical_plan(&ours).await.map_err(planning)?;
            let both = LogicalPlanBuilder::from(plan).union(ours).and_then(LogicalPlanBuilder::build);
            plan = both.map_err(planning)?;
        }
        if !sql::is_read_only(&plan, allowed) {
            return Err(Error::new(codes::SQL_NOT_ALLOWED, "this statement does more than read").at("", 1, 1));
        }
        Ok(plan)
    }

    /// Puts the functions of predictors in the place of the calls that name them; these, and the state that knows them.
    fn with_predictors(
        &self,
        statement: &mut Statement,
    ) -> Result<(predict::Functions, Cow<'_, SessionState>)> {
        let known = self.predictors.lock().unwrap_or_else(PoisonError::into_inner);
        let functions = predict::replace(statement, &known)?;
        if functions.is_empty() {
            return Ok((functions, Cow::Borrowed(&self.state)));
        }
        let mut state = self.state.clone();
        for function in &functions.scalar {
            state.register_udf(function.clone()).map_err(|error| Error::bug(error.strip_backtrace()))?;
        }
        if let Some(forecast) = &functions.forecast {
            state.register_udtf(predict::FORECAST, forecast.clone());
        }
        Ok((functions, Cow::Owned(state)))
    }

    /// The error for a table that this session does not have.
    fn unknown(&self, table: &NamedTable) -> Option<Error> {
        let names = self.names();
        let name = table.name();
        if names.contains_key(&name) || table.parts.first().is_some_and(|first| first == "information_schema")
        {
            return None;
        }
        let error = Error::new(codes::SQL_UNKNOWN_TABLE, format!("there is no table `{name}`"));
        let error = error.at("", table.spot.0, table.spot.1);
        Some(match table_hint(&table.parts, names.keys().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    fn optimized(&self, sql: &str, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.state.optimize(plan).map_err(|error| errors::planning(&error, sql))
    }

    async fn start(&self, sql: &str, plan: LogicalPlan, strategy: Strategy) -> Result<Query> {
        // What the query before let go of is not beside what this one may have.
        lagar_flow::memory::give_back();
        let (plan, tallies) = functions::counted(plan).map_err(|error| errors::planning(&error, sql))?;
        let mut state = self.state.clone();
        if strategy == Strategy::LowMemory {
            let config = state.config_mut();
            config.options_mut().optimizer.prefer_hash_join = false;
            // With one partition only hash joins are planned; merging holds a batch of every spilled run.
            let batch_rows = config.batch_size().min(1024);
            *config = config.clone().with_target_partitions(2).with_batch_size(batch_rows);
        }
        let options = state.config_options().clone();
        state.execution_props_mut().mark_start_execution(options);
        let physical =
            state.create_physical_plan(&plan).await.map_err(|error| errors::planning(&error, sql))?;
        query::start(physical, &state, self.engine.runtime(), &self.engine.0.workers, tallies)
    }
}

/// What to write instead of a table name that does not exist.
pub(crate) fn table_hint<'a>(
    parts: &[String],
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let [name] = parts {
        let same: Vec<&str> = known
            .clone()
            .filter(|known| known.rsplit_once('.').is_some_and(|(_, table)| table == name))
            .collect();
        if !same.is_empty() {
            return Some(format!("a table is named with its zone: {}", suggest::quoted(&same)));
        }
        let tables: Vec<&str> =
            known.clone().filter_map(|known| known.rsplit_once('.').map(|(_, table)| table)).collect();
        let near = suggest::nearest(name, tables)?;
        let full =
            known.into_iter().find(|known| known.rsplit_once('.').is_some_and(|(_, table)| table == near))?;
        return Some(format!("did you mean `{full}`?"));
    }
    let name = parts.join(".");
    if let Some(near) = suggest::nearest(&name, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    // The right name in another zone.
    let table = parts.last()?;
    let elsewhere =
        known.into_iter().find(|known| known.rsplit_once('.').is_some_and(|(_, name)| name == table))?;
    Some(format!("did you mean `{elsewhere}`?"))
}

#[cfg(test)]
mod tests;
