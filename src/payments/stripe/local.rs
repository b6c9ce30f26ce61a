//! Stripe in miniature, with its shelf in the database. Only the sandbox has it.

use guildhall_domain::billing::form::read_form;
use guildhall_domain::billing::sandbox::{Call, Shelf, Turn, answer as answer_call};
use guildhall_domain::hex::to_hex;
use serde_json::Value;

use crate::ports::{PortError, Ports};
use crate::store::money::sandbox::{find_object, insert_object, put_object};
use crate::store::statement::run_all;

/// Looks at the shelf that one call may take: a list of twenty payments takes the longest.
const LOOKS_MAX: usize = 64;

/// Answers a call.
///
/// # Errors
/// When the database fails.
pub async fn answer(
    ports: &Ports,
    origin: &str,
    method: &str,
    path: &str,
    form: &str,
    name: &str,
) -> Result<(u16, Vec<u8>), PortError> {
    let mut random = [0; 12];
    ports.random.fill(&mut random);
    let fresh = format!("test_{}", to_hex(&random));
    let form = read_form(form);
    let now_s = ports.clock.now_ms() / 1_000;
    let call = Call { method, path, form: &form, idempotency_key: name, origin, fresh: &fresh, now_s };
    let mut shelf = Shelf::new();
    for _ in 0..LOOKS_MAX {
        match answer_call(&call, &shelf) {
            Turn::Need(ids) => load(ports, &mut shelf, &ids).await?,
            Turn::Done(answer) => {
                keep(ports, &answer.writes).await?;
                return Ok((answer.status, answer.body.to_string().into_bytes()));
            }
        }
    }
    Err(PortError("the sandbox's Stripe never has enough".into()))
}

/// Takes objects from the database onto the shelf; what is not there becomes null.
///
/// # Errors
/// When the database fails.
pub async fn load(ports: &Ports, shelf: &mut Shelf, ids: &[String]) -> Result<(), PortError> {
    let rows = run_all(&*ports.db, ids.iter().map(|id| find_object(id)).collect::<Vec<_>>()).await?;
    for (id, row) in ids.iter().zip(rows) {
        let object = match row {
            Some(row) => serde_json::from_str(&row.object).map_err(|error| PortError(format!("{id}: {error}")))?,
            None => Value::Null,
        };
        shelf.insert(id.clone(), object);
    }
    Ok(())
}

/// Keeps objects, all or none. A name that was used meanwhile fails all of it: the call is made again and finds its answer.
///
/// # Errors
/// When the database fails.
pub async fn keep(ports: &Ports, writes: &[(String, Value)]) -> Result<(), PortError> {
    if writes.is_empty() {
        return Ok(());
    }
    let statements = writes.iter().map(|(id, object)| {
        let text = object.to_string();
        if id.starts_with("idem:") { insert_object(id, &text) } else { put_object(id, &text) }.statement
    });
    ports.db.run(statements.collect()).await.map(drop)
}
