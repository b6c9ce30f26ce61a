//! What nobody told: payments whose answer was lost are asked after, and events that never came are read, every hour.

use guildhall_domain::billing::event::read_event;

use super::Desk;
use super::charge::{look_up, take_over};
use super::events::apply;
use super::pages::ask_after;
use super::settle::settle;
use crate::error::ApiError;
use crate::ports::PortError;
use crate::store::money::payments::{
    PaymentRow, Reading, find_reading, list_known_events, list_open, list_pages, note_look, prune_events, put_reading,
};

/// Charges and reversals of one hour; the others have their turn in the next. Each takes a dozen calls of the outside, of
/// which one event of a cron has ten thousand.
const BATCH: i64 = 250;
/// Pages of one hour.
const PAGES: i64 = 100;
/// Younger ones are somebody's business still.
const YOUNG_MS: i64 = 120_000;
/// A page is looked at when it should be over, Stripe closing it after 24 hours, and if it is not, as rarely again.
const PAGE_MS: i64 = 25 * 3_600_000;
/// Stripe sends an event again for three days.
const EVENT_MS: i64 = 90 * 86_400_000;
/// Events younger than this are on their way, and may not be listed yet; seconds.
const EVENT_YOUNG_S: i64 = 300;
/// What the first reading goes back; seconds.
const FIRST_READING_S: i64 = 3 * 86_400;
/// Pages of a hundred events that one hour reads.
const READS_MAX: usize = 20;
/// Events that one hour applies.
const APPLIED_MAX: usize = 200;

/// Looks after the payments that have something left to do. What fails is logged, and tried again in an hour.
///
/// # Errors
/// When the database fails.
pub async fn reconcile(desk: &Desk) -> Result<(), PortError> {
    let now_ms = desk.now_ms();
    note(desk, "events", read_events(desk).await);
    for row in list_open(now_ms - YOUNG_MS, BATCH).run(desk.db()).await? {
        note_look(&row.account_id, &row.id, now_ms).run(desk.db()).await?;
        note(desk, &row.id, look_after(desk, &row).await);
    }
    for row in list_pages(now_ms - PAGE_MS, PAGES).run(desk.db()).await? {
        note_look(&row.account_id, &row.id, now_ms).run(desk.db()).await?;
        note(desk, &row.id, ask_after(desk, &row).await);
    }
    prune_events(now_ms - EVENT_MS).run(desk.db()).await.map(drop)
}

fn note(desk: &Desk, what: &str, result: Result<(), ApiError>) {
    if let Err(error) = result {
        let cause = error.cause.as_deref().unwrap_or(&error.message);
        desk.log(format_args!("payments, {what}: {cause}"));
    }
}

async fn look_after(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    if row.status != "pending" {
        return settle(desk, &row.account_id, &row.id).await.map(drop);
    }
    // Looked for and never made: its owner may have paid otherwise by now.
    match take_over(desk, row).await? {
        Some(taken) => look_up(desk, &taken).await.map(drop),
        None => Ok(()),
    }
}

/// Applies the events that Stripe has and that nobody brought us: they are the only word of refunds and disputes.
async fn read_events(desk: &Desk) -> Result<(), ApiError> {
    // Without Stripe there is nobody to ask.
    let Ok(stripe) = desk.stripe() else { return Ok(()) };
    let until_s = desk.now_ms() / 1_000 - EVENT_YOUNG_S;
    let first = Reading { since_s: until_s - FIRST_READING_S, until_s, after_id: None };
    let mut reading = match find_reading().run(desk.db()).await? {
        // The last one came to its end: a new one begins where it did.
        Some(last) if last.after_id.is_none() => Reading { since_s: last.until_s, until_s, after_id: None },
        Some(last) => last,
        None => first,
    };
    let mut applied = 0;
    for _ in 0..READS_MAX {
        let page = stripe.list_events(reading.since_s, reading.until_s, reading.after_id.as_deref()).await?;
        applied += apply_unknown(desk, &page.data).await?;
        let last_id = page.data.last().and_then(|event| event["id"].as_str());
        reading.after_id = last_id.filter(|_| page.has_more).map(str::to_owned);
        put_reading(reading.since_s, reading.until_s, reading.after_id.as_deref()).run(desk.db()).await?;
        if reading.after_id.is_none() || applied >= APPLIED_MAX {
            return Ok(());
        }
    }
    Ok(())
}

/// Applies those of a list that were not; gives how many. What cannot be read is told in the log and passed over; when
/// something fails, the list is read again in an hour.
async fn apply_unknown(desk: &Desk, events: &[serde_json::Value]) -> Result<usize, ApiError> {
    let ids: Vec<_> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    let ids = serde_json::to_string(&ids).map_err(ApiError::internal)?;
    let known = list_known_events(&ids).run(desk.db()).await?;
    let unknown = events.iter().filter(|event| known.iter().all(|known| event["id"] != known.id.as_str()));
    let mut applied = 0;
    // The oldest first, as they happened.
    for event in unknown.rev() {
        match read_event(event.to_string().as_bytes()) {
            Ok(event) => match apply(desk, &event).await {
                Err(error) if error.kind.status() < 500 => note(desk, &event.id, Err(error)),
                outcome => outcome?,
            },
            Err(error) => desk.log(format_args!("event {}: {error}", event["id"])),
        }
        applied += 1;
    }
    Ok(applied)
}
