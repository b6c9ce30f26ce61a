//! Which model has answered a prompt that begins alike: its provider may still have that beginning, and reads it at a tenth
//! to a half of the price. An isolate knows what it has seen itself; a preference needs no more.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::ids::{ModelId, ProviderId};
use guildhall_domain::routing::Mode;

use super::table::Offer;
use crate::app::Cx;

/// For so long providers keep a beginning that nobody uses.
const WARM_MS: i64 = 5 * 60 * 1_000;
/// Beginnings in each half of the book: an entry is about 100 bytes.
const HALF_MAX: usize = 8_192;

/// A model at a provider that has answered such a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warm {
    /// The model.
    pub model: ModelId,
    /// Its provider.
    pub provider: ProviderId,
}

impl Warm {
    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, offer: &Offer) -> bool {
        self.model == offer.model_id && self.provider == offer.provider.id
    }
}

/// The beginnings seen lately. Two halves: when the newer is full the older is forgotten, so that what is used stays.
#[derive(Default)]
pub struct PrefixBook {
    halves: RefCell<[Half; 2]>,
}

/// Who answered a beginning last, and when.
type Half = HashMap<u64, (Rc<Warm>, i64)>;

impl PrefixBook {
    fn note(&self, prefixes: &[u64], warm: &Rc<Warm>, now_ms: i64) {
        let [newer, older] = &mut *self.halves.borrow_mut();
        if newer.len() + prefixes.len() > HALF_MAX {
            *older = std::mem::take(newer);
        }
        newer.extend(prefixes.iter().map(|prefix| (*prefix, (Rc::clone(warm), now_ms))));
    }

    /// Of the longest beginning that is known.
    fn find(&self, prefixes: &[u64], now_ms: i64) -> Option<Warm> {
        let halves = self.halves.borrow();
        let known = |prefix| halves.iter().find_map(|half| half.get(prefix));
        let is_warm = |(_, at_ms): &&(Rc<Warm>, i64)| now_ms - at_ms < WARM_MS;
        prefixes.iter().filter_map(known).find(is_warm).map(|(warm, _)| Warm::clone(warm))
    }
}

/// Names of a chat's beginnings. Those of different accounts, and of calls that are routed differently, have nothing in
/// common.
pub fn name_prefixes(cx: &Cx, chat: &ChatRequest<'_>, asked_model: &str, mode: Mode) -> Vec<u64> {
    let account_id = cx.caller.account_id().unwrap_or_default();
    chat.prefixes(&format!("{account_id}\n{asked_model}\n{}\n", mode.as_str()))
}

/// The model that likely still has a beginning.
pub fn find_warm(cx: &Cx, prefixes: &[u64]) -> Option<Warm> {
    if prefixes.is_empty() {
        return None;
    }
    cx.app.gateway.prefixes.find(prefixes, cx.started_ms)
}

/// A model has answered.
pub fn note_prefixes(cx: &Cx, prefixes: &[u64], offer: &Offer) {
    if prefixes.is_empty() {
        return;
    }
    let warm = Rc::new(Warm { model: offer.model_id.clone(), provider: offer.provider.id.clone() });
    cx.app.gateway.prefixes.note(prefixes, &warm, cx.ports.clock.now_ms());
}
