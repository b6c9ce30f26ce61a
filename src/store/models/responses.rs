//! Kept answers of `/v1/responses`.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A kept answer.
#[derive(Debug, Clone, Deserialize)]
pub struct TurnRow {
    /// JSON of `domain::responses::StoredTurn`.
    pub turn: String,
}

queries! {
    /// Keeps an answer, unless the account would then have more than `max_bytes` of them.
    tenant("account_id") fn insert_response(account_id: &str, id: &str, previous_id: Option<&str>, created_at_ms: i64, turn: &str,
        max_bytes: i64) -> Changed =
        "INSERT INTO responses (account_id, id, previous_id, created_at_ms, turn) SELECT ?1, ?2, ?3, ?4, ?5
         WHERE COALESCE((SELECT bytes FROM response_bytes WHERE account_id = ?1), 0) + length(CAST(?5 AS BLOB)) <= ?6
         ON CONFLICT DO NOTHING";
    /// Finds an answer.
    tenant("account_id") fn find_response(account_id: &str, id: &str) -> Option<TurnRow> =
        "SELECT turn FROM responses WHERE account_id = ?1 AND id = ?2";
    /// An answer and all before it, oldest first; none before the one with which they have more than `max_bytes`.
    tenant("account_id") fn list_turns(account_id: &str, id: &str, limit: i64, max_bytes: i64) -> Vec<TurnRow> =
        "WITH RECURSIVE chain (previous_id, turn, depth, bytes) AS (
           SELECT previous_id, turn, 1, length(CAST(turn AS BLOB)) FROM responses WHERE account_id = ?1 AND id = ?2
           UNION ALL
           SELECT earlier.previous_id, earlier.turn, chain.depth + 1, chain.bytes + length(CAST(earlier.turn AS BLOB)) FROM chain
             JOIN responses AS earlier ON earlier.account_id = ?1 AND earlier.id = chain.previous_id
             WHERE chain.depth < ?3 AND chain.bytes <= ?4
         ) SELECT turn FROM chain ORDER BY depth DESC";
    /// Forgets an answer.
    tenant("account_id") fn delete_response(account_id: &str, id: &str) -> Changed =
        "DELETE FROM responses WHERE account_id = ?1 AND id = ?2";
    /// Forgets answers from before a time, a part at once.
    global("retention is the platform's") fn prune_responses(before_ms: i64) -> Changed =
        "DELETE FROM responses WHERE (account_id, id) IN
           (SELECT account_id, id FROM responses WHERE created_at_ms < ?1 ORDER BY created_at_ms LIMIT 500)";
}
