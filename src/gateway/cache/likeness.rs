//! The semantic tier: an answer to a question that is nearly the same. All but the last message's text has to be the very
//! same; of that text, the direction of its embedding counts.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use guildhall_domain::cache::{CacheControl, split_last_user_text};
use guildhall_domain::media::ModelKind;
use serde::Deserialize;
use serde_json::json;

use super::keep::forget_direction;
use super::{Found, Question, Tier, read};
use crate::app::Cx;
use crate::gateway::dispatch::patience_ms;
use crate::gateway::media::run_media_until;
use crate::http::output::Body;
use crate::ports::Space;

/// Longer texts are not compared: embedding models would cut them, and their likeness says little.
const TEXT_MAX_BYTES: usize = 8_000;

/// How long the look may take, in milliseconds; of what is left of a client's patience half at most, because a model is
/// asked after it.
const LOOK_MAX_MS: i64 = 2_000;

/// Where an answer is found by likeness.
pub struct Direction {
    /// The account's index.
    pub index: String,
    /// The rest of the request, and the model whose vectors these are: those of different models do not compare.
    pub namespace: String,
    /// The text's.
    pub vector: Vec<f32>,
}

/// What came of a search.
pub enum Search {
    /// An answer.
    Found(Box<Found>),
    /// None; an answer may be found there later.
    Missed(Direction),
    /// Nothing to compare, or something failed.
    Unfit,
}

/// The index of an account's questions.
#[must_use]
pub fn index_of(account_id: &str) -> String {
    format!("cache:{account_id}")
}

/// Looks for the answer to a question that is nearly the same, for a short while.
pub async fn find(cx: &Cx, question: &Question<'_>) -> Search {
    let now_ms = cx.ports.clock.now_ms();
    let look_ms = question.deadline_ms.map_or(LOOK_MAX_MS, |due_ms| (due_ms - now_ms) / 2).clamp(0, LOOK_MAX_MS);
    let Some((text, rest)) = split_last_user_text(question.body) else { return Search::Unfit };
    if text.trim().is_empty() || text.len() > TEXT_MAX_BYTES {
        return Search::Unfit;
    }
    let Some(frame) = question.name(cx, &rest) else { return Search::Unfit };
    // A call with money in it ends by itself: it is told when, and the last quarter is the index's.
    let embedded = embed(cx, &text, now_ms + look_ms / 4 * 3).await;
    let Some((model, vector)) = embedded else { return Search::Unfit };
    let Ok(account_id) = cx.caller.account_id() else { return Search::Unfit };
    let namespace = cx.app.hasher.hash(&format!("response-cache likeness\n{frame}\n{model}"));
    let direction = Direction { index: index_of(account_id), namespace, vector };
    let mut late = cx.ports.clock.sleep_ms(patience_ms(Some(now_ms + look_ms - cx.ports.clock.now_ms())));
    let mut look = pin!(search(cx, question, direction));
    poll_fn(|context| match look.as_mut().poll(context) {
        Poll::Ready(search) => Poll::Ready(search),
        Poll::Pending => late.as_mut().poll(context).map(|()| Search::Unfit),
    })
    .await
}

async fn search(cx: &Cx, question: &Question<'_>, direction: Direction) -> Search {
    let space = Space { index: &direction.index, namespace: &direction.namespace };
    let nearest = match cx.ports.vectors.query(space, &direction.vector, 1).await {
        Ok(matches) => matches.into_iter().next(),
        Err(error) => {
            cx.ports.background.log(&format!("{} cache: {error}", cx.request_id));
            return Search::Unfit;
        }
    };
    let Some(nearest) = nearest.filter(|nearest| question.settings.is_near(nearest.score)) else {
        return Search::Missed(direction);
    };
    match read(cx, &nearest.id, Tier::Semantic, &question.settings).await {
        Some(found) => Search::Found(Box::new(found)),
        None => {
            // Its answer has expired, or is too old for this request: the new one is found in its place.
            forget_direction(cx, &direction.index, nearest.id);
            Search::Missed(direction)
        }
    }
}

/// The text's vector by whichever embedding model serves best, and that model: a call of the caller's own, with a record of
/// its own, which the exact tier may answer.
async fn embed(cx: &Cx, text: &str, due_ms: i64) -> Option<(String, Vec<f32>)> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        embedding: Vec<f32>,
    }
    let own = Cx {
        request_id: Rc::from(format!("{}-embed", cx.request_id)),
        started_ms: cx.ports.clock.now_ms(),
        cache_control: CacheControl::default(),
        ..cx.clone()
    };
    let body = json!({ "model": "auto", "input": text, "encoding_format": "float" }).to_string();
    let call = run_media_until(own, Some(due_ms), ModelKind::Embedding, "application/json", body.as_bytes());
    let answer = Box::pin(call).await;
    let read = answer.map_err(|error| error.message.clone()).and_then(|answer| match &answer.output.body {
        Body::Whole(body) => {
            let list: List = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            let item = list.data.into_iter().next().ok_or("no vector")?;
            Ok((answer.negotiated_model, item.embedding))
        }
        _ => Err("no list of vectors".to_owned()),
    });
    read.map_err(|cause| cx.ports.background.log(&format!("{} cache: embedding: {cause}", cx.request_id))).ok()
}
