//! Every error code, once. A code never changes its meaning; the blame goes with the code.
//!
//! E1xxx the project and the command line · E2xxx sources · E3xxx the lake · E4xxx SQL and models ·
//! E5xxx checks · E6xxx runs · E7xxx predictors · E9xxx Lagar itself.

use crate::Blame;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    pub id: &'static str,
    pub blame: Blame,
    /// What the code stands for, for `docs/errors.md`.
    pub title: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $blame:ident, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code { id: $id, blame: Blame::$blame, title: $title };)*
        /// All codes, in order.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    USAGE = "E1001", Usage, "the command line does not say what to do";
    PROJECT_MISSING = "E1002", Usage, "there is no project there";
    YAML = "E1101", Usage, "a YAML text cannot be parsed";
    CONFIG = "E1102", Usage, "a key or value of the project file is wrong";
    CONFIG_UNKNOWN = "E1103", Usage, "the project file has a key that does not exist";
    CONFIG_LATER = "E1104", Usage, "a key or feature is not supported yet";
    VARIABLE = "E1105", Usage, "a variable is not set";
    NAME = "E1106", Usage, "a name is not allowed";
    SELECTION = "E1107", Usage, "a selection matches nothing";

    SOURCE_MISSING = "E2001", Data, "the file or object of a source does not exist";
    SOURCE_EMPTY = "E2002", Data, "a source that must have rows has none";
    SOURCE_CHANGED = "E2003", Outside, "a source changed while it was read";
    SOURCE_IO = "E2004", Data, "a file of a source cannot be read";
    DECODE = "E2101", Data, "an answer or file cannot be decoded";
    REJECTED = "E2102", Data, "more rows were rejected than allowed";
    TOO_LARGE = "E2103", Data, "an answer or file is larger than the limit";
    FROZEN = "E2104", Data, "the columns of a source changed, and its schema is frozen";
    HTTP_STATUS = "E2201", Data, "a server refused a request";
    HTTP_TEMPORARY = "E2202", Outside, "a server did not answer, or asked to come back later";
    HTTP_ANSWER = "E2203", Data, "a server answered something that is not the data asked for";
    AUTH = "E2204", Data, "a login was refused";
    CERTIFICATE = "E2205", Data, "a server's certificate is not accepted";
    DATABASE = "E2301", Data, "a database refused a statement";
    DATABASE_DOWN = "E2302", Outside, "a database cannot be reached";
    DATABASE_TYPE = "E2303", Data, "a column of a database has a type that cannot be read";
    DATABASE_TLS = "E2304", Data, "an encrypted connection to a database cannot be made";

    LAKE_CONFIG = "E3001", Usage, "the lake's address is wrong";
    LAKE_STORE = "E3002", Outside, "the lake's store does not answer";
    LAKE_DENIED = "E3003", Data, "the lake's store refuses access";
    LAKE_SPACE = "E3004", Outside, "there is no space left";
    LAKE_SYMLINK = "E3005", Data, "a symbolic link lies in the lake";
    LAKE_CORRUPT = "E3006", Data, "an object of the lake is damaged or missing";
    LAKE_CONFLICT = "E3007", Outside, "another writer was first";
    LAKE_VERSION = "E3008", Data, "the lake was written by a newer Lagar, or by another program";
    TABLE_MISSING = "E3009", Data, "there is no such table or version";
    SCHEMA_CHANGE = "E3010", Data, "a table's columns changed in a way that its old rows do not allow";
    LAKE_CREDENTIALS = "E3011", Usage, "no credentials for the lake's store were found";

    SQL_SYNTAX = "E4001", Usage, "SQL cannot be parsed";
    SQL_UNKNOWN_TABLE = "E4002", Usage, "SQL reads a table that nothing makes";
    SQL_UNKNOWN_COLUMN = "E4003", Usage, "SQL names a column that does not exist";
    SQL_PLAN = "E4004", Usage, "SQL does not fit the tables' types";
    SQL_NOT_ALLOWED = "E4005", Usage, "a statement is not allowed here";
    SQL_EXECUTION = "E4006", Data, "a query failed on its data";
    FRONT_MATTER = "E4101", Usage, "the front matter of a model is wrong";
    CYCLE = "E4102", Usage, "models read each other in a circle";
    MEMORY = "E4201", Data, "a query needs more memory than allowed";
    SPILL = "E4202", Data, "what a query cannot hold in memory cannot be kept on disk";

    CHECK_FAILED = "E5001", Data, "a check failed";
    TEST_FAILED = "E5101", Data, "a unit test of a model failed";

    UPSTREAM = "E6001", Data, "a step that this one needs failed";
    LOCKED = "E6002", Outside, "another run holds the project";
    STOPPED = "E6003", Stopped, "the run was stopped";
    HISTORY = "E6004", Data, "the history cannot be read or written";
    DEADLINE = "E6005", Outside, "a deadline passed";
    OUTPUT = "E6006", Data, "the output cannot be written";
    OVERTAKEN = "E6007", Outside, "another run published a table while this one made it";

    PREDICTOR_DATA = "E7001", Data, "a predictor cannot learn from these rows, or answer for them";
    PREDICTOR_STORED = "E7002", Data, "a stored predictor cannot be used";
    PREDICTOR_LEAK = "E7003", Data, "a feature gives the target away";

    BUG = "E9001", Lagar, "a defect in Lagar";
}
