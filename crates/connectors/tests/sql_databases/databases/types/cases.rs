//! The column types, with what may stand in them.

use proptest::{
    collection::vec,
    prelude::{Just, any},
    sample::{select, subsequence},
    strategy::{BoxedStrategy, Strategy, Union},
};

use super::cell::{
    Expected, bits, boolean, date, decimal, decimal_of_sqlite, double, hex, int, single, text, timestamp,
};

/// A type of one database.
#[derive(Clone)]
pub struct Column {
    pub sql: &'static str,
    pub arrow: &'static str,
    /// From a text to a value; the text is `{}`.
    pub put: String,
    /// From a value to a text without loss.
    pub form: &'static str,
}

/// A type with its values, for each database that has it.
pub struct Type {
    pub columns: [Option<Column>; 3],
    /// Values that are always tried, as the database reads them.
    pub edges: &'static [&'static str],
    pub more: Vec<String>,
    pub random: BoxedStrategy<String>,
    /// What the database's text of a value must have become.
    pub read: fn(&str) -> Expected,
}

impl Type {
    fn new(
        read: fn(&str) -> Expected,
        edges: &'static [&'static str],
        random: impl Strategy<Value = String> + 'static,
    ) -> Self {
        Self { columns: [None, None, None], edges, more: Vec::new(), random: random.boxed(), read }
    }

    fn postgres(mut self, sql: &'static str, arrow: &'static str) -> Self {
        self.columns[0] = Some(Column { sql, arrow, put: format!("CAST({{}} AS {sql})"), form: "v" });
        self
    }

    fn mariadb(mut self, sql: &'static str, arrow: &'static str) -> Self {
        self.columns[1] = Some(Column { sql, arrow, put: "{}".to_owned(), form: "v" });
        self
    }

    fn sqlite(mut self, sql: &'static str, arrow: &'static str) -> Self {
        let form = "CASE typeof(v) WHEN 'blob' THEN hex(v) WHEN 'real' THEN printf('%!.17g', v) ELSE CAST(v AS TEXT) END";
        self.columns[2] = Some(Column { sql, arrow, put: "{}".to_owned(), form });
        self
    }

    /// How a text becomes a value of the database with this number.
    fn put(mut self, database: usize, put: &str) -> Self {
        self.columns[database].as_mut().unwrap().put = put.to_owned();
        self
    }

    fn form(mut self, database: usize, form: &'static str) -> Self {
        self.columns[database].as_mut().unwrap().form = form;
        self
    }

    fn and(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.more.extend(more);
        self
    }
}

pub const POSTGRES_TYPES: &str = "CREATE TYPE mood AS ENUM ('happy', 'sad', 'so, ''so''', 'ñ 😀', '');
    CREATE TYPE pair AS (a int, b text); CREATE DOMAIN price AS numeric(8,2); CREATE DOMAIN word AS varchar(9);
    CREATE DOMAIN inner_domain AS price; SET timezone = 'Europe/Madrid';";

const ZONED: &str = "Timestamp(µs, \"UTC\")";
const WALL: &str = "Timestamp(µs)";

pub fn types() -> Vec<Type> {
    let mut all = numbers();
    all.extend(texts());
    all.extend(times());
    all.extend(others());
    all
}

fn numbers() -> Vec<Type> {
    vec![
        Type::new(boolean, &["0", "1"], words(&["0", "1"]))
            .postgres("bool", "Boolean")
            .mariadb("boolean", "Boolean")
            .sqlite("BOOLEAN", "Boolean"),
        // More than true and false: such rows are rejected.
        Type::new(boolean, &["-128", "127", "-1", "0", "1", "2"], integers(-128, 127))
            .mariadb("tinyint(1)", "Boolean")
            .sqlite("BOOLEAN", "Boolean"),
        Type::new(boolean, &["0", "1", "128", "255"], integers(0, 255))
            .mariadb("tinyint(1) unsigned", "Boolean"),
        Type::new(int, &["-128", "127", "0"], integers(-128, 127)).mariadb("tinyint", "Int64"),
        Type::new(int, &["0", "255"], integers(0, 255)).mariadb("tinyint unsigned", "Int64"),
        Type::new(int, &["-32768", "32767"], integers(-32768, 32767))
            .postgres("int2", "Int64")
            .mariadb("smallint", "Int64"),
        Type::new(int, &["0", "65535"], integers(0, 65535)).mariadb("smallint unsigned", "Int64"),
        Type::new(int, &["-8388608", "8388607"], integers(-8_388_608, 8_388_607))
            .mariadb("mediumint", "Int64"),
        Type::new(int, &["0", "16777215"], integers(0, 16_777_215)).mariadb("mediumint unsigned", "Int64"),
        Type::new(int, &["-2147483648", "2147483647"], integers(i32::MIN.into(), i32::MAX.into()))
            .postgres("int4", "Int64")
            .mariadb("int", "Int64")
            .sqlite("INT", "Int64"),
        Type::new(int, &["0", "4294967295"], integers(0, u32::MAX.into()))
            .postgres("oid", "Int64")
            .mariadb("int unsigned", "Int64"),
        Type::new(int, &["0", "42"], integers(0, 99_999))
            .mariadb("int(5) zerofill", "Int64")
            .form(1, "CAST(v AS UNSIGNED)"),
        Type::new(
            int,
            &["-9223372036854775808", "9223372036854775807"],
            integers(i64::MIN.into(), i64::MAX.into()),
        )
        .postgres("int8", "Int64")
        .mariadb("bigint", "Int64")
        .sqlite("INTEGER", "Int64"),
        Type::new(text, &["0", "18446744073709551615", "9223372036854775808"], integers(0, u64::MAX.into()))
            .mariadb("bigint unsigned", "Decimal128(20, 0)"),
        Type::new(int, &["0000", "1901", "2155"], integers(1901, 2155)).mariadb("year", "Int64"),
        Type::new(bits, &["0", "1023"], integers(0, 1023))
            .mariadb("bit(10)", "Int64")
            .put(1, "CAST({} AS UNSIGNED)")
            .form(1, "CAST(v AS UNSIGNED)"),
        Type::new(
            bits,
            &["0", "18446744073709551615", "9223372036854775807", "9223372036854775808"],
            integers(0, u64::MAX.into()),
        )
        .mariadb("bit(64)", "Int64")
        .put(1, "CAST({} AS UNSIGNED)")
        .form(1, "CAST(v AS UNSIGNED)"),
        Type::new(
            double,
            &[
                "0",
                "-0",
                "0.1",
                "1e308",
                "-1.7976931348623157e308",
                "2.2250738585072014e-308",
                "5e-324",
                "9007199254740993",
                "NaN",
                "Infinity",
                "-Infinity",
            ],
            doubles(),
        )
        .postgres("float8", "Float64"),
        Type::new(
            double,
            &["0", "0.1", "1e308", "-1.7976931348623157e308", "2.2250738585072014e-308", "9007199254740993"],
            doubles(),
        )
        .mariadb("double", "Float64"),
        // SQLite writes all digits of a double of a moderate size only.
        Type::new(
            double,
            &["0", "0.1", "-19.99", "9007199254740993"],
            (-1e9..1e9).prop_map(|number: f64| number.to_string()),
        )
        .sqlite("REAL", "Float64"),
        Type::new(
            single,
            &["0", "-0", "0.1", "3.4028235e38", "1.1754944e-38", "16777217", "NaN", "-Infinity"],
            singles(),
        )
        .postgres("float4", "Float64"),
        Type::new(double, &["0", "0.1", "3.4028235e38", "16777217"], singles())
            .mariadb("float", "Float64")
            .form(1, "CAST(v AS DOUBLE)"),
        Type::new(
            decimal,
            &[
                "0",
                "-0.0000000001",
                "9999999999999999999999999999.9999999999",
                "-9999999999999999999999999999.9999999999",
            ],
            decimals(28, 10),
        )
        .postgres("numeric(38,10)", "Decimal128(38, 10)")
        .mariadb("decimal(38,10)", "Decimal128(38, 10)"),
        Type::new(decimal, &["0", "99999999999999999999999999999999999999", "-1"], decimals(38, 0))
            .postgres("numeric(38,0)", "Decimal128(38, 0)")
            .mariadb("decimal(38,0)", "Decimal128(38, 0)"),
        Type::new(decimal, &["0", "0.00000000000000000000000000000000000001"], decimals(0, 37))
            .postgres("numeric(38,38)", "Decimal128(38, 38)"),
        Type::new(decimal, &["NaN", "1.5", "-99999.99"], decimals(5, 2))
            .postgres("numeric(7,2)", "Decimal128(7, 2)"),
        Type::new(decimal, &["0", "1.005", "99999.99"], decimals(5, 2))
            .mariadb("decimal(7,2) unsigned", "Decimal128(7, 2)"),
        Type::new(decimal, &["0.01", "-999999.99"], decimals(6, 2)).postgres("price", "Decimal128(8, 2)"),
        // What has no decimal of ours is text, with a note.
        Type::new(text, &["NaN", "Infinity", "-Infinity", "1.50", "1e-30"], decimals(60, 30))
            .postgres("numeric", "Utf8"),
        Type::new(text, &["0.01", "1"], decimals(6, 2)).postgres("inner_domain", "Utf8"),
        Type::new(text, &["NaN", "1e48"], decimals(40, 10)).postgres("numeric(60,10)", "Utf8"),
        Type::new(text, &["12345", "0"], decimals(7, 0)).postgres("numeric(5,-2)", "Utf8"),
        Type::new(
            text,
            &["0", "99999999999999999999999999999999999.999999999999999999999999999999"],
            decimals(35, 30),
        )
        .mariadb("decimal(65,30)", "Utf8"),
        // Stored as a double, and refused where it has more digits than the type.
        Type::new(
            decimal_of_sqlite,
            &["0", "19.99", "-0.01", "99999999.99", "0.125", "123456789"],
            decimals(8, 2),
        )
        .sqlite("DECIMAL(10,2)", "Decimal128(10, 2)")
        .form(2, "CAST(v AS TEXT)"),
        Type::new(text, &["-92233720368547758.08", "92233720368547758.07", "0"], decimals(9, 2))
            .postgres("money", "Utf8")
            .put(0, "CAST(CAST({} AS numeric) AS money)"),
    ]
}

fn texts() -> Vec<Type> {
    const EDGES: &[&str] = &[
        "",
        " ",
        "NULL",
        "null",
        "\\N",
        "'",
        "\"",
        "`",
        "\\",
        "a\nb\r\n\tc",
        "ñandú",
        "😀👩‍👩‍👧",
        "\u{FEFF}x",
        "\u{202E}abc",
        "e\u{301}",
        "0",
        "true",
        "\u{10FFFF}",
        "{\"a\":1}",
    ];
    let long = || [format!("{}é", "x".repeat((1 << 20) - 2)), "😀".repeat(1 << 18)];
    vec![
        Type::new(text, EDGES, words_of_any_characters())
            .and(long())
            .postgres("text", "Utf8")
            .mariadb("longtext", "Utf8")
            .sqlite("TEXT", "Utf8"),
        Type::new(text, EDGES, words_of_any_characters())
            .and(["a\0b".to_owned(), "\0".to_owned()])
            .mariadb("varchar(500) COLLATE utf8mb4_bin", "Utf8"),
        Type::new(text, EDGES, words_of_any_characters())
            .postgres("varchar(500)", "Utf8")
            .mariadb("text", "Utf8")
            .sqlite("VARCHAR(9)", "Utf8"),
        Type::new(text, &["", " ", "ab", "ab  ", "ñ"], words(&["a", "b c", "d "]))
            .postgres("char(4)", "Utf8")
            .mariadb("char(4)", "Utf8"),
        Type::new(text, &["", "ñ", "\u{20AC}", "Łódź"], words(&["é", "ÿ"]))
            .mariadb("varchar(20) CHARACTER SET latin1", "Utf8"),
        Type::new(
            text,
            &["", "x", "a_name_of_sixty_three_bytes_is_the_longest_that_there_can_be_here_"],
            words(&["a", "ñ"]),
        )
        .postgres("name", "Utf8"),
        Type::new(text, &["", "x"], words(&["y", "~"])).postgres("\"char\"", "Utf8"),
        Type::new(text, &["", "abc"], words(&["ñ", "123456789"])).postgres("word", "Utf8"),
        Type::new(text, &["happy", "so, 'so'", "ñ 😀", ""], words(&["happy", "sad"]))
            .postgres("mood", "Utf8"),
        Type::new(text, &["happy", "so, 'so'", "nothing of it", ""], words(&["happy", "sad"]))
            .mariadb("enum('happy','sad','so, ''so''','')", "Utf8"),
        Type::new(
            text,
            &["", "a", "c,a"],
            subsequence(vec!["a", "b", "c d", "ñ"], 0..=4).prop_map(|words| words.join(",")),
        )
        .mariadb("set('a','b','c d','ñ')", "Utf8"),
        Type::new(
            hex,
            &["", "00", "ff00fe", "c3b1"],
            vec(any::<u8>(), 0..60).prop_map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect()),
        )
        .and(["ab".repeat(1 << 20)])
        .postgres("bytea", "Binary")
        .put(0, "decode({}, 'hex')")
        .mariadb("longblob", "Binary")
        .put(1, "UNHEX({})")
        .form(1, "HEX(v)")
        .sqlite("BLOB", "Binary")
        .put(2, "unhex({})"),
        Type::new(hex, &["", "00", "ff00fe"], words(&["0a0b", "c3b1"]))
            .mariadb("binary(4)", "Binary")
            .put(1, "UNHEX({})")
            .form(1, "HEX(v)"),
        Type::new(hex, &["", "00", "ff00fe"], words(&["0a0b", "c3b1"]))
            .mariadb("varbinary(4)", "Binary")
            .put(1, "UNHEX({})")
            .form(1, "HEX(v)"),
        Type::new(
            text,
            &["{\"a\": [1, null, \"\\u0000\", 1.50]}", " [ ] ", "1e400", "\"😀\"", "null"],
            json(),
        )
        .postgres("json", "Utf8")
        .mariadb("json", "Utf8"),
        Type::new(text, &["{\"b\":1,\"a\":[1,null,1.50]}", " [ ] ", "1e400", "\"😀\"", "null"], json())
            .postgres("jsonb", "Utf8"),
        Type::new(text, &["<a/>", "<a b='1'>x &amp; y</a>", "plain"], words(&["<b/>"]))
            .postgres("xml", "Utf8"),
    ]
}

fn times() -> Vec<Type> {
    vec![
        Type::new(date, &["0001-01-01", "1582-10-10", "1900-02-28", "2000-02-29", "9999-12-31"], dates())
            .postgres("date", "Date32")
            .mariadb("date", "Date32")
            .sqlite("DATE", "Date32"),
        Type::new(
            date,
            &["infinity", "-infinity", "4714-11-24 BC", "0001-12-31 BC", "5874897-12-31"],
            (10_000..5_874_897).prop_map(|year| format!("{year}-06-30")),
        )
        .postgres("date", "Date32"),
        Type::new(
            date,
            &["0000-00-00", "0000-01-01", "2024-00-10", "2024-10-00", "2024-02-31", "0000-00-05"],
            dates(),
        )
        .mariadb("date", "Date32"),
        Type::new(
            timestamp,
            &[
                "1969-12-31 23:59:59.999999",
                "0001-01-01 00:00:00",
                "9999-12-31 23:59:59.999999",
                "2024-03-31 02:30:00",
            ],
            timestamps(),
        )
        .postgres("timestamp", WALL)
        .mariadb("datetime(6)", WALL)
        .sqlite("DATETIME", WALL),
        Type::new(
            timestamp,
            &[
                "infinity",
                "-infinity",
                "4714-11-24 00:00:00 BC",
                "294276-12-31 23:59:59.999999",
                "294247-01-10 04:00:54",
            ],
            (10_000..294_276).prop_map(|year| format!("{year}-06-30 01:02:03.4")),
        )
        .postgres("timestamp", WALL),
        Type::new(
            timestamp,
            &["0000-00-00 00:00:00", "2024-00-10 01:02:03", "0000-00-00 01:02:03", "2024-02-31 00:00:00"],
            timestamps(),
        )
        .mariadb("datetime(3)", WALL),
        // Both nights on which clocks in Madrid jump, by their zone and by offsets.
        Type::new(
            timestamp,
            &[
                "2024-03-31 01:59:59.999999 Europe/Madrid",
                "2024-03-31 02:30 Europe/Madrid",
                "2024-10-27 02:30 Europe/Madrid",
                "2024-10-27 02:30+02",
                "2024-10-27 02:30+01",
                "infinity",
                "-infinity",
                "4714-11-24 00:00Z BC",
                "1901-01-01 00:00 Europe/Madrid",
                "1900-12-31 23:45:16 Europe/Madrid",
                "294276-12-31 23:59:59.999999Z",
            ],
            Union::new([
                clock_changes().boxed(),
                (timestamps(), -12..=14).prop_map(|(moment, offset)| format!("{moment}{offset:+03}")).boxed(),
            ]),
        )
        .postgres("timestamptz", ZONED),
        Type::new(
            timestamp,
            &[
                "1970-01-01 00:00:01",
                "2038-01-19 03:14:07.999999",
                "2024-03-31 01:30:00",
                "2024-10-27 01:30:00",
                "0000-00-00 00:00:00",
            ],
            (1971..2038, timestamps()).prop_map(|(year, moment)| format!("{year}{}", &moment[4..])),
        )
        .mariadb("timestamp(6) NULL", ZONED),
        Type::new(text, &["00:00:00", "24:00:00", "23:59:59.999999"], times_of_day())
            .postgres("time", "Utf8"),
        Type::new(text, &["00:00:00+00", "24:00:00-12:30", "03:04:05.6+02"], times_of_day())
            .postgres("timetz", "Utf8"),
        Type::new(text, &["-838:59:59.999999", "838:59:59.999999", "-00:00:00.000001"], times_of_day())
            .mariadb("time(6)", "Utf8"),
        Type::new(
            text,
            &["0", "-1 year 2 mons -3 days 04:05:06.789", "178000000 years", "1.5 hours"],
            (-200..200, -50..50, -99_999..99_999_i64).prop_map(|(months, days, millis)| {
                format!("{months} mons {days} days {millis} milliseconds")
            }),
        )
        .postgres("interval", "Utf8"),
    ]
}

fn others() -> Vec<Type> {
    vec![
        Type::new(
            text,
            &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
            any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string()),
        )
        .postgres("uuid", "Utf8")
        .mariadb("uuid", "Utf8")
        .sqlite("UUID", "Utf8"),
        Type::new(
            text,
            &["10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::/32", "::ffff:1.2.3.4"],
            (any::<u32>(), 0..=32_u8)
                .prop_map(|(ip, bits)| format!("{}/{bits}", std::net::Ipv4Addr::from(ip))),
        )
        .postgres("inet", "Utf8"),
        Type::new(
            text,
            &["10.0.0.0/8", "::/0"],
            any::<u32>().prop_map(|ip| format!("{}/32", std::net::Ipv4Addr::from(ip))),
        )
        .postgres("cidr", "Utf8"),
        Type::new(
            text,
            &["::1", "::ffff:1.2.3.4"],
            any::<u128>().prop_map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        )
        .mariadb("inet6", "Utf8"),
        Type::new(
            text,
            &["0.0.0.0", "255.255.255.255"],
            any::<u32>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        )
        .mariadb("inet4", "Utf8"),
        Type::new(text, &["08:00:2b:01:02:03"], words(&["00:00:00:00:00:00"])).postgres("macaddr", "Utf8"),
        Type::new(text, &["0000000000", "1111111111"], (0..1024_u32).prop_map(|n| format!("{n:010b}")))
            .postgres("bit(10)", "Utf8"),
        Type::new(
            text,
            &["", "1"],
            vec(any::<bool>(), 0..70)
                .prop_map(|bits| bits.into_iter().map(|b| if b { '1' } else { '0' }).collect()),
        )
        .postgres("bit varying", "Utf8"),
        Type::new(
            text,
            &["empty", "(,)", "[1,5)", "[-2147483648,]"],
            (-1000..0, 0..1000).prop_map(|(a, b)| format!("[{a},{b}]")),
        )
        .postgres("int4range", "Utf8"),
        Type::new(
            text,
            &["empty", "[1.50,\"2\")", "(,NaN]"],
            (-1000..0, 0..1000).prop_map(|(a, b)| format!("({a}.25,{b}.50]")),
        )
        .postgres("numrange", "Utf8"),
        Type::new(
            text,
            &["[\"2024-01-01 00:00:00\",infinity)"],
            dates().prop_map(|day| format!("[\"{day} 01:02:03.4\",)")),
        )
        .postgres("tsrange", "Utf8"),
        Type::new(
            text,
            &["(1,x)", "(,)", "(1,\"a,\"\"b\")"],
            any::<i32>().prop_map(|n| format!("({n},\"ñ {n}\")")),
        )
        .postgres("pair", "Utf8"),
        Type::new(
            text,
            &["(1,2)", "(0.1,-1e300)"],
            (any::<i16>(), any::<i16>()).prop_map(|(x, y)| format!("({x}.5,{y})")),
        )
        .postgres("point", "Utf8"),
        Type::new(text, &["'a' 'b':2", ""], words(&["x y z"])).postgres("tsvector", "Utf8"),
        Type::new(text, &["pg_class"], words(&["pg_type"])).postgres("regclass", "Utf8"),
        Type::new(
            hex,
            &["POINT(1 2)", "POINT(-0.1 1e300)"],
            (any::<i16>(), any::<i16>()).prop_map(|(x, y)| format!("POINT({x} {y})")),
        )
        .mariadb("point", "Binary")
        .put(1, "ST_GeomFromText({})")
        .form(1, "HEX(v)"),
    ]
}

/// Types of elements of arrays, with values that their JSON shows in the same words.
pub fn elements() -> Vec<(&'static str, BoxedStrategy<String>)> {
    vec![
        ("int4", integers(i32::MIN.into(), i32::MAX.into()).boxed()),
        ("int8", integers(i64::MIN.into(), i64::MAX.into()).boxed()),
        ("numeric", decimals(40, 12).boxed()),
        ("float8", doubles().boxed()),
        ("bool", words(&["true", "false"]).boxed()),
        ("text", words_of_any_characters().boxed()),
        ("mood", words(&["happy", "sad", "so, {so}", ""]).boxed()),
        ("uuid", any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string()).boxed()),
        ("date", dates().boxed()),
        ("bytea", any::<u32>().prop_map(|n| format!("\\x{n:08x}")).boxed()),
    ]
}

fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(str::to_owned)
}

fn integers(from: i128, to: i128) -> impl Strategy<Value = String> {
    (from..=to).prop_map(|number| number.to_string())
}

/// Up to so many digits before and behind the point.
fn decimals(whole: usize, fraction: usize) -> impl Strategy<Value = String> {
    let digits = |most: usize| {
        vec(0..10_u8, 0..=most).prop_map(|digits| digits.iter().map(u8::to_string).collect::<String>())
    };
    (any::<bool>(), digits(whole), digits(fraction)).prop_map(|(negative, whole, fraction)| {
        let sign = if negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}0{whole}{point}{fraction}")
    })
}

fn doubles() -> impl Strategy<Value = String> {
    proptest::num::f64::NORMAL.prop_map(|number| format!("{number:e}"))
}

fn singles() -> impl Strategy<Value = String> {
    proptest::num::f32::NORMAL.prop_map(|number| format!("{number:e}"))
}

/// Every character but NUL, which Postgres has no place for.
fn words_of_any_characters() -> impl Strategy<Value = String> {
    vec(any::<char>().prop_filter("no NUL", |c| *c != '\0'), 0..40)
        .prop_map(|chars| chars.into_iter().collect())
}

fn json() -> impl Strategy<Value = String> {
    let leaf = Union::new([
        Just("null".to_owned()).boxed(),
        integers(i64::MIN.into(), u64::MAX.into()).boxed(),
        decimals(20, 20)
            .prop_map(|n| if let Some(n) = n.strip_prefix("-0") { format!("-1{n}") } else { format!("1{n}") })
            .boxed(),
        "[a-zñ😀 ]{0,9}".prop_map(|word| serde_json::Value::from(word).to_string()).boxed(),
    ]);
    leaf.prop_recursive(3, 12, 4, |inner| {
        Union::new([
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))).boxed(),
            vec(inner, 0..4)
                .prop_map(|items| {
                    let pairs: Vec<String> =
                        items.iter().enumerate().map(|(i, v)| format!("\"k{i}\" :{v}")).collect();
                    format!("{{{}}}", pairs.join(","))
                })
                .boxed(),
        ])
    })
}

fn dates() -> impl Strategy<Value = String> {
    (1..=9999, 1..=12, 1..=28).prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"))
}

fn times_of_day() -> impl Strategy<Value = String> {
    (0..24, 0..60, 0..60, 0..1_000_000)
        .prop_map(|(h, m, s, micros)| format!("{h:02}:{m:02}:{s:02}.{micros:06}"))
}

fn timestamps() -> impl Strategy<Value = String> {
    (dates(), times_of_day()).prop_map(|(date, time)| format!("{date} {time}"))
}

/// Within two hours of a change of the clocks.
fn clock_changes() -> impl Strategy<Value = String> {
    (
        select(&["2024-03-31", "2024-10-27", "1996-10-27", "2037-03-29"]),
        0..4,
        0..60,
        0..1_000_000,
        select(&["Europe/Madrid", "+01", "+02", "Z"]),
    )
        .prop_map(|(day, h, m, micros, zone)| format!("{day} {h:02}:{m:02}:59.{micros:06} {zone}"))
}
