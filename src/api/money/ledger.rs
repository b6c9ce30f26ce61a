//! The ledger, for whoever keeps books of their own: every movement of the account's money.

use durable_objects::wallet::protocol::{Command, JournalLine, PAGE_MAX, Reply as WalletReply, Wallet, name};
use guildhall_domain::csv::push_record;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::Query;
use crate::http::output::{Lines, Output, Shaped, Table};
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::ports::ask;
use crate::routes;

routes! {
    tag "Account", dialect ToolRouter;
    /// Export the ledger.
    ///
    /// Every line of the journal, oldest first, with exact amounts. Up to `limit` lines come at once; while there may be more,
    /// the header `x-next-after` says the next page's `after`. Charges older than two whole days may stand together, a line a
    /// day (`captures`, `write_offs`).
    Get "/v1/account/ledger" Access::Owner => export_ledger;
}

/// Which part, and in which form.
#[derive(Deserialize, JsonSchema)]
pub struct LedgerQuery {
    /// `jsonl` (the default) or `csv`.
    format: Option<String>,
    /// Only lines after this number.
    after: Option<i64>,
    /// Lines at most: 1 to 10,000, which is the default.
    limit: Option<u32>,
}

/// A form of export.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

/// One line.
#[derive(Serialize)]
struct LedgerLine<'l> {
    seq: i64,
    time: &'l str,
    kind: &'l str,
    id: &'l str,
    debit: &'l str,
    credit: &'l str,
    amount_usd: Box<RawValue>,
    reason: Option<&'l str>,
    hold: Option<&'l str>,
    wallet: Option<&'l str>,
}

const LIMIT_MAX: u32 = 10_000;
const COLUMNS: [&str; 10] = ["seq", "time", "kind", "id", "debit", "credit", "amount_usd", "reason", "hold", "wallet"];

/// A page of the ledger.
type Ledger = Shaped<(Lines, (Table, NextAfter))>;

/// The header that says where the next page begins.
struct NextAfter;

#[cfg(not(target_arch = "wasm32"))]
impl crate::openapi::Describe for NextAfter {
    fn describe(operation: &mut crate::openapi::Operation) {
        operation.give_header("x-next-after", "The next page's `after`; absent on the last page.");
    }
}

async fn export_ledger(cx: Cx, Query(query): Query<LedgerQuery>) -> Result<Ledger, ApiError> {
    let format = match query.format.as_deref() {
        None | Some("jsonl") => Format::JsonLines,
        Some("csv") => Format::Csv,
        Some(_) => return Err(ApiError::invalid("format", "format must be csv or jsonl")),
    };
    let limit = query.limit.unwrap_or(LIMIT_MAX);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::invalid("limit", format!("limit must be between 1 and {LIMIT_MAX}")));
    }
    let after = query.after.unwrap_or(0);
    if after < 0 {
        return Err(ApiError::invalid("after", "after must be the number of a line"));
    }
    let account = cx.caller.account_id()?;
    flush(&cx.app, &cx.ports, account).await?;
    let (text, next_after) = write_lines(&cx, account, format, after, limit).await?;
    let (content_type, file) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "ledger.csv"),
        Format::JsonLines => ("application/x-ndjson", "ledger.jsonl"),
    };
    let output = Output::text(content_type, text)
        .header("content-disposition", format!("attachment; filename=\"{file}\""))
        .header("cache-control", "no-store");
    Ok(match next_after {
        Some(seq) => output.header("x-next-after", seq.to_string()).into(),
        None => output.into(),
    })
}

/// Up to `limit` lines, and after which the next page begins.
async fn write_lines(
    cx: &Cx,
    account: &str,
    format: Format,
    mut after: i64,
    limit: u32,
) -> Result<(String, Option<i64>), ApiError> {
    let mut text = String::new();
    if format == Format::Csv {
        push_record(COLUMNS, &mut text);
    }
    let mut left = limit;
    while left > 0 {
        let command = Command::Journal { after, limit: left.min(PAGE_MAX) };
        let (entries, next_after) = match ask::<Wallet>(&*cx.ports.objects, &name(account), &command).await? {
            WalletReply::Journal { entries, next_after } => (entries, next_after),
            other => return Err(ApiError::internal(format!("journal: {other:?}"))),
        };
        for entry in &entries {
            write_line(entry, format, &mut text)?;
        }
        let Some(next_after) = next_after else { return Ok((text, None)) };
        after = next_after;
        left = left.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    }
    Ok((text, Some(after)))
}

fn write_line(entry: &JournalLine, format: Format, text: &mut String) -> Result<(), ApiError> {
    let time = format_rfc3339(entry.at_ms);
    let amount = entry.amount.to_usd_string();
    let (kind, id) = entry.id.split_once(':').unwrap_or(("", &entry.id));
    let (reason, hold) = (entry.note.reason.as_deref(), entry.note.hold.as_deref());
    let wallet = entry.note.wallet.as_deref();
    match format {
        Format::Csv => {
            let seq = entry.seq.to_string();
            let [reason, hold, wallet] = [reason, hold, wallet].map(Option::unwrap_or_default);
            let cells = [&seq, &time, kind, id, &entry.debit, &entry.credit, &amount, reason, hold, wallet];
            push_record(cells, text);
        }
        Format::JsonLines => {
            let amount_usd = RawValue::from_string(amount).map_err(ApiError::internal)?;
            let (debit, credit) = (entry.debit.as_str(), entry.credit.as_str());
            let line =
                LedgerLine { seq: entry.seq, time: &time, kind, id, debit, credit, amount_usd, reason, hold, wallet };
            text.push_str(&serde_json::to_string(&line).map_err(ApiError::internal)?);
            text.push('\n');
        }
    }
    Ok(())
}
