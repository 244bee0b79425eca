//! Random tables and random queries over them, in SQL that DataFusion and DuckDB read alike.
//!
//! Where the two mean different things by the same words, the words are not generated:
//!
//! - `/` of integers (DuckDB: a DOUBLE), `avg` of decimals (DuckDB: a DOUBLE), decimals together with other numbers;
//! - NULLS FIRST or LAST is always said (the defaults differ under DESC);
//! - -0.0 and NaN (DataFusion orders and groups by their bits), infinities;
//! - `upper` of ß and the like, `reverse`, `LIKE` without a pattern of its own, regular expressions;
//! - dates with intervals and `date_trunc` of dates (DuckDB: a TIMESTAMP), times with zones;
//! - casts that fail (both do, with other words), numbers near the end of their type;
//! - `LIMIT` without an order of all columns, window functions that depend on the order of equal rows;
//! - `IN (SELECT …)` elsewhere than beside other conditions of WHERE (DataFusion does not plan it);
//! - FULL JOIN on anything but an equality; GROUP BY of a constant;
//! - calculations with the unsigned numbers of `rank` and `row_number` (DataFusion: decimals).

use lagar_testing::mix;

/// Numbers from a seed.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % end
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// The types that both know, and whose values have one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Decimal,
    Double,
    Text,
    Bool,
    Date,
    Time,
}

const KINDS: [Kind; 7] =
    [Kind::Int, Kind::Decimal, Kind::Double, Kind::Text, Kind::Bool, Kind::Date, Kind::Time];

/// Every table has these; `id` is different in each row and never null.
pub(super) const COLUMNS: [(&str, Kind, &str); 9] = [
    ("id", Kind::Int, "BIGINT"),
    ("g", Kind::Int, "BIGINT"),
    ("i", Kind::Int, "BIGINT"),
    ("d", Kind::Decimal, "DECIMAL(9,2)"),
    ("f", Kind::Double, "DOUBLE"),
    ("s", Kind::Text, "VARCHAR"),
    ("b", Kind::Bool, "BOOLEAN"),
    ("dt", Kind::Date, "DATE"),
    ("ts", Kind::Time, "TIMESTAMP"),
];

pub(super) const TABLES: [&str; 3] = ["trusted.t0", "trusted.t1", "trusted.t2"];

/// A table as the rows of a VALUES list.
pub(super) struct Table {
    pub name: &'static str,
    rows: Vec<String>,
    /// Its query gives so many rows of each.
    pub times: u64,
}

impl Table {
    /// The table of that name with `rows` rows; `g` has about as many values as `groups`.
    pub fn new(random: &mut Random, name: &'static str, rows: u64, groups: u64) -> Self {
        let row = |id: u64, random: &mut Random| {
            let values = COLUMNS.map(|(column, kind, _)| match column {
                "id" => id.to_string(),
                "g" if random.chance(90) => random.below(groups.max(1)).to_string(),
                _ if random.chance(15) => "NULL".to_owned(),
                _ => literal(random, kind),
            });
            format!("({})", values.join(", "))
        };
        Self { name, rows: (0..rows).map(|id| row(id, random)).collect(), times: 1 }
    }

    /// What makes it in DuckDB.
    pub fn statements(&self) -> Vec<String> {
        let columns = COLUMNS.map(|(name, _, sql)| format!("{name} {sql}")).join(", ");
        let mut statements = vec![format!("CREATE TABLE {} ({columns})", self.name)];
        if !self.rows.is_empty() {
            statements.push(format!("INSERT INTO {} VALUES {}", self.name, self.rows.join(", ")));
        }
        statements
    }

    /// Its rows as a query.
    pub fn select(&self) -> String {
        let nulls = format!("({})", COLUMNS.map(|_| "NULL").join(", "));
        let rows = if self.rows.is_empty() { &[nulls][..] } else { &self.rows[..] };
        let names = COLUMNS.map(|(name, _, _)| name).join(", ");
        let casts = COLUMNS.map(|(name, _, sql)| format!("CAST({name} AS {sql}) AS {name}")).join(", ");
        let mut select = format!("SELECT {casts} FROM (VALUES {}) AS v({names})", rows.join(", "));
        if self.rows.is_empty() {
            select.push_str(" WHERE id IS NOT NULL");
        }
        if self.times > 1 {
            select = format!(
                "SELECT id + value * 100000 AS id, g + value AS g, i, d, f + value AS f, s || CAST(value AS VARCHAR) AS s, b, dt, ts \
                 FROM ({select}) CROSS JOIN generate_series(1, {})",
                self.times
            );
        }
        select
    }
}

fn literal(random: &mut Random, kind: Kind) -> String {
    match kind {
        Kind::Int => (random.below(31) as i64 - 15).to_string(),
        Kind::Decimal => {
            format!("CAST('{}.{:02}' AS DECIMAL(9,2))", random.below(41) as i64 - 20, random.below(100))
        }
        Kind::Double => {
            random.pick(&["0.5e0", "-1.25e0", "3e0", "100.75e0", "-0.125e0", "7e0", "2.5e0"]).to_owned()
        }
        Kind::Text => {
            format!("'{}'", random.pick(&["", "a", "A", "ab", "b ", " c", "naïve", "zzz", "10", "a_b", "%"]))
        }
        Kind::Bool => random.pick(&["true", "false"]).to_owned(),
        Kind::Date => format!(
            "DATE '20{:02}-{:02}-{:02}'",
            18 + random.below(3),
            1 + random.below(12),
            1 + random.below(28)
        ),
        Kind::Time => format!(
            "TIMESTAMP '2020-{:02}-{:02} {:02}:{:02}:00'",
            1 + random.below(12),
            1 + random.below(28),
            random.below(24),
            random.below(60)
        ),
    }
}

/// The columns that an expression may use.
#[derive(Debug, Clone, Default)]
struct Scope(Vec<(String, Kind)>);

impl Scope {
    fn column(&self, random: &mut Random, kind: Kind) -> Option<String> {
        let fitting: Vec<&str> =
            self.0.iter().filter(|(_, known)| *known == kind).map(|(name, _)| name.as_str()).collect();
        (!fitting.is_empty()).then(|| random.pick(&fitting).to_owned())
    }
}

/// A query, and, when it has one, its condition taken out: `rows(without)` = those for which it is true,
/// those for which it is false, and those for which it is null.
pub(super) struct Query {
    pub sql: String,
    pub partitioned: Option<[String; 4]>,
}

/// What alone can keep a query from reading all rows of its tables.
pub(super) const NARROWED_BY: [&str; 3] = ["a condition", "the first rows", "a join with few rows"];
const BY_SEVERAL: &str = "several";

/// Makes queries.
pub(super) struct Generator<'a> {
    random: &'a mut Random,
    aliases: usize,
    /// No joins: of big tables they have too many rows.
    single: bool,
}

impl<'a> Generator<'a> {
    pub fn new(random: &'a mut Random) -> Self {
        Self { random, aliases: 0, single: false }
    }

    /// Without joins.
    pub fn single(random: &'a mut Random) -> Self {
        Self { single: true, ..Self::new(random) }
    }

    pub fn query(&mut self) -> Query {
        let plain = |sql| Query { sql, partitioned: None };
        match self.random.below(10) {
            0..3 => self.partitioned(),
            3 | 4 => plain(self.grouped(false).0),
            5 => plain(self.windowed().0),
            6 => plain(self.united()),
            7 => plain(self.limited()),
            8 => plain(self.latest()),
            _ => plain(self.with()),
        }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("x{}", self.aliases)
    }

    /// Something behind FROM, with its columns.
    fn source(&mut self, depth: u64) -> (String, Scope) {
        match self.random.below(if depth == 0 { 4 } else { 10 }) {
            0..5 => self.table(),
            5..8 if !self.single => self.join(depth - 1),
            5..8 => self.table(),
            _ => {
                let (sql, kinds) = match self.random.below(3) {
                    0 => {
                        let with_key = self.random.chance(70);
                        self.grouped(with_key)
                    }
                    1 => self.windowed(),
                    _ => self.simple(depth - 1),
                };
                let alias = self.alias();
                let columns = kinds.iter().enumerate().map(|(n, kind)| (format!("{alias}.c{n}"), *kind));
                (format!("({sql}) AS {alias}"), Scope(columns.collect()))
            }
        }
    }

    fn table(&mut self) -> (String, Scope) {
        let (name, alias) = (self.random.pick(&TABLES.each_ref().map(|name| *name)), self.alias());
        let columns = COLUMNS.map(|(column, kind, _)| (format!("{alias}.{column}"), kind));
        (format!("{name} AS {alias}"), Scope(columns.into()))
    }

    fn join(&mut self, depth: u64) -> (String, Scope) {
        let ((left, mut scope), (right, other)) = (self.source(depth), self.table());
        let how = self.random.pick(&["INNER", "LEFT", "RIGHT", "FULL", "INNER", "LEFT"]);
        let kind = if self.random.chance(70) {
            Kind::Int
        } else {
            self.random.pick(&[&Kind::Text, &Kind::Date]).to_owned()
        };
        let (Some(one), Some(two)) = (scope.column(self.random, kind), other.column(self.random, kind))
        else {
            return (left, scope);
        };
        scope.0.extend(other.0);
        let more = match how != "FULL" && self.random.chance(30) {
            true => format!(" AND {}", self.condition(&scope, 1)),
            false => String::new(),
        };
        (format!("{left} {how} JOIN {right} ON {one} = {two}{more}"), scope)
    }

    fn kinds(&mut self) -> Vec<Kind> {
        let count = 1 + self.random.below(4);
        (0..count).map(|_| self.random.pick(&KINDS.each_ref()).to_owned()).collect()
    }

    fn columns(&mut self, scope: &Scope, kinds: &[Kind]) -> String {
        let columns: Vec<String> = kinds
            .iter()
            .enumerate()
            .map(|(n, kind)| format!("{} AS c{n}", self.expr(scope, *kind, 2)))
            .collect();
        columns.join(", ")
    }

    fn simple(&mut self, depth: u64) -> (String, Vec<Kind>) {
        let (source, scope) = self.source(depth);
        let kinds = self.kinds();
        (self.select_of(&source, &scope, &kinds), kinds)
    }

    fn select_of(&mut self, source: &str, scope: &Scope, kinds: &[Kind]) -> String {
        let distinct = if self.random.chance(25) { "DISTINCT " } else { "" };
        let columns = self.columns(scope, kinds);
        let condition = self.where_clause(scope);
        format!("SELECT {distinct}{columns} FROM {source}{condition}")
    }

    fn where_clause(&mut self, scope: &Scope) -> String {
        let mut conditions = Vec::new();
        if self.random.chance(60) {
            conditions.push(self.condition(scope, 2));
        }
        if self.random.chance(12) {
            let (number, table) = (self.expr(scope, Kind::Int, 1), self.any_table());
            let not = self.random.pick(&["", "NOT "]);
            let is_in = format!("{number} {not}IN (SELECT i FROM {table})");
            conditions.push(match self.random.chance(30) {
                true => format!("({is_in} OR {})", self.condition(scope, 1)),
                false => is_in,
            });
        }
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }

    fn any_table(&mut self) -> &'static str {
        TABLES[self.random.below(TABLES.len() as u64) as usize]
    }

    fn partitioned(&mut self) -> Query {
        let ((source, scope), kinds) = (self.source(2), self.kinds());
        let columns = self.columns(&scope, &kinds);
        let condition = self.condition(&scope, 2);
        let select = format!("SELECT {columns} FROM {source}");
        let with = |condition: String| format!("{select} WHERE {condition}");
        let parts = [
            select.clone(),
            with(condition.clone()),
            with(format!("NOT ({condition})")),
            with(format!("({condition}) IS NULL")),
        ];
        Query { sql: parts[1].clone(), partitioned: Some(parts) }
    }

    fn grouped(&mut self, with_key: bool) -> (String, Vec<Kind>) {
        let (source, scope) = self.source(1);
        let mut kinds: Vec<Kind> =
            (0..self.random.below(3)).map(|_| self.random.pick(&KINDS.each_ref()).to_owned()).collect();
        let mut keys: Vec<String> = Vec::new();
        kinds.retain(|kind| match scope.column(self.random, *kind) {
            Some(column) => {
                let key = if *kind == Kind::Int && self.random.chance(30) {
                    format!("{column} % 3")
                } else {
                    column
                };
                keys.push(key);
                true
            }
            None => false,
        });
        if with_key && keys.is_empty() {
            let (column, kind) = scope.0[0].clone();
            keys.push(column);
            kinds.push(kind);
        }
        let mut columns: Vec<String> =
            keys.iter().enumerate().map(|(n, key)| format!("{key} AS c{n}")).collect();
        for _ in 0..=self.random.below(3) {
            let (aggregate, kind) = self.aggregate(&scope);
            columns.push(format!("{aggregate} AS c{}", kinds.len()));
            kinds.push(kind);
        }
        let condition = self.where_clause(&scope);
        let group = match keys.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", keys.join(", ")),
        };
        let having = if !keys.is_empty() && self.random.chance(25) {
            format!(" HAVING count(*) > {}", self.random.below(3))
        } else {
            String::new()
        };
        (format!("SELECT {} FROM {source}{condition}{group}{having}", columns.join(", ")), kinds)
    }

    fn aggregate(&mut self, scope: &Scope) -> (String, Kind) {
        let any = self.random.pick(&KINDS.each_ref()).to_owned();
        let (call, kind) = match self.random.below(9) {
            0 => ("count(*)".to_owned(), Kind::Int),
            1 => (format!("count({})", self.expr(scope, any, 1)), Kind::Int),
            2 => (format!("count(DISTINCT {})", self.expr(scope, any, 1)), Kind::Int),
            3 => (format!("sum({})", self.expr(scope, Kind::Int, 1)), Kind::Int),
            4 => (format!("sum({})", self.expr(scope, Kind::Double, 1)), Kind::Double),
            5 => (format!("avg({})", self.expr(scope, Kind::Int, 1)), Kind::Double),
            6 => (format!("sum({})", self.expr(scope, Kind::Decimal, 0)), Kind::Decimal),
            7 => (format!("min({})", self.expr(scope, any, 1)), any),
            _ => (format!("max({})", self.expr(scope, any, 1)), any),
        };
        match self.random.chance(15) && kind != Kind::Bool {
            true => (format!("{call} FILTER (WHERE {})", self.condition(scope, 1)), kind),
            false => (call, kind),
        }
    }

    fn order(&mut self, column: &str) -> String {
        let way = self.random.pick(&["ASC", "DESC"]);
        format!("{column} {way} NULLS {}", self.random.pick(&["FIRST", "LAST"]))
    }

    fn windowed(&mut self) -> (String, Vec<Kind>) {
        let (table, scope) = self.table();
        let id = scope.0[0].0.clone();
        let kind = self.random.pick(&KINDS.each_ref()).to_owned();
        let value = self.expr(&scope, kind, 1);
        let number = self.expr(&scope, Kind::Int, 1);
        let key = self
            .random
            .pick(&[&scope.0[1].0[..], &scope.0[5].0[..], &scope.0[6].0[..], &scope.0[7].0[..]])
            .to_owned();
        let (first, unique) = (self.order(&scope.0[2].0), self.order(&id));
        let (call, kind, order) = match self.random.below(10) {
            0 => ("row_number()".to_owned(), Kind::Int, format!("{first}, {unique}")),
            1 => ("rank()".to_owned(), Kind::Int, first),
            2 => ("dense_rank()".to_owned(), Kind::Int, first),
            3 => (format!("sum({number})"), Kind::Int, first),
            4 => (format!("count({value})"), Kind::Int, format!("{first}, {unique}")),
            5 => (format!("lag({value}, 1)"), kind, format!("{first}, {unique}")),
            6 => (format!("lead({value}, 2)"), kind, unique),
            7 => (format!("first_value({value})"), kind, format!("{first}, {unique}")),
            8 => (
                format!("max({number})"),
                Kind::Int,
                format!("{unique} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"),
            ),
            _ => (
                format!("sum({number})"),
                Kind::Int,
                format!("{unique} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING"),
            ),
        };
        let partition = if self.random.chance(75) { format!("PARTITION BY {key} ") } else { String::new() };
        let condition = self.where_clause(&scope);
        let is_place = call.ends_with("rank()") || call == "row_number()";
        let value = format!("{call} OVER ({partition}ORDER BY {order})");
        let value = if is_place { format!("CAST({value} AS BIGINT)") } else { value };
        (format!("SELECT {id} AS c0, {value} AS c1 FROM {table}{condition}"), vec![Kind::Int, kind])
    }

    fn united(&mut self) -> String {
        let kinds = self.kinds();
        let mut part = || {
            let (source, scope) = self.source(1);
            self.select_of(&source, &scope, &kinds)
        };
        let (one, two) = (part(), part());
        let how = self.random.pick(&["UNION ALL", "UNION", "EXCEPT", "INTERSECT", "UNION"]);
        format!("{one} {how} {two}")
    }

    fn limited(&mut self) -> String {
        let (sql, kinds) = self.simple(1);
        let order: Vec<String> = (0..kinds.len()).map(|n| self.order(&format!("c{n}"))).collect();
        let offset =
            if self.random.chance(40) { format!(" OFFSET {}", self.random.below(5)) } else { String::new() };
        format!(
            "SELECT * FROM ({sql}) AS o ORDER BY {} LIMIT {}{offset}",
            order.join(", "),
            self.random.below(8)
        )
    }

    /// The query that `latest` plans in its own way.
    fn latest(&mut self) -> String {
        let (table, scope) = self.table();
        let kinds = self.kinds();
        let columns = self.columns(&scope, &kinds);
        let keys: Vec<&str> = (0..=self.random.below(2))
            .map(|_| scope.0[1 + self.random.below(8) as usize].0.as_str())
            .collect();
        let keys = keys.join(", ");
        let column = 2 + self.random.below(7) as usize;
        let (first, unique) = (self.order(&scope.0[column].0), self.order(&scope.0[0].0));
        let condition = self.where_clause(&scope);
        let first_of = self.random.pick(&["rn = 1", "rn <= 1", "rn < 2", "1 = rn"]);
        format!(
            "SELECT * FROM (SELECT {columns}, row_number() OVER (PARTITION BY {keys} ORDER BY {first}, {unique}) AS rn \
             FROM {table}{condition}) AS l WHERE {first_of}"
        )
    }

    fn with(&mut self) -> String {
        let (sql, kinds) = self.simple(1);
        let alias = self.alias();
        let scope = Scope(kinds.iter().enumerate().map(|(n, kind)| (format!("w.c{n}"), *kind)).collect());
        let kinds = self.kinds();
        let select = self.select_of(&format!("{alias} AS w"), &scope, &kinds);
        format!("WITH {alias} AS ({sql}) {select}")
    }

    /// A query that need not read its tables whole, and by what of [`NARROWED_BY`] or by several. `by` has, for each of
    /// [`TABLES`], the place of the column by which its rows lie together. Only we are asked it, not DuckDB.
    pub fn narrow(&mut self, by: &[usize]) -> (&'static str, String) {
        let (table, scope, key) = self.parted(by);
        match self.random.below(10) {
            0..5 => (NARROWED_BY[0], self.bounded(&table, &scope, key)),
            5..7 => self.first_rows(&table, &scope, key),
            _ => self.matching(by, &table, &scope, key),
        }
    }

    /// A table, its columns, and the place of that in `by`.
    fn parted(&mut self, by: &[usize]) -> (String, Scope, usize) {
        let (at, alias) = (self.random.below(TABLES.len() as u64) as usize, self.alias());
        let columns = COLUMNS.map(|(column, kind, _)| (format!("{alias}.{column}"), kind));
        (format!("{} AS {alias}", TABLES[at]), Scope(columns.into()), by[at])
    }

    /// The place of a column, mostly `key`.
    fn near(&mut self, key: usize) -> usize {
        if self.random.chance(60) { key } else { self.random.below(COLUMNS.len() as u64) as usize }
    }

    /// A constant among the values of the column at `place`.
    fn constant(&mut self, place: usize) -> String {
        match COLUMNS[place] {
            ("id", ..) => self.random.below(50).to_string(),
            (_, kind, _) => literal(self.random, kind),
        }
    }

    /// Some columns as they are.
    fn plain_columns(&mut self, scope: &Scope, key: usize) -> Vec<String> {
        let count = 1 + self.random.below(4);
        (0..count).map(|n| format!("{} AS c{n}", scope.0[self.near(key)].0)).collect()
    }

    fn bounded(&mut self, table: &str, scope: &Scope, key: usize) -> String {
        let columns = match self.random.below(3) {
            0 => "*".to_owned(),
            1 => {
                let (one, other) = (&scope.0[self.near(key)].0, &scope.0[self.near(key)].0);
                format!("count(*) AS c0, count({one}) AS c1, min({one}) AS c2, max({other}) AS c3")
            }
            _ => self.plain_columns(scope, key).join(", "),
        };
        format!("SELECT {columns} FROM {table} WHERE {}", self.bounds(scope, key, 2))
    }

    /// The first rows of an order of all columns.
    fn first_rows(&mut self, table: &str, scope: &Scope, key: usize) -> (&'static str, String) {
        let columns = self.plain_columns(scope, key);
        let order: Vec<String> = (0..columns.len()).map(|n| self.order(&format!("c{n}"))).collect();
        let (by, condition) = match self.random.chance(40) {
            true => (BY_SEVERAL, format!(" WHERE {}", self.bounds(scope, key, 1))),
            false => (NARROWED_BY[1], String::new()),
        };
        let offset =
            if self.random.chance(25) { format!(" OFFSET {}", self.random.below(5)) } else { String::new() };
        let sql = format!(
            "SELECT {} FROM {table}{condition} ORDER BY {} LIMIT {}{offset}",
            columns.join(", "),
            order.join(", "),
            1 + self.random.below(6)
        );
        (by, sql)
    }

    /// A table and a few values of one of its columns.
    fn matching(&mut self, by: &[usize], table: &str, scope: &Scope, key: usize) -> (&'static str, String) {
        let place = self.near(key);
        let (column, kind) = scope.0[place].clone();
        let (mut narrowed_by, few) = if self.random.chance(65) {
            let count = 1 + self.random.below(3);
            let mut rows: Vec<String> = (0..count).map(|_| format!("({})", self.constant(place))).collect();
            if self.random.chance(20) {
                rows.push("(NULL)".to_owned());
            }
            (NARROWED_BY[2], format!("(VALUES {})", rows.join(", ")))
        } else {
            let (other, columns, other_key) = self.parted(by);
            let value = columns.column(self.random, kind).unwrap();
            let condition = self.bounds(&columns, other_key, 0);
            (BY_SEVERAL, format!("(SELECT {value} FROM {other} WHERE {condition})"))
        };
        let alias = self.alias();
        let few = format!("{few} AS {alias}(k)");
        let columns = self.plain_columns(scope, key).join(", ");
        let (mut alone, mut beside) = (String::new(), String::new());
        if self.random.chance(30) {
            narrowed_by = BY_SEVERAL;
            let condition = self.bounds(scope, key, 1);
            (alone, beside) = (format!(" WHERE {condition}"), format!(" AND {condition}"));
        }
        let equal = format!("{column} = {alias}.k");
        let sql = match self.random.below(9) {
            0 => format!("SELECT {columns} FROM {table} WHERE {column} IN (SELECT k FROM {few}){beside}"),
            1 => format!("SELECT {columns} FROM {table} WHERE {column} NOT IN (SELECT k FROM {few}){beside}"),
            2 => format!(
                "SELECT {columns} FROM {table} WHERE EXISTS (SELECT 1 FROM {few} WHERE {equal}){beside}"
            ),
            _ => {
                let how = self.random.pick(&["INNER", "INNER", "INNER", "LEFT", "RIGHT", "FULL"]);
                format!("SELECT {columns}, {alias}.k AS k FROM {table} {how} JOIN {few} ON {equal}{alone}")
            }
        };
        (narrowed_by, sql)
    }

    /// A condition for which parts of a file may be left out, mostly on the column at `key`.
    fn bounds(&mut self, scope: &Scope, key: usize, depth: u64) -> String {
        let way = self.random.below(10);
        if depth > 0 && way < 6 {
            let one = self.bounds(scope, key, depth - 1);
            if way == 0 {
                return format!("(NOT {one})");
            }
            let other = self.bounds(scope, key, depth - 1);
            return format!("({one} {} {other})", if way < 4 { "AND" } else { "OR" });
        }
        let place = self.near(key);
        let (column, kind) = scope.0[place].clone();
        let (one, other) = (self.constant(place), self.constant(place));
        let not = self.random.pick(&["", "", "NOT "]);
        match self.random.below(12) {
            0 => format!("({column} IS {not}NULL)"),
            1 => format!("({column} IS {not}DISTINCT FROM {one})"),
            2 | 3 => format!("({column} {not}BETWEEN {one} AND {other})"),
            4 | 5 => {
                // Lists of more than 20 are not looked up in statistics.
                let count = [1, 2, 4, 24][self.random.below(4) as usize];
                let mut list: Vec<String> = (0..count).map(|_| self.constant(place)).collect();
                if self.random.chance(15) {
                    list.push("NULL".to_owned());
                }
                format!("({column} {not}IN ({}))", list.join(", "))
            }
            6 | 7 => self.bound_of(&column, kind),
            8 => format!("({one} {} {column})", self.random.pick(&["=", "<", "<=", ">", ">="])),
            _ => format!("({column} {} {one})", self.random.pick(&["=", "<>", "<", "<=", ">", ">="])),
        }
    }

    /// A condition on what is made of a column: it need not have the order of the column.
    fn bound_of(&mut self, column: &str, kind: Kind) -> String {
        let compared = self.random.pick(&["=", "<>", "<", ">="]);
        let number = self.random.below(21) as i64 - 10;
        let (of, value) = match (kind, self.random.below(4)) {
            (Kind::Int, 0) => (format!("-{column}"), number.to_string()),
            (Kind::Int, 1) => (format!("abs({column} + 3)"), number.to_string()),
            (Kind::Int, 2) => (format!("CAST({column} AS DOUBLE)"), format!("{number}.5e0")),
            (Kind::Int, _) => (format!("CAST({column} AS VARCHAR)"), format!("'{number}'")),
            (Kind::Decimal, 0) => (column.to_owned(), number.to_string()),
            (Kind::Decimal, 1) => (format!("CAST({column} AS DOUBLE)"), format!("{number}.25e0")),
            (Kind::Decimal, _) => (format!("CAST({column} AS BIGINT)"), number.to_string()),
            (Kind::Double, 0) => (column.to_owned(), number.to_string()),
            (Kind::Double, 1) => (format!("floor({column})"), number.to_string()),
            (Kind::Double, _) => (format!("CAST({column} AS BIGINT)"), number.to_string()),
            (Kind::Text, 0) => (format!("lower({column})"), "'a'".to_owned()),
            (Kind::Text, 1) => (format!("substr({column}, 1, 1)"), "'a'".to_owned()),
            (Kind::Text, _) => {
                let not = self.random.pick(&["", "", "NOT "]);
                let like = self.random.pick(&["LIKE", "LIKE", "ILIKE"]);
                let patterns = ["a%", "A%", "ab%", "na%", " %", "1%", "a\\_%", "a_%", "z_z", "%b", "%", ""];
                return format!("({column} {not}{like} '{}')", self.random.pick(&patterns));
            }
            (Kind::Bool, _) => {
                let is = ["", " IS TRUE", " IS NOT TRUE", " IS FALSE", " IS NOT FALSE", " IS UNKNOWN"];
                return format!("({column}{})", self.random.pick(&is));
            }
            (Kind::Date, 0) => (format!("date_part('year', {column})"), "2019".to_owned()),
            (Kind::Date, 1) => (format!("CAST({column} AS TIMESTAMP)"), literal(self.random, Kind::Time)),
            (Kind::Date, _) => (column.to_owned(), "'2019-07-01'".to_owned()),
            (Kind::Time, 0) => (format!("date_part('month', {column})"), number.to_string()),
            (Kind::Time, 1) => {
                (format!("date_trunc('month', {column})"), "TIMESTAMP '2020-06-01 00:00:00'".to_owned())
            }
            (Kind::Time, _) => (format!("CAST({column} AS DATE)"), "DATE '2020-06-15'".to_owned()),
        };
        format!("({of} {compared} {value})")
    }

    fn condition(&mut self, scope: &Scope, depth: u64) -> String {
        self.expr(scope, Kind::Bool, depth)
    }

    /// An expression of that type over the columns of `scope`.
    fn expr(&mut self, scope: &Scope, kind: Kind, depth: u64) -> String {
        if depth == 0 || self.random.chance(30) {
            return match scope.column(self.random, kind) {
                Some(column) if self.random.chance(80) => column,
                _ => literal(self.random, kind),
            };
        }
        let depth = depth - 1;
        let two = |this: &mut Self, kind| (this.expr(scope, kind, depth), this.expr(scope, kind, depth));
        if kind != Kind::Bool && self.random.chance(25) {
            let (one, other) = two(self, kind);
            return match self.random.below(3) {
                0 => format!("COALESCE({one}, {other})"),
                1 => format!("NULLIF({one}, {other})"),
                _ => format!("CASE WHEN {} THEN {one} ELSE {other} END", self.condition(scope, depth)),
            };
        }
        match kind {
            Kind::Int => self.int(scope, depth),
            Kind::Decimal => {
                let (one, other) = two(self, kind);
                format!("({one} {} {other})", self.random.pick(&["+", "-"]))
            }
            Kind::Double => {
                let (one, other) = two(self, kind);
                match self.random.below(5) {
                    0 => format!("CAST({} AS DOUBLE)", self.expr(scope, Kind::Int, depth)),
                    1 => format!("abs({one})"),
                    2 => format!("floor({one})"),
                    3 => format!("({one} / 4.0e0)"),
                    _ => format!("({one} {} {other})", self.random.pick(&["+", "-", "*"])),
                }
            }
            Kind::Text => self.text(scope, depth),
            Kind::Bool => self.bool(scope, depth),
            Kind::Date => format!("CAST({} AS DATE)", self.expr(scope, Kind::Time, depth)),
            Kind::Time => {
                let time = self.expr(scope, Kind::Time, depth);
                match self.random.below(3) {
                    0 => format!("date_trunc('{}', {time})", self.random.pick(&["month", "day", "hour"])),
                    1 => format!("({time} + INTERVAL '2 day')"),
                    _ => format!("CAST({} AS TIMESTAMP)", self.expr(scope, Kind::Date, depth)),
                }
            }
        }
    }

    fn int(&mut self, scope: &Scope, depth: u64) -> String {
        let one = self.expr(scope, Kind::Int, depth);
        match self.random.below(7) {
            0 => format!("abs({one})"),
            1 => format!("({one} % {})", 1 + self.random.below(5)),
            2 => format!("length({})", self.expr(scope, Kind::Text, depth)),
            3 => format!(
                "CAST(date_part('{}', {}) AS BIGINT)",
                self.random.pick(&["year", "month", "day"]),
                self.expr(scope, Kind::Date, depth)
            ),
            4 if depth > 0 => {
                let table = self.any_table();
                format!("(SELECT {}(i) FROM {table})", self.random.pick(&["min", "max"]))
            }
            _ => {
                let other = self.expr(scope, Kind::Int, depth);
                format!("({one} {} {other})", self.random.pick(&["+", "-", "*"]))
            }
        }
    }

    fn text(&mut self, scope: &Scope, depth: u64) -> String {
        let one = self.expr(scope, Kind::Text, depth);
        match self.random.below(7) {
            0 => format!("upper({one})"),
            1 => format!("lower({one})"),
            2 => format!("trim({one})"),
            3 => format!("substr({one}, 1, {})", 1 + self.random.below(3)),
            4 => format!("replace({one}, 'a', 'xy')"),
            5 => format!("CAST({} AS VARCHAR)", self.expr(scope, Kind::Int, depth)),
            _ => format!("({one} || {})", self.expr(scope, Kind::Text, depth)),
        }
    }

    fn bool(&mut self, scope: &Scope, depth: u64) -> String {
        let kind = self.random.pick(&KINDS.each_ref()).to_owned();
        let mut of = |kind: Kind| self.expr(scope, kind, depth);
        let (one, other) = (of(kind), of(kind));
        let (left, right) = (of(Kind::Bool), of(Kind::Bool));
        match self.random.below(10) {
            0 => format!("({one} IS NULL)"),
            1 => format!("({one} IS NOT NULL)"),
            2 => format!("({left} AND {right})"),
            3 => format!("({left} OR {right})"),
            4 => format!("(NOT {left})"),
            5 => format!("({one} IS DISTINCT FROM {other})"),
            6 => format!("({one} IN ({other}, {}))", literal(self.random, kind)),
            7 => format!("({one} BETWEEN {} AND {other})", literal(self.random, kind)),
            8 => format!(
                "({} LIKE '{}')",
                self.expr(scope, Kind::Text, depth),
                self.random.pick(&["a%", "%b%", "_", "%"])
            ),
            _ => format!("({one} {} {other})", self.random.pick(&["=", "<>", "<", "<=", ">", ">="])),
        }
    }
}
