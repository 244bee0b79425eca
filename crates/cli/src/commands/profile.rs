use lagar_engine::profile::{Profile, Rule, Suggestion, suggest};
use lagar_flow::{Error, Result, codes};
use lagar_orchestrate::{ProfileOptions, TableProfile, Workplace, profile};

use crate::{
    args::{Global, ProfileArgs},
    output::{
        self,
        profile::{Colours, page},
        profile_html,
        rows::type_name,
        style_out,
    },
    signals,
};

pub async fn run(global: &Global, args: &ProfileArgs) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    // What is decided for a model is decided by the rows that it will read.
    let read = (args.suggest && args.table.starts_with("raw.")).then(|| "_newest".to_owned());
    let options = ProfileOptions { columns: args.columns.clone(), filter: args.filter.clone().or(read) };
    let cancel = signals::stop_on_signal()?;
    let profile = tokio::select! {
        profile = profile(&workplace, &args.table, &options) => profile?,
        () = cancel.cancelled() => return Err(Error::new(codes::STOPPED, "stopped")),
    };
    if args.suggest {
        return suggested(global, args, &workplace, &profile);
    }
    if let Some(file) = &args.html {
        output::write_file(file, &profile_html::page(&profile), true)?;
        if !global.quiet {
            eprintln!("the profile of {} is in {}", profile.table, file.display());
        }
    }
    if global.json {
        output::stdout(&format!("{}\n", json(&profile)?));
    } else if args.html.is_none() {
        let colours = Colours {
            name: style_out("1"),
            bars: style_out("36"),
            dim: style_out("2"),
            warn: style_out("33"),
        };
        output::stdout(&page(&profile, output::line_width(), &colours));
    }
    Ok(0)
}

/// The profile as data, with the name of each column's type.
fn json(profile: &TableProfile) -> Result<serde_json::Value> {
    let mut json = serde_json::to_value(profile)
        .map_err(|error| Error::bug("a profile cannot be written as JSON").caused_by(&error))?;
    let columns = json["columns"].as_array_mut().into_iter().flatten();
    for (entry, column) in columns.zip(&profile.profile.columns) {
        entry["type"] = type_name(&column.data_type).into();
    }
    Ok(json)
}

fn suggested(
    global: &Global,
    args: &ProfileArgs,
    workplace: &Workplace,
    profile: &TableProfile,
) -> Result<u8> {
    let rule = Rule { null_share: args.null_share, distinct: args.distinct };
    let suggestion = decide(profile, &profile.about(workplace.clock.now()), rule)?;
    if let Some(file) = &args.output {
        output::write_file(file, &suggestion.sql, args.force)?;
        if !global.quiet {
            eprintln!(
                "{} columns kept, {} dropped: {}",
                suggestion.kept,
                suggestion.dropped.len(),
                file.display()
            );
        }
    }
    if global.json {
        let dropped: serde_json::Map<String, serde_json::Value> =
            suggestion.dropped.iter().map(|(name, why)| (name.clone(), why.as_str().into())).collect();
        let line = serde_json::json!({
            "table": profile.table, "version": profile.version, "rows": profile.profile.rows,
            "null_share": rule.null_share, "distinct": rule.distinct, "kept": suggestion.kept,
            "dropped": dropped, "sql": suggestion.sql,
        });
        output::stdout(&format!("{line}\n"));
    } else if args.output.is_none() {
        output::stdout(&suggestion.sql);
    }
    Ok(0)
}

fn decide(profile: &TableProfile, about: &str, rule: Rule) -> Result<Suggestion> {
    let Profile { rows, .. } = profile.profile;
    if rows == 0 {
        let error = Error::new(codes::USAGE, format!("`{}` has no rows to decide by", profile.table));
        return Err(error.hint("profile a table, or rows of it, that have some"));
    }
    suggest(&profile.table, about, &profile.profile, rule).ok_or_else(|| {
        Error::new(codes::USAGE, format!("the rule leaves no column of `{}`", profile.table))
            .hint("raise --null-share or lower --distinct")
    })
}
