//! Room for large bodies.
//!
//! While its call is under way a body is in memory some three times: as it came, as its provider gets it, and on its way
//! out. An isolate has 128 MB, and one that runs out of it takes all its calls along. So large requests wait for each other.

use std::cell::Cell;
use std::rc::Rc;

use super::request::{BodyError, BodySource, Request};
use crate::app::App;
use crate::error::{ApiError, Kind};
use crate::ports::{Pending, Ports};

/// From here on a body waits for room, in bytes.
const LARGE_BYTES: u64 = 1 << 20;
/// What the large bodies under way may have together, in bytes; one that is alone may have more.
const ROOM_BYTES: u64 = 24 << 20;
/// How long a request waits for room, in milliseconds, and how often it looks.
const WAIT_MS: i64 = 10_000;
const LOOK_MS: u32 = 50;

/// The room of an isolate.
#[derive(Debug, Default)]
pub struct Room {
    taken_bytes: Cell<u64>,
}

/// The place of one body; given back when dropped.
#[derive(Debug)]
pub struct Place {
    room: Rc<Room>,
    bytes: Cell<u64>,
}

impl Room {
    fn has(&self, bytes: u64) -> bool {
        let taken = self.taken_bytes.get();
        taken == 0 || taken + bytes <= ROOM_BYTES
    }
}

impl Place {
    fn empty(room: &Rc<Room>) -> Rc<Self> {
        Rc::new(Self { room: Rc::clone(room), bytes: Cell::new(0) })
    }

    fn take(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.room.taken_bytes.set(self.room.taken_bytes.get() + bytes);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken_bytes.set(self.room.taken_bytes.get() - self.bytes.get());
    }
}

/// A body whose length nobody told: it has its place once it is here.
struct Untold {
    source: Box<dyn BodySource>,
    place: Rc<Place>,
}

impl BodySource for Untold {
    fn read(self: Box<Self>, max_bytes: u32) -> Pending<'static, Result<Vec<u8>, BodyError>> {
        Box::pin(async move {
            let body = self.source.read(max_bytes).await?;
            self.place.take(body.len() as u64);
            Ok(body)
        })
    }
}

/// The place of a request's body, to be kept until it is answered; `None` for a small one.
///
/// # Errors
/// 503 when no room becomes free within ten seconds.
pub async fn take_place(app: &App, ports: &Ports, request: &mut Request) -> Result<Option<Rc<Place>>, ApiError> {
    if u64::from(request.body_max_bytes) <= LARGE_BYTES {
        return Ok(None);
    }
    let Ok(bytes) = request.head.content_length.parse() else {
        let place = Place::empty(&app.room);
        let untold = |source| -> Box<dyn BodySource> { Box::new(Untold { source, place: Rc::clone(&place) }) };
        request.body = request.body.take().map(untold);
        return Ok(Some(place));
    };
    if bytes < LARGE_BYTES {
        return Ok(None);
    }
    let until_ms = ports.clock.now_ms() + WAIT_MS;
    while !app.room.has(bytes) {
        if ports.clock.now_ms() >= until_ms {
            let text = "Too many large requests at once; try again in a moment";
            return Err(ApiError::new(Kind::Unavailable, text).retry_after_s(1));
        }
        ports.clock.sleep_ms(LOOK_MS).await;
    }
    let place = Place::empty(&app.room);
    place.take(bytes);
    Ok(Some(place))
}
