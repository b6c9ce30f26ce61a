//! The live feed, as server-sent events.
//!
//! The handler asks the feed's object again and again and writes what is new. Every frame has its number, so that a client
//! whose connection broke (or whose isolate was replaced) goes on where it was: browsers do so by themselves.

use std::fmt::Write as _;

use durable_objects::events::protocol::{ADMINS, Command, Events, Reply};

use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::table::read_snapshot;
use crate::http::input::{FromHead, FromRequest};
use crate::http::output::{Body, EventStream, Output, Shaped};
use crate::http::request::Request;
use crate::http::route::Access;
use crate::observe::events::Event;
use crate::ports::{LiveStream, Pending, PortError, ask};
use crate::routes;

routes! {
    tag "Observability", dialect TokenHub;
    /// Watch events.
    ///
    /// Server-sent events: `route_success`, `route_error`, `health_change`, `config_change` and others, with numbers; send
    /// the last one as `Last-Event-ID` to go on where a connection broke. `gap` says that some are not kept any more,
    /// `heartbeat` comes every 15 s. Browsers' `EventSource` sends no headers: it comes in with the cookie of
    /// `POST /admin/v1/session`, or with `?token=`.
    Get "/admin/v1/events" Access::Admin => watch_events;
}

/// Where to begin.
struct After(Option<u64>);

impl FromHead for After {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        // Anything but a number is what a client that was never here would send.
        Ok(Self(request.rare.last_event_id.trim().parse().ok()))
    }
}

impl FromRequest for After {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        Self::from_head(&request)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl crate::openapi::Describe for After {
    fn describe(operation: &mut crate::openapi::Operation) {
        operation.take_header("Last-Event-ID", "The number of the last event that was seen: the ones after it follow.");
    }
}

/// How long to wait before asking for news again.
const POLL_MS: u32 = 1_000;
const HEARTBEAT_MS: i64 = 15_000;
const PAGE_MAX: u32 = 200;
/// So often in a row the feed may fail to answer before the client is to come again.
const FAILURES_MAX: u32 = 5;

async fn watch_events(cx: Cx, After(resumed): After) -> Result<Shaped<EventStream>, ApiError> {
    // The first look says where a newcomer begins, and that there is a feed at all.
    let Reply::Events { last, .. } = read(&cx, None).await?;
    let after = resumed.unwrap_or(last);
    let connected = format!("event: connected\nid: {after}\nretry: 1000\ndata: {{\"status\":\"ok\"}}\n\n");
    let beat_at_ms = cx.ports.clock.now_ms() + HEARTBEAT_MS;
    let feed = Feed { cx, after, beat_at_ms, connected: Some(connected), failures: 0 };
    Ok(Output { status: 200, headers: Vec::new(), body: Body::Live(Box::new(feed)) }
        .header("content-type", "text/event-stream; charset=utf-8")
        .header("cache-control", "no-cache")
        .into())
}

async fn read(cx: &Cx, after: Option<u64>) -> Result<Reply, PortError> {
    ask::<Events>(&*cx.ports.objects, ADMINS, &Command::Read { after, limit: PAGE_MAX }).await
}

/// One client's feed.
struct Feed {
    cx: Cx,
    /// The last number that the client was sent.
    after: u64,
    beat_at_ms: i64,
    /// The first frame, until it is sent.
    connected: Option<String>,
    failures: u32,
}

impl LiveStream for Feed {
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            if let Some(connected) = self.connected.take() {
                return Some(connected.into_bytes());
            }
            // Each round waits a second, so at the latest the heartbeat ends it.
            loop {
                let frames = match read(&self.cx, Some(self.after)).await {
                    Ok(news) => self.tell(news),
                    Err(error) => {
                        self.cx.ports.background.log(&format!("events: {error}"));
                        self.failures += 1;
                        String::new()
                    }
                };
                if self.failures >= FAILURES_MAX {
                    return None;
                }
                if !frames.is_empty() {
                    return Some(frames.into_bytes());
                }
                if self.cx.ports.clock.now_ms() >= self.beat_at_ms {
                    return Some(self.beat().await.into_bytes());
                }
                self.cx.ports.clock.sleep_ms(POLL_MS).await;
            }
        })
    }
}

impl Feed {
    fn tell(&mut self, news: Reply) -> String {
        let Reply::Events { events, last, missed } = news;
        self.failures = 0;
        let mut frames = String::new();
        if missed > 0 {
            let gap = format!("{{\"type\":\"gap\",\"reason\":\"{missed} events are not kept any more\"}}");
            _ = write!(frames, "event: gap\ndata: {gap}\n\n");
        }
        for event in &events {
            _ = write!(frames, "event: {}\nid: {}\ndata: {}\n\n", event.kind, event.id, event.data);
        }
        // A number that the feed never gave: it has begun anew, and so does its reader.
        let told = events.last().map(|event| event.id);
        self.after = told.unwrap_or(if self.after > last { last } else { self.after });
        frames
    }

    /// The heartbeat has no number: a client that resumes goes by the events.
    async fn beat(&mut self) -> String {
        let now_ms = self.cx.ports.clock.now_ms();
        self.beat_at_ms = now_ms + HEARTBEAT_MS;
        let mut beat = Event::new("heartbeat", now_ms);
        if let Ok(snapshot) = read_snapshot(&self.cx.app, &self.cx.ports).await {
            let models = snapshot.offers.iter().filter(|offer| offer.enabled).count();
            beat.reason = format!("providers={} models={models}", snapshot.adapters);
        }
        let data = serde_json::to_string(&beat).unwrap_or_default();
        format!("event: heartbeat\ndata: {data}\n\n")
    }
}
