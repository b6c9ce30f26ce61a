//! Sessions of people: a bearer token from a sign-in.

use std::rc::Rc;

use super::SessionCaller;
use crate::app::App;
use crate::ports::{PortError, Ports};
use crate::store::identity::sessions::{self, note_session_use};

/// A session's last use is written down this often.
const NOTE_MS: i64 = 60_000;

/// The person whose open session this is. Every request asks the database: a session that is ended has ended.
///
/// # Errors
/// When the database fails.
pub async fn find_session(app: &App, ports: &Rc<Ports>, token: &str) -> Result<Option<Rc<SessionCaller>>, PortError> {
    let now_ms = ports.clock.now_ms();
    let Some(row) = sessions::find_session(&app.hasher.hash(token), now_ms).run(&*ports.db).await? else {
        return Ok(None);
    };
    if now_ms - row.last_used_at_ms >= NOTE_MS {
        let (ports_then, person_id, id) = (Rc::clone(ports), row.person_id.clone(), row.id.clone());
        ports.background.spawn(Box::pin(async move {
            if let Err(error) = note_session_use(&person_id, &id, now_ms).run(&*ports_then.db).await {
                ports_then.background.log(&format!("last use of {id}: {error}"));
            }
        }));
    }
    Ok(Some(Rc::new(SessionCaller {
        session_id: row.id,
        person_id: row.person_id,
        email: row.email,
        account_id: row.account_id,
        is_merged: row.is_merged,
    })))
}
