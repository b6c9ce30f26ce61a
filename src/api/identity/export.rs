//! An account's data, to take along.

use crate::app::Cx;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::output::{Body, Lines, Output, Shaped};
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::observe::filing::file_arrived;
use crate::ports::{LiveStream, Pending, PortError};
use crate::routes;
use crate::store::identity::export::{ExportRow, SECTIONS};

routes! {
    tag "Account", dialect ToolRouter;
    /// Export the account's data.
    ///
    /// JSON lines: the account, its workspaces, keys (never their secrets), payments, usage with receipts, kept responses; for
    /// a person also their address. The last line's `type` is `end`, with the number of lines before it: without it, the export broke
    /// off. The ledger is `/v1/account/ledger`.
    Get "/v1/account/export" Access::Owner => export_account;
}

/// How often a page that can't be read is asked for again, and after which pause.
const TRIES: u32 = 3;
const TRY_PAUSE_MS: u32 = 500;

async fn export_account(cx: Cx, (): ()) -> Result<Shaped<Lines>, ApiError> {
    let account_id = cx.caller.account_id()?.to_owned();
    flush(&cx.app, &cx.ports, &account_id).await?;
    // What is under way is filed first, so that the export is complete.
    file_arrived(&cx.ports, &account_id).await?;
    let first = match &cx.caller {
        Caller::Session(person) => {
            let line = serde_json::json!({ "type": "person", "id": person.person_id, "email": person.email });
            Some(format!("{line}\n"))
        }
        _ => None,
    };
    let lines = u64::from(first.is_some());
    let export = Export { cx, account_id, first, section: 0, after: BEFORE_ALL, lines, is_over: false };
    Ok(Output { status: 200, headers: Vec::new(), body: Body::Live(Box::new(export)) }
        .header("content-type", "application/x-ndjson")
        .header("content-disposition", "attachment; filename=\"account.jsonl\"")
        .header("cache-control", "no-store")
        .into())
}

const BEFORE_ALL: (i64, String) = (-1, String::new());

/// An export on its way: page after page, so that it never stands in memory as a whole.
struct Export {
    cx: Cx,
    account_id: String,
    first: Option<String>,
    section: usize,
    /// The place of the last row of the section that was sent.
    after: (i64, String),
    lines: u64,
    is_over: bool,
}

impl LiveStream for Export {
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            if let Some(first) = self.first.take() {
                return Some(first.into_bytes());
            }
            while !self.is_over {
                self.cx.keep_up();
                let Some((read, limit)) = SECTIONS.get(self.section) else {
                    self.is_over = true;
                    return Some(format!("{{\"type\":\"end\",\"lines\":{}}}\n", self.lines).into_bytes());
                };
                let page = match self.read_page(|after| read(&self.account_id, after.0, &after.1, *limit)).await {
                    Ok(page) => page,
                    Err(error) => {
                        self.cx.ports.background.log(&format!("{}: export: {error}", self.cx.request_id));
                        self.is_over = true;
                        return None;
                    }
                };
                let is_last = i64::try_from(page.len()).is_ok_and(|rows| rows < *limit);
                match page.last().filter(|_| !is_last) {
                    Some(row) => self.after = (row.at_ms, row.id.clone()),
                    None => (self.section, self.after) = (self.section + 1, BEFORE_ALL),
                }
                if !page.is_empty() {
                    self.lines += page.len() as u64;
                    return Some(
                        page.into_iter().fold(String::new(), |text, row| text + &row.line + "\n").into_bytes(),
                    );
                }
            }
            None
        })
    }
}

impl Export {
    async fn read_page(
        &self,
        query: impl Fn(&(i64, String)) -> crate::store::statement::Query<Vec<ExportRow>>,
    ) -> Result<Vec<ExportRow>, PortError> {
        let mut tries = 1;
        loop {
            match query(&self.after).run(&*self.cx.ports.db).await {
                Err(error) if tries < TRIES => {
                    self.cx.ports.background.log(&format!("{}: export: {error}", self.cx.request_id));
                    self.cx.ports.clock.sleep_ms(TRY_PAUSE_MS).await;
                    tries += 1;
                }
                read => return read,
            }
        }
    }
}
