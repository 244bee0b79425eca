//! Plain tables for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A borderless table: a header, then rows; columns named in `right` are right-aligned.
pub fn listing(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.to_vec());
    table.set_content_arrangement(ContentArrangement::Disabled);
    for row in rows {
        table.add_row(row.iter().map(|cell| super::clean(cell)).collect::<Vec<_>>());
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    text.join("\n") + "\n"
}

/// A box: header, types, the cells; as wide as its content up to `width` characters.
pub fn boxed(
    names: Vec<String>,
    types: Vec<String>,
    rows: Vec<Vec<String>>,
    right: &[usize],
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    let header: Vec<String> =
        names.iter().zip(&types).map(|(name, kind)| format!("{}\n{kind}", super::clean(name))).collect();
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}
