//! The items that a request stands on: those of the turns before it, and those that it only points to.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::items::{InputItem, ItemKind, read_kind};
use super::stored::StoredTurn;
use super::{MAX_INPUT_ITEMS, MAX_TURNS};
use crate::chat::request::InvalidRequest;
use crate::ids::ResponseId;

const PREVIOUS: &str = "previous_response_id";

/// Makes sure that the turns are the ones asked for, each the one before the next.
pub(super) fn check_chain(previous: Option<ResponseId>, history: &[StoredTurn]) -> Result<(), InvalidRequest> {
    if history.len() > MAX_TURNS {
        let fault = format_args!("leads to a conversation of over {MAX_TURNS} turns");
        return Err(InvalidRequest::new(PREVIOUS, fault));
    }
    let mut wanted = previous;
    for turn in history.iter().rev() {
        if wanted != Some(turn.id) {
            return Err(unknown_previous());
        }
        wanted = turn.previous;
    }
    if wanted.is_some() { Err(unknown_previous()) } else { Ok(()) }
}

pub(super) fn unknown_previous() -> InvalidRequest {
    InvalidRequest::new(PREVIOUS, "names no response that is stored")
}

/// The items of the turns before this one, in order, in front of the request's own.
pub(super) fn join_items<'r>(
    history: &'r [StoredTurn],
    own: Vec<InputItem<'r>>,
) -> Result<Vec<InputItem<'r>>, InvalidRequest> {
    let mut items = Vec::with_capacity(own.len());
    for turn in history {
        for raw in turn.input.iter().map(|raw| &**raw).chain(turn.output()?) {
            items.push(InputItem {
                kind: read_kind(raw, PREVIOUS)?,
                raw: Cow::Borrowed(raw),
                param: PREVIOUS.to_owned(),
            });
        }
    }
    if items.len() + own.len() > MAX_INPUT_ITEMS {
        let fault = format_args!("leads to a conversation of over {MAX_INPUT_ITEMS} items");
        return Err(InvalidRequest::new(PREVIOUS, fault));
    }
    items.extend(own);
    Ok(items)
}

/// The request's own items, each reference replaced by the output item of these turns that it names.
pub(super) fn resolve_references<'r>(
    own: &'r [InputItem<'_>],
    turns: impl Iterator<Item = &'r StoredTurn>,
) -> Result<Vec<InputItem<'r>>, InvalidRequest> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let mut known: BTreeMap<String, &RawValue> = BTreeMap::new();
    if own.iter().any(|item| matches!(item.kind, ItemKind::Reference(_))) {
        for turn in turns {
            for raw in turn.output()? {
                if let Ok(Named { id }) = serde_json::from_str(raw.get()) {
                    known.insert(id, raw);
                }
            }
        }
    }
    let items = own.iter().map(|item| {
        let param = item.param.clone();
        let ItemKind::Reference(id) = &item.kind else {
            return Ok(InputItem { kind: item.kind.clone(), raw: Cow::Borrowed(&*item.raw), param });
        };
        let raw = known.get(id).copied().ok_or_else(|| item.unknown_reference())?;
        Ok(InputItem { kind: read_kind(raw, &param)?, raw: Cow::Borrowed(raw), param })
    });
    items.collect()
}
