//! Keeping an answer, after it has gone to the client.

use std::rc::Rc;

use guildhall_domain::cache::{ANSWER_MAX_BYTES, Entry, STREAM_MAX_BYTES, complete_stream, complete_whole};
use guildhall_domain::media::ModelKind;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::pricing::TokenUsage;

use super::kv_key;
use super::likeness::Direction;
use crate::app::Cx;
use crate::ports::{Pending, PortError, Ports, Space, VectorItem};

/// An answer that may be kept, once it is there.
pub struct Keep {
    name: String,
    kind: ModelKind,
    ttl_s: u32,
    /// Whether an answer that its output limit has cut is one: when that limit is the client's own.
    pub may_be_cut: bool,
    /// Where questions like this one look for it.
    pub direction: Option<Direction>,
}

/// What an answer that is kept was worth.
pub struct Worth {
    /// The registered model that gave it.
    pub model: String,
    /// What it used.
    pub usage: TokenUsage,
    /// What it cost.
    pub cost: MicroUsd,
}

impl Keep {
    pub(super) const fn new(name: String, kind: ModelKind, ttl_s: u32) -> Self {
        Self { name, kind, ttl_s, may_be_cut: false, direction: None }
    }

    /// Keeps an answer that came whole.
    pub fn keep_whole(self, cx: &Cx, body: &[u8], worth: Worth) {
        if body.len() > ANSWER_MAX_BYTES {
            return;
        }
        let (body, kind, may_be_cut) = (body.to_vec(), self.kind, self.may_be_cut);
        self.store(cx, worth, move |_| match kind {
            ModelKind::Chat => complete_whole(&body, may_be_cut),
            _ => Some(body),
        });
    }

    /// Keeps an answer that came as events.
    fn keep_stream(self, cx: &Cx, events: Vec<u8>, worth: Worth) {
        let may_be_cut = self.may_be_cut;
        self.store(cx, worth, move |worth| complete_stream(&events, &worth.usage, may_be_cut));
    }

    fn store(self, cx: &Cx, worth: Worth, complete: impl FnOnce(&Worth) -> Option<Vec<u8>> + 'static) {
        let ports = Rc::clone(&cx.ports);
        run_behind(
            cx,
            Box::pin(async move {
                // The client's answer goes first.
                ports.clock.sleep_ms(0).await;
                match complete(&worth) {
                    Some(body) => self.put(&ports, body, &worth).await,
                    None => Ok(()),
                }
            }),
        );
    }

    /// First the answer, then what leads to it.
    async fn put(self, ports: &Ports, body: Vec<u8>, worth: &Worth) -> Result<(), PortError> {
        let now_ms = ports.clock.now_ms();
        let Some(entry) = Entry::new(body, now_ms, &worth.model, worth.cost, worth.usage) else { return Ok(()) };
        ports.kv.put(&kv_key(&self.name), entry.to_bytes(), self.ttl_s).await?;
        let Some(Direction { index, namespace, vector }) = self.direction else { return Ok(()) };
        let item = VectorItem {
            id: self.name,
            vector,
            metadata: String::new(),
            expires_at_ms: Some(now_ms.saturating_add(i64::from(self.ttl_s) * 1_000)),
        };
        ports.vectors.upsert(Space { index: &index, namespace: &namespace }, vec![item]).await
    }
}

/// A stream that may be kept, while it goes by.
pub struct KeptStream {
    keep: Keep,
    events: Vec<u8>,
}

impl KeptStream {
    /// Begins with the first events.
    #[must_use]
    pub fn begin(keep: Keep, events: &[u8]) -> Self {
        Self { keep, events: events.to_vec() }
    }

    /// Takes more events; says whether it may still be kept.
    #[must_use]
    pub fn push(&mut self, events: &[u8]) -> bool {
        self.events.extend_from_slice(events);
        self.events.len() <= STREAM_MAX_BYTES
    }

    /// The stream has come to its end.
    pub fn end(self, cx: &Cx, worth: Worth) {
        self.keep.keep_stream(cx, self.events, worth);
    }
}

/// Removes an answer that cannot be read.
pub(super) fn forget(cx: &Cx, name: &str) {
    let (ports, key) = (Rc::clone(&cx.ports), kv_key(name));
    run_behind(cx, Box::pin(async move { ports.kv.delete(&key).await }));
}

/// Removes the direction of an answer that is gone.
pub(super) fn forget_direction(cx: &Cx, index: &str, name: String) {
    let (ports, index) = (Rc::clone(&cx.ports), index.to_owned());
    run_behind(cx, Box::pin(async move { ports.vectors.delete(&index, vec![name]).await }));
}

/// In the background; a failure is logged.
fn run_behind(cx: &Cx, work: Pending<'static, Result<(), PortError>>) {
    let (ports, request_id) = (Rc::clone(&cx.ports), Rc::clone(&cx.request_id));
    cx.ports.background.spawn(Box::pin(async move {
        if let Err(error) = work.await {
            ports.background.log(&format!("{request_id} cache: {error}"));
        }
    }));
}
