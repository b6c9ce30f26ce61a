//! Responses, in `OpenAI`'s newer form, on any model.

use std::rc::Rc;

use guildhall_domain::ids::{RANDOM_ID_BYTES, ResponseId};
use guildhall_domain::responses::{
    ItemOrder, ItemPage, MAX_PAGE_ITEMS, MAX_TURNS, Request, StoredTurn, Translated, to_deleted, to_input_items,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::shapes::{ResponseDeleted, ResponseItems, ResponseObject};
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::{ApiError, Kind};
use crate::gateway::choice::Policy;
use crate::gateway::completion::complete_chat;
use crate::gateway::face::{ResponsePlan, stream_response, to_whole_response};
use crate::http::input::{Path, Query, RawJson};
use crate::http::output::{Body, Output, RawReply, Streamed};
use crate::http::route::Access;
use crate::routes;
use crate::store::models::responses::{TurnRow, delete_response, find_response, insert_response, list_turns};
use crate::store::statement::Changed;

routes! {
    tag "Responses", dialect OpenAi;
    /// Create a response.
    ///
    /// `OpenAI`'s request and answer on any model, streaming and not: items, function and custom tools, reasoning,
    /// structured output. Kept for 30 days unless `store` is false, so that `previous_response_id` continues it; what goes
    /// beyond the account's 256 MiB of kept responses is answered and not kept. Tools that run on `OpenAI`'s servers are
    /// refused.
    Post "/v1/responses" Access::Key(Scope::Chat), body_max_bytes = 10 << 20 => create_response;
    /// Get a response.
    Get "/v1/responses/{id}" Access::Key(Scope::Chat) => get_response;
    /// Delete a response.
    ///
    /// What continues it can no longer be continued.
    Delete "/v1/responses/{id}" Access::Key(Scope::Chat) => forget_response;
    /// List a response's input items.
    Get "/v1/responses/{id}/input_items" Access::Key(Scope::Chat) => list_input_items;
}

/// A conversation in the newer of `OpenAI`'s forms.
#[derive(JsonSchema)]
#[schemars(rename = "ResponseRequest", extend("additionalProperties" = true))]
#[expect(dead_code, reason = "the document has its schema; `domain::responses` reads what is sent")]
struct ResponseRequest {
    /// `auto` (the default), `fast`, `max`, or a registered model.
    model: Option<String>,
    /// A text, or items: messages, function calls and their outputs, reasoning.
    input: Value,
    /// Goes in front as a system message.
    instructions: Option<String>,
    /// The response that this one continues.
    previous_response_id: Option<String>,
    /// Whether it is kept; true by default.
    store: Option<bool>,
    /// Answer as server-sent events.
    stream: Option<bool>,
    /// Tools of type `function` and `custom`.
    tools: Option<Vec<Map<String, Value>>>,
    /// `auto`, `none`, `required`, or the tool that it is to call.
    tool_choice: Option<Value>,
    /// Whether it may call several tools at once.
    parallel_tool_calls: Option<bool>,
    /// 0 to 2.
    temperature: Option<f64>,
    /// The part of the likeliest tokens to choose from, 0 to 1.
    top_p: Option<f64>,
    /// How many likely tokens to tell at each place of the answer, 0 to 20.
    top_logprobs: Option<u64>,
    /// Your own notes.
    metadata: Option<Map<String, Value>>,
    /// Your own name of your user.
    user: Option<String>,
    /// Most output tokens.
    max_output_tokens: Option<u64>,
    /// `effort` and `summary`.
    reasoning: Option<Map<String, Value>>,
    /// `format`: text, a JSON object, or JSON of a schema.
    text: Option<Map<String, Value>>,
}

/// Which items.
#[derive(Deserialize, JsonSchema)]
struct ItemQuery {
    /// 1 to 100; 20 by default.
    limit: Option<usize>,
    /// `asc` or `desc` (the default).
    order: Option<String>,
    /// The item after which the page begins.
    after: Option<String>,
}

/// Largest turn that is kept, in bytes: a row of the database holds little more.
const TURN_MAX_BYTES: usize = 1_500_000;
/// What an account's kept turns may take together, in bytes: all of them share the database's ten gigabytes.
const KEPT_MAX_BYTES: i64 = 256 << 20;
/// Most bytes of turns that one request stands on: an isolate holds them several times over.
const HISTORY_MAX_BYTES: usize = 16 << 20;
/// How often, and after how long, a turn is looked for again that is just being written.
const LOOKS: u32 = 4;
const LOOK_PAUSE_MS: u32 = 100;

async fn create_response(cx: Cx, request: RawJson<ResponseRequest>) -> Result<Streamed<ResponseObject>, ApiError> {
    let request = Request::parse(&request.body)?;
    let history = match request.previous_response_id() {
        Some(id) => load_history(&cx, &id).await?,
        None => Vec::new(),
    };
    let mut referenced = Vec::new();
    let mut referenced_bytes = 0;
    for id in request.referenced_response_ids() {
        let turn = find_turn(&cx, id).await?;
        referenced_bytes += turn.as_ref().map_or(0, size_of_turn);
        if referenced_bytes > HISTORY_MAX_BYTES {
            return Err(too_much("input"));
        }
        referenced.extend(turn);
    }
    let Translated { chat_body, echo, input, left_out } = request.translate(&history, &referenced)?;
    let mut random = [0; RANDOM_ID_BYTES];
    cx.ports.random.fill(&mut random);
    let created_s = u64::try_from(cx.started_ms / 1_000).unwrap_or(0);
    let plan = ResponsePlan { echo, id: ResponseId::from_random(random), created_s };
    let is_kept = request.store();
    let policy = Policy { is_extended: true, ..Policy::default() };
    let mut output = complete_chat(cx.clone(), &chat_body, &policy).await?.output;
    output.body = match output.body {
        Body::Whole(completion) => {
            let response = to_whole_response(&completion, &plan)?;
            if is_kept {
                keep(&cx, input, response.clone()).await;
            }
            Body::Whole(response)
        }
        relay => stream_response(relay, plan, move |response| {
            if !is_kept {
                return;
            }
            let (background, cx) = (Rc::clone(&cx.ports), cx.clone());
            background.background.spawn(Box::pin(async move { keep(&cx, input, response).await }));
        }),
    };
    // Told where a client that wonders can find it, and none that doesn't trips over it.
    let output = if left_out.is_empty() { output } else { output.header("x-ignored-tools", left_out.join(", ")) };
    Ok(output.into())
}

/// Keeps a turn. The client has its answer whatever comes of it; one that could not be kept cannot be continued.
async fn keep(cx: &Cx, input: Vec<Box<RawValue>>, response: Vec<u8>) {
    if let Err(error) = try_keep(cx, input, response).await {
        cx.ports.background.log(&format!("{}: response not kept: {}", cx.request_id, error.message));
    }
}

async fn try_keep(cx: &Cx, input: Vec<Box<RawValue>>, response: Vec<u8>) -> Result<(), ApiError> {
    let turn = StoredTurn::new(input, response)?;
    let text = serde_json::to_string(&turn).map_err(ApiError::internal)?;
    if text.len() > TURN_MAX_BYTES {
        return Err(ApiError::new(Kind::BodyTooLarge, format!("{} bytes", text.len())));
    }
    let previous = turn.previous.as_ref().map(ResponseId::as_str);
    let account = &cx.caller.key()?.account_id;
    let kept = insert_response(account, turn.id.as_str(), previous, cx.started_ms, &text, KEPT_MAX_BYTES);
    if kept.run(&*cx.ports.db).await? == Changed(0) {
        return Err(ApiError::new(Kind::Conflict, format!("{account} keeps {} MiB already", KEPT_MAX_BYTES >> 20)));
    }
    Ok(())
}

/// The turns that lead to a response, oldest first.
async fn load_history(cx: &Cx, id: &ResponseId) -> Result<Vec<StoredTurn>, ApiError> {
    let account = cx.caller.key()?.account_id.clone();
    let limit = i64::try_from(MAX_TURNS).unwrap_or(i64::MAX);
    let max_bytes = i64::try_from(HISTORY_MAX_BYTES).unwrap_or(i64::MAX);
    let mut rows = Vec::new();
    // A stream's turn is written while its client already knows the id.
    for look in 0..LOOKS {
        rows = list_turns(&account, id.as_str(), limit, max_bytes).run(&*cx.ports.db).await?;
        if !rows.is_empty() || look + 1 == LOOKS {
            break;
        }
        cx.ports.clock.sleep_ms(LOOK_PAUSE_MS).await;
    }
    if rows.iter().map(|row| row.turn.len()).sum::<usize>() > HISTORY_MAX_BYTES {
        return Err(too_much("previous_response_id"));
    }
    let turns = rows.iter().map(read_turn).collect::<Result<Vec<_>, _>>()?;
    if turns.first().is_none_or(|oldest| oldest.previous.is_some()) {
        let text = format!("Previous response with id '{id}' not found.");
        return Err(ApiError::invalid("previous_response_id", text).with("code", "previous_response_not_found"));
    }
    Ok(turns)
}

fn too_much(param: &'static str) -> ApiError {
    let text = format!("{param} leads to a conversation of over {} MiB", HISTORY_MAX_BYTES >> 20);
    ApiError::invalid(param, text)
}

fn size_of_turn(turn: &StoredTurn) -> usize {
    turn.response.get().len() + turn.input.iter().map(|item| item.get().len()).sum::<usize>()
}

async fn find_turn(cx: &Cx, id: &ResponseId) -> Result<Option<StoredTurn>, ApiError> {
    let row = find_response(&cx.caller.key()?.account_id, id.as_str()).run(&*cx.ports.db).await?;
    row.as_ref().map(read_turn).transpose()
}

async fn require_turn(cx: &Cx, id: &str) -> Result<StoredTurn, ApiError> {
    let missing = || ApiError::new(Kind::NotFound, format!("Response with id '{id}' not found."));
    let id: ResponseId = id.parse().map_err(|_| missing())?;
    find_turn(cx, &id).await?.ok_or_else(missing)
}

fn read_turn(row: &TurnRow) -> Result<StoredTurn, ApiError> {
    serde_json::from_str(&row.turn).map_err(ApiError::internal)
}

async fn get_response(cx: Cx, Path(id): Path) -> Result<RawReply<ResponseObject>, ApiError> {
    let turn = require_turn(&cx, &id).await?;
    Ok(Output::text("application/json", turn.response.get()).into())
}

async fn forget_response(cx: Cx, Path(id): Path) -> Result<RawReply<ResponseDeleted>, ApiError> {
    let turn = require_turn(&cx, &id).await?;
    delete_response(&cx.caller.key()?.account_id, turn.id.as_str()).run(&*cx.ports.db).await?;
    Ok(Output::bytes("application/json", to_deleted(&turn.id)).into())
}

async fn list_input_items(
    cx: Cx,
    (Path(id), Query(query)): (Path, Query<ItemQuery>),
) -> Result<RawReply<ResponseItems>, ApiError> {
    let order = match query.order.as_deref() {
        Some("asc") => ItemOrder::Ascending,
        None | Some("desc") => ItemOrder::Descending,
        Some(_) => return Err(ApiError::invalid("order", "order must be asc or desc")),
    };
    if query.limit.is_some_and(|limit| !(1..=MAX_PAGE_ITEMS).contains(&limit)) {
        return Err(ApiError::invalid("limit", format!("limit must be between 1 and {MAX_PAGE_ITEMS}")));
    }
    let turn = require_turn(&cx, &id).await?;
    let page = ItemPage { limit: query.limit, order, after: query.after };
    Ok(Output::bytes("application/json", to_input_items(&turn, &page)?).into())
}
