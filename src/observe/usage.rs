//! Usage as it stands this moment: what is filed, and what is still on its way from the wallet.
//!
//! The records that the database may not have yet are read first, and the database says in the same transaction as its rows
//! which of them it has: a record that is filed meanwhile counts once, and none is missed.

use std::collections::{BTreeMap, HashSet};

use crate::app::App;
use crate::meter::money::flush;
use crate::observe::filing::{file_arrived, list_pending, read_rows};
use crate::ports::{PortError, Ports, RowSet};
use crate::store::money::reports::{
    Dimension, UsageSum, list_account_usage, list_key_usage, list_workspace_usage, sum_usage,
};
use crate::store::money::usage::{UsageId, UsageRow, find_usage, find_usage_ids};
use crate::store::sql::Statement;
use crate::store::statement::{Batch, FromRows as _, Query, run_all};

/// Which usage; what is `None` does not matter.
#[derive(Debug, Clone)]
pub struct UsageFilter {
    /// Of this account.
    pub account_id: String,
    /// By this key.
    pub api_key_id: Option<String>,
    /// In this workspace.
    pub workspace_id: Option<String>,
    /// Of this kind.
    pub request_type: Option<String>,
}

impl UsageFilter {
    /// Whether a row of the account is wanted.
    #[must_use]
    pub fn takes(&self, row: &UsageRow) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        fits(&self.api_key_id, &row.api_key_id)
            && fits(&self.workspace_id, &row.workspace_id)
            && fits(&self.request_type, &row.request_type)
    }

    /// The latest rows before a time; a page for [`cut_page`].
    #[must_use]
    pub fn list(&self, before_ms: i64, limit: i64) -> Query<Vec<UsageRow>> {
        let (account, request_type) = (&self.account_id, self.request_type.as_deref());
        match (self.api_key_id.as_deref(), self.workspace_id.as_deref()) {
            (Some(key), workspace) => list_key_usage(account, before_ms, limit, request_type, key, workspace),
            (None, Some(workspace)) => list_workspace_usage(account, before_ms, limit, request_type, workspace),
            (None, None) => list_account_usage(account, before_ms, limit, request_type),
        }
    }

    /// Sums since a time.
    #[must_use]
    pub fn sum(&self, since_ms: i64, by: Dimension, then_by: Dimension) -> Query<Vec<UsageSum>> {
        let (request_type, workspace) = (self.request_type.as_deref(), self.workspace_id.as_deref());
        let key = self.api_key_id.as_deref();
        sum_usage(&self.account_id, since_ms, by.name(), then_by.name(), request_type, workspace, key)
    }
}

/// Reads of usage, and which of the records that are on their way are filed.
struct WithKnown<B>(B, Query<Vec<UsageId>>);

impl<B: Batch> Batch for WithKnown<B> {
    type Rows = (B::Rows, Vec<UsageId>);

    fn statements(self) -> Vec<Statement> {
        let mut statements = self.0.statements();
        statements.push(self.1.statement);
        statements
    }

    fn read(mut sets: Vec<RowSet>) -> Result<Self::Rows, PortError> {
        let known = Vec::from_rows(sets.pop().unwrap_or_default())?;
        Ok((B::read(sets)?, known))
    }
}

/// Runs reads of filed usage; gives their rows and, beside them, what of the filter is not filed yet.
///
/// # Errors
/// When the wallet or the database does not answer.
pub async fn read_usage<B: Batch>(
    app: &App,
    ports: &Ports,
    filter: &UsageFilter,
    reads: B,
) -> Result<(B::Rows, Vec<UsageRow>), PortError> {
    let mut fresh = read_pending(app, ports, &filter.account_id).await?;
    fresh.retain(|row| filter.takes(row));
    let ids: Vec<&str> = fresh.iter().map(|row| row.id.as_str()).collect();
    let ids = serde_json::to_string(&ids).map_err(|e| PortError(format!("usage: {e}")))?;
    let (rows, known) = run_all(&*ports.db, WithKnown(reads, find_usage_ids(&filter.account_id, &ids))).await?;
    let known: HashSet<_> = known.into_iter().map(|row| row.id).collect();
    fresh.retain(|row| !known.contains(&row.id));
    Ok((rows, fresh))
}

/// One record, filed or not.
///
/// # Errors
/// As [`read_usage`].
pub async fn read_record(
    app: &App,
    ports: &Ports,
    filter: &UsageFilter,
    id: &str,
) -> Result<Option<UsageRow>, PortError> {
    // Both are asked in any case: how long it takes does not tell whose record it is.
    let pending = read_pending(app, ports, &filter.account_id).await?.into_iter().find(|row| row.id == id);
    let filed = find_usage(&filter.account_id, id).run(&*ports.db).await?;
    Ok(pending.or(filed).filter(|row| filter.takes(row)))
}

/// Records that the database may not have yet, newest first.
async fn read_pending(app: &App, ports: &Ports, account_id: &str) -> Result<Vec<UsageRow>, PortError> {
    flush(app, ports, account_id).await?;
    let (mut records, is_all) = list_pending(ports, account_id).await?;
    if !is_all {
        // More than are read at once: what is filed is read from the database.
        file_arrived(ports, account_id).await?;
        (records, _) = list_pending(ports, account_id).await?;
    }
    let mut rows = Vec::new();
    for queued in &records {
        match read_rows(queued) {
            Ok(read) => rows.extend(read),
            // One of a later release; its wallet keeps it.
            Err(error) => ports.background.log(&format!("a record of {account_id} is not read: {error}")),
        }
    }
    Ok(rows)
}

/// Joins a page of filed rows with those that are not filed yet; tells whether there are more. The cursor is a time, so a
/// page ends between two milliseconds: it is a little longer where the last one has several rows.
#[must_use]
pub fn cut_page(mut rows: Vec<UsageRow>, fresh: Vec<UsageRow>, before_ms: i64, limit: usize) -> (Vec<UsageRow>, bool) {
    rows.extend(fresh.into_iter().filter(|row| row.created_at_ms < before_ms));
    rows.sort_by(|a, b| b.created_at_ms.cmp(&a.created_at_ms).then_with(|| b.id.cmp(&a.id)));
    let Some(last_ms) = limit.checked_sub(1).and_then(|at| rows.get(at)).map(|row| row.created_at_ms) else {
        return (rows, false);
    };
    let end = rows.iter().position(|row| row.created_at_ms < last_ms).unwrap_or(rows.len());
    let has_more = end < rows.len();
    rows.truncate(end);
    (rows, has_more)
}

/// Adds rows that are not filed yet to sums of the same dimensions; in the order of their names.
#[must_use]
pub fn add_fresh<'r>(
    sums: Vec<UsageSum>,
    fresh: impl Iterator<Item = &'r UsageRow>,
    by: Dimension,
    then_by: Dimension,
) -> Vec<UsageSum> {
    let mut all: BTreeMap<(String, String), UsageSum> =
        sums.into_iter().map(|sum| ((sum.name.clone(), sum.part.clone()), sum)).collect();
    for row in fresh {
        let (name, part) = (by.of(row), then_by.of(row));
        all.entry((name.clone(), part.clone()))
            .or_insert_with(|| UsageSum { name, part, ..UsageSum::default() })
            .add(&sum_of(row));
    }
    all.into_values().collect()
}

fn sum_of(row: &UsageRow) -> UsageSum {
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    UsageSum {
        requests: 1,
        input_tokens: tokens(row.input_tokens),
        output_tokens: tokens(row.output_tokens),
        cost_micros: row.cost_micros,
        charged_micros: row.charged_micros,
        latency_ms: row.latency_ms,
        ..UsageSum::default()
    }
}
