//! `lagar sql` without a query: a prompt with history and completion.

use std::io::BufWriter;

use lagar_flow::{Result, TableName, schema_of};
use lagar_orchestrate::{Reader, Workplace};
use rustyline::{
    CompletionType, Config, Context, Editor, Helper, Highlighter, Hinter, Validator,
    completion::{Completer, Pair},
    error::ReadlineError,
    history::FileHistory,
};

use crate::{args::Format, output};

const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "AS",
    "COUNT(*)",
    "DISTINCT",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "IS",
    "IN",
    "BETWEEN",
    "LIKE",
    "WITH",
    "UNION ALL",
    "DESCRIBE",
    "EXPLAIN",
];

#[derive(Helper, Highlighter, Hinter, Validator)]
struct Words {
    words: Vec<String>,
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let start = line[..position]
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .map_or(0, |place| place + line[place..].chars().next().map_or(1, char::len_utf8));
        let begun = line[start..position].to_lowercase();
        let fits = |word: &&String| !begun.is_empty() && word.to_lowercase().starts_with(&begun);
        let pair = |word: &String| Pair { display: word.clone(), replacement: word.clone() };
        Ok((start, self.words.iter().filter(fits).map(pair).collect()))
    }
}

/// Reads statements up to `;` until Ctrl-D, and answers each.
pub async fn run(workplace: &Workplace, format: Format) -> Result<u8> {
    let reader = Reader::open(workplace).await?;
    let words = words(workplace, &reader).await?;
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
    let mut editor: Editor<Words, FileHistory> = match Editor::with_config(config) {
        Ok(editor) => editor,
        Err(error) => {
            return Err(
                lagar_flow::Error::new(lagar_flow::codes::OUTPUT, "no prompt can be shown").caused_by(&error)
            );
        }
    };
    editor.set_helper(Some(Words { words }));
    let history = workplace.project.state_dir()?.join("sql_history");
    // There is none the first time; without one the prompt works as well.
    let _ = editor.load_history(&history);
    let release = reader
        .release()
        .map_or("nothing released yet".into(), |release| format!("release {}", release.number));
    eprintln!(
        "{}, {release}. A statement ends with `;`, `\\d` lists tables, Ctrl-D leaves.",
        workplace.lake.url()
    );
    let mut statement = String::new();
    loop {
        let line = editor.readline(if statement.is_empty() { "lagar> " } else { "   ... " });
        match line {
            Ok(line) if statement.is_empty() && matches!(line.trim(), "exit" | "quit" | "\\q") => break,
            Ok(line) if statement.is_empty() && matches!(line.trim(), "\\d" | "\\dt") => {
                for table in reader.tables().await? {
                    output::stdout(&format!("{table}\n"));
                }
            }
            Ok(line) => {
                statement.push_str(&line);
                statement.push('\n');
                if line.trim_end().ends_with(';') {
                    let sql = statement.trim().trim_end_matches(';').to_owned();
                    statement.clear();
                    if let Err(error) = answer(&reader, &sql, format).await {
                        output::print_error(&error.without(&workplace.project.secrets));
                    }
                }
            }
            Err(ReadlineError::Interrupted) => statement.clear(),
            Err(_) => break,
        }
    }
    let _ = editor.save_history(&history);
    Ok(0)
}

async fn answer(reader: &Reader<'_>, sql: &str, format: Format) -> Result<()> {
    let started = std::time::Instant::now();
    let result = reader.query(sql).await?;
    output::rows::write(result.batches, format, &mut BufWriter::new(std::io::stdout())).await?;
    eprintln!("{}", output::seconds(started.elapsed().as_secs_f64()));
    Ok(())
}

/// Keywords, tables and their columns.
async fn words(workplace: &Workplace, reader: &Reader<'_>) -> Result<Vec<String>> {
    let mut words: Vec<String> = KEYWORDS.iter().map(|word| (*word).to_owned()).collect();
    for table in reader.tables().await? {
        if let Ok(name) = table.parse::<TableName>() {
            let schema = match reader.table(&name).await? {
                Some(released) => Some(released.schema),
                None => workplace
                    .lake
                    .loads(&name.name)
                    .await?
                    .last()
                    .map(|load| schema_of(&load.columns))
                    .transpose()?,
            };
            words.extend(schema.iter().flat_map(|schema| schema.fields()).map(|field| field.name().clone()));
        }
        words.push(table);
    }
    words.sort();
    words.dedup();
    Ok(words)
}
