//! Which rows a version has that an earlier one had not, told by the files.

use lagar_flow::Result;

use super::{DataFile, Table};
use crate::Lake;

/// What became of a table since an earlier version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The files that came: all new rows are in them, and old ones that were only written again.
    pub added: Vec<DataFile>,
    /// The files that went: all rows that are gone are in them, and some that are still there.
    pub removed: Vec<DataFile>,
}

impl Lake {
    /// How `table` differs from its version `since`, whose rows have the id `data_id` (`None`: not known).
    /// `None` if it cannot be told any more: that version or a file of it is gone.
    pub async fn changed_since(
        &self,
        table: &Table,
        since: u64,
        data_id: Option<&str>,
    ) -> Result<Option<Changed>> {
        let Some(before) = self.table(&table.name, Some(since)).await? else { return Ok(None) };
        if data_id.is_some() && data_id != before.meta.as_ref().map(|meta| meta.data_id()) {
            return Ok(None);
        }
        let files = match lacks(&table.files, &before.files) {
            true => self.before_compactions(table, since).await?,
            false => table.files.clone(),
        };
        let without = |files: &[DataFile], others: &[DataFile]| {
            files.iter().filter(|file| !others.contains(file)).cloned().collect::<Vec<_>>()
        };
        let changed =
            Changed { added: without(&files, &before.files), removed: without(&before.files, &files) };
        let gone = changed.added.iter().chain(&changed.removed).filter(|file| !table.files.contains(file));
        let gone = gone.map(|file| self.file_path(&table.name, file)).collect::<Result<_>>()?;
        Ok(self.first_gone(gone).await?.is_none().then_some(changed))
    }

    /// The files with the rows that came to `table` since its version `since`, whose rows have the id
    /// `data_id` (`None`: not known). `None` if rows went away as well, or if it cannot be told any more.
    ///
    /// A compaction adds no rows. Rows that came before one are read from the files that it replaced, as
    /// long as no vacuum has taken them away.
    pub async fn added_since(
        &self,
        table: &Table,
        since: u64,
        data_id: Option<&str>,
    ) -> Result<Option<Vec<DataFile>>> {
        let Some(before) = self.table(&table.name, Some(since)).await? else { return Ok(None) };
        let id = before.meta.as_ref().map(|meta| meta.data_id());
        if data_id.is_some() && data_id != id {
            return Ok(None);
        }
        let mut files = table.files.clone();
        if lacks(&files, &before.files) {
            files = self.before_compactions(table, since).await?;
        }
        if lacks(&files, &before.files) {
            return Ok(None);
        }
        files.retain(|file| !before.files.contains(file));
        let replaced = files.iter().filter(|file| !table.files.contains(file));
        let replaced = replaced.map(|file| self.file_path(&table.name, file)).collect::<Result<_>>()?;
        Ok(self.first_gone(replaced).await?.is_none().then_some(files))
    }

    /// The files that `table` would have if it had not been compacted since version `since`.
    async fn before_compactions(&self, table: &Table, since: u64) -> Result<Vec<DataFile>> {
        let mut files = table.files.clone();
        for version in (since + 1..=table.version).rev() {
            let (_, meta) = self.commit_info(&table.name, version).await?;
            if meta.is_none_or(|meta| meta.compacted.is_none()) {
                continue;
            }
            let (Some(before), Some(after)) = (
                self.table(&table.name, Some(version - 1)).await?,
                self.table(&table.name, Some(version)).await?,
            ) else {
                continue;
            };
            let (made, replaced) = (only_in(&after, &before), only_in(&before, &after));
            if !made.is_empty() && !lacks(&files, &made) {
                files.retain(|file| !made.contains(file));
                files.extend(replaced);
            }
        }
        Ok(files)
    }
}

/// Whether one of `wanted` is not in `files`.
fn lacks(files: &[DataFile], wanted: &[DataFile]) -> bool {
    wanted.iter().any(|file| !files.contains(file))
}

fn only_in(table: &Table, other: &Table) -> Vec<DataFile> {
    table.files.iter().filter(|file| !other.files.contains(file)).cloned().collect()
}
