//! The beginning of a stream. Nothing goes to the client before the first event of the answer: comments and the like wait for
//! it, and until then another may answer.

use std::collections::VecDeque;
use std::rc::Rc;

use super::dispatch::{Failure, patience_ms, whole_answer_ms};
use super::settlement::RunningCall;
use super::tap::ChatTap;
use crate::http::output::Body;
use crate::ports::{FetchError, StreamEnd, StreamSource};

/// Held back at most, in bytes; what comes to more goes out as it is.
const HELD_MAX_BYTES: usize = 16 << 10;

/// Why a call has no answer that could be delivered.
pub enum Undelivered {
    /// Another upstream may do better.
    Failed(Failure),
    /// The client left.
    ClientGone,
}

/// Reads a stream until its answer begins; gives the client's.
///
/// # Errors
/// When none begins; the call comes back.
pub async fn open_stream(
    call: RunningCall,
    hide_usage: bool,
    first: Vec<u8>,
    mut rest: StreamSource,
) -> Result<Body, Box<(RunningCall, Undelivered)>> {
    let mut tap = ChatTap::new(&call, hide_usage);
    let mut out = Vec::new();
    if let Err(cause) = open(&call, &mut tap, first, &mut rest, &mut out).await {
        return Err(Box::new((call, cause)));
    }
    tap.begin(call, &out);
    Ok(Body::Relay { first: out, rest: Some((rest, Box::new(tap))) })
}

async fn open(
    call: &RunningCall,
    tap: &mut ChatTap,
    first: Vec<u8>,
    rest: &mut StreamSource,
    out: &mut Vec<u8>,
) -> Result<(), Undelivered> {
    let mut next = Some(first).filter(|first| !first.is_empty());
    loop {
        let is_over = next.is_none();
        // At the end a line that lacks only its terminator counts.
        let chunk = next.as_deref().unwrap_or(b"\n\n");
        let has_begun = tap.open(chunk, out).map_err(|fault| Undelivered::Failed(Failure::new(fault)))?;
        if is_over {
            *rest = StreamSource::Chunks(VecDeque::new(), StreamEnd::Eof);
        }
        if has_begun || out.len() > HELD_MAX_BYTES {
            return Ok(());
        }
        if is_over {
            return Err(Undelivered::Failed(Failure::new("the stream ended before it began")));
        }
        next = read_more(call, rest).await?;
    }
}

/// The next chunk; `None` at the end.
async fn read_more(call: &RunningCall, rest: &mut StreamSource) -> Result<Option<Vec<u8>>, Undelivered> {
    let (cx, kept) = (&call.cx, call.cx.clone());
    let read = match rest {
        StreamSource::Chunks(chunks, end) => match (chunks.pop_front(), end) {
            (Some(chunk), _) => Ok(Some(chunk)),
            (None, StreamEnd::Eof) => Ok(None),
            (None, StreamEnd::Broken) => Err(FetchError::Broken("the stream broke".to_owned())),
            (None, StreamEnd::Stalled) => Err(FetchError::TimedOut),
            (None, StreamEnd::ClientGone) => Err(FetchError::ClientGone { was_asked: true }),
        },
        StreamSource::Handle(handle) => {
            let now_ms = cx.ports.clock.now_ms();
            // Comments may come for ever: an answer begins within the time that a whole one may take.
            let started_ms = call.tried.last().map_or(now_ms, |tried| tried.started_ms);
            let due_ms = started_ms + i64::from(whole_answer_ms(&cx.app.config));
            let due_ms = call.deadline_ms.map_or(due_ms, |deadline_ms| deadline_ms.min(due_ms));
            if now_ms >= due_ms {
                return Err(Undelivered::Failed(Failure::new("no answer began in time")));
            }
            let wait_ms = patience_ms(Some(due_ms - now_ms)).min(cx.app.config.stall_ms);
            cx.ports.fetch.read_more(&**handle, wait_ms, Rc::new(move || kept.keep_up())).await
        }
    };
    read.map_err(|error| match error {
        FetchError::ClientGone { .. } => Undelivered::ClientGone,
        error => Undelivered::Failed(Failure::new(error)),
    })
}
