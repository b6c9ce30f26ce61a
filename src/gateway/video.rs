//! Videos: handed to an upstream at once, followed by a `Job`, paid when they are done.
//!
//! The order of things is what keeps the books: the wallet holds the price, then the job is created (its end gives the
//! hold back by itself), then the upstream is asked. Whatever dies in between, the job's deadline ends it.

use std::rc::Rc;

use durable_objects::job::protocol::{self as job, Command, Delivery, Job, Order, Reply, Report, Status, View};
use durable_objects::protocol::Protocol as _;
use durable_objects::wallet::protocol::{self as wallet, Capture, RefusalCode, Wallet};
use guildhall_domain::ids::{RANDOM_ID_BYTES, VideoId};
use guildhall_domain::media::{
    MediaRequest, ModelKind, Quantity, Task, UpstreamVideo, VideoState, VideoTask, read_video,
};
use guildhall_domain::money::{MicroUsd, Rate};
use guildhall_domain::pricing::{Unit, UnitPrice};
use guildhall_domain::sandbox::media::{FAILING_PROMPT, FILMING_MS, film};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::choice::{Choice, draw_uniform};
use super::completion::{Failures, refuse};
use super::dispatch::{Attempt, Failure, Wire, note_nothing, note_success, send};
use super::ladder::{ATTEMPTS_MAX, Ladder};
use super::media::{choose_for_media, invalid};
use super::provider::ProviderKind;
use super::settlement::{Outcome, RunningCall, usage_for_receipt};
use super::table::{Offer, Provider, read_snapshot};
use crate::app::{App, Cx};
use crate::http::error::{ApiError, Kind};
use crate::meter::money::{Need, Refusal, reserve};
use crate::ports::{Inbound, InboundBody, Outbound, PortError, Ports, ReadMode, ask};
use crate::store::money::usage::UsageRow;

/// The kind of these jobs.
const JOB_KIND: &str = "video";
/// How long a video may take, in milliseconds.
const DEADLINE_MS: i64 = 60 * 60 * 1_000;
/// How long it can be loaded, in milliseconds.
const RETAIN_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How long the money stays held beyond the deadline, in milliseconds: the job's end comes first.
const HOLD_GRACE_MS: i64 = 60 * 60 * 1_000;
/// A client that polls makes the upstream be asked no more often, in milliseconds.
const IDLE_MS: i64 = 2_000;
/// How long money that other calls hold is waited for: so many times so many milliseconds.
const HOLD_TRIES: u32 = 12;
const HOLD_PAUSE_MS: u32 = 250;
/// What is kept of a prompt, in characters.
const PROMPT_KEPT_CHARS: usize = 1_000;
/// Longest answer about a video, in bytes.
const STATUS_MAX_BYTES: u32 = 1 << 20;
/// Longest video that comes whole, in bytes; others are relayed.
const VIDEO_MAX_BYTES: u32 = 32 << 20;

/// What the job must know.
#[derive(Serialize, Deserialize)]
struct Spec {
    prompt: String,
    seconds: u32,
    size: (u32, u32),
    fps: u32,
    /// The usage record, but for how it ends.
    record: UsageRow,
    held: MicroUsd,
}

/// Where it is made, and at what price: the job's reference.
#[derive(Serialize, Deserialize)]
struct Place {
    provider: String,
    model: String,
    id: String,
    rate: Rate,
    price_version: i64,
}

/// What came of it: the job's result.
#[derive(Serialize, Deserialize)]
struct Film {
    url: Option<String>,
    seconds: u64,
    charged: MicroUsd,
}

/// A video as clients see it.
pub struct Video {
    /// Its id.
    pub id: String,
    /// `processing`, `completed` or `failed`.
    pub status: &'static str,
    /// Percent done.
    pub progress: u8,
    /// When it was asked for; milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it ended; milliseconds since 1970.
    pub finished_at_ms: Option<i64>,
    /// When it can no longer be loaded; milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
    /// The model as asked for.
    pub model: String,
    /// How long it is, in seconds.
    pub seconds: u64,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Where the upstream has put it, if it told.
    pub url: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What was charged, once it is completed.
    pub charged: Option<MicroUsd>,
}

/// The file of a video.
pub enum Content {
    /// The bytes of an MP4.
    File(Vec<u8>),
    /// It lies there.
    Elsewhere(String),
    /// As the upstream sends it.
    Upstream(Inbound),
}

/// Has a video made.
///
/// # Errors
/// As [`super::completion::complete_chat`].
pub async fn create_video(cx: Cx, content_type: &str, body: &[u8]) -> Result<Video, ApiError> {
    let request = MediaRequest::parse(ModelKind::Video, content_type, body).map_err(invalid)?;
    let Task::Video(task) = request.task() else {
        return Err(ApiError::internal("a video request is no video task"));
    };
    let choice = choose_for_media(&cx, ModelKind::Video, &request).await?;
    let leads = choice.decision.ranked.iter().take(ATTEMPTS_MAX);
    let offers: Vec<_> = leads.filter_map(|ranked| choice.offers.get(ranked.index).map(Rc::clone)).collect();
    let dearest = offers.iter().map(|offer| offer.cost(request.quantity_upper())).max().unwrap_or(MicroUsd::ZERO);
    let id = new_id(&cx);
    hold(&cx, &id, dearest).await?;
    let spec = write_spec(&cx, task, &choice, request.model(), dearest)?;
    let created = create_job(&cx, &id, &spec).await;
    if let Err(error) = created {
        // Without a job nobody would give the money back before the hold expires.
        release(&cx, &id).await;
        return Err(error);
    }
    let report = match submit(&cx, Ladder::new(offers, false), &choice, &request, content_type).await {
        Ok((offer, video)) => working(&offer, video)?,
        Err(error) => {
            let reason = error.message.clone();
            tell(&cx.ports, &id, &cx.request_id, Report::Failed { reason }).await?;
            return Err(error);
        }
    };
    let view = tell(&cx.ports, &id, &cx.request_id, report).await?;
    to_video(id, &view.ok_or_else(|| ApiError::internal("the job is gone"))?)
}

fn new_id(cx: &Cx) -> String {
    let mut random = [0; RANDOM_ID_BYTES];
    cx.ports.random.fill(&mut random);
    VideoId::from_random(random).to_string()
}

/// Holds the price. What is leased to isolates comes back within a moment, and is waited for.
async fn hold(cx: &Cx, id: &str, amount: MicroUsd) -> Result<(), ApiError> {
    if amount == MicroUsd::ZERO {
        return Ok(());
    }
    let account = cx.caller.key()?.account_id.clone();
    let expires_at_ms = cx.started_ms + DEADLINE_MS + HOLD_GRACE_MS;
    let command = wallet::Command::Hold { id: id.to_owned(), amount, expires_at_ms };
    for tries in 0.. {
        match ask_wallet(cx, &account, &command).await? {
            wallet::Reply::Held { .. } => return Ok(()),
            wallet::Reply::Refused { code: RefusalCode::Insufficient, .. } => {}
            other => return Err(ApiError::internal(format!("wallet: {other:?}"))),
        }
        let wallet::Reply::Balance(balance) = ask_wallet(cx, &account, &wallet::Command::Balance).await? else {
            return Err(ApiError::internal("wallet: no balance"));
        };
        if tries == HOLD_TRIES || balance.available < amount {
            return Err(refuse(cx, Refusal::Insufficient { balance: balance.available, required: amount }));
        }
        cx.ports.clock.sleep_ms(HOLD_PAUSE_MS).await;
    }
    Ok(())
}

async fn ask_wallet(cx: &Cx, account: &str, command: &wallet::Command) -> Result<wallet::Reply, ApiError> {
    let answer = ask::<Wallet>(&*cx.ports.objects, &wallet::name(account), command).await;
    answer.map_err(|cause| refuse(cx, Refusal::Failed(cause)))
}

async fn release(cx: &Cx, id: &str) {
    let Ok(key) = cx.caller.key() else { return };
    if let Err(error) = ask_wallet(cx, &key.account_id, &wallet::Command::Release { hold_id: id.to_owned() }).await {
        cx.ports.background.log(&format!("{}: hold {id} is left to expire: {}", cx.request_id, error.message));
    }
}

fn write_spec(cx: &Cx, task: &VideoTask<'_>, choice: &Choice, asked: &str, held: MicroUsd) -> Result<Spec, ApiError> {
    let key = cx.caller.key()?;
    let record = UsageRow {
        id: cx.request_id.to_string(),
        account_id: key.account_id.clone(),
        api_key_id: key.key_id.clone(),
        created_at_ms: cx.started_ms,
        request_type: ModelKind::Video.name().to_owned(),
        mode: choice.mode.as_str().to_owned(),
        model: asked.to_owned(),
        routed_model: String::new(),
        routed_provider: String::new(),
        status: 200,
        outcome: Outcome::UpstreamFailed.name().to_owned(),
        input_tokens: 0,
        output_tokens: 0,
        cost_micros: 0,
        charged_micros: 0,
        latency_ms: 0,
        receipt: receipt("nothing_delivered", 0, None, held, MicroUsd::ZERO),
    };
    let prompt = task.prompt.chars().take(PROMPT_KEPT_CHARS).collect();
    Ok(Spec { prompt, seconds: task.seconds, size: task.size, fps: task.fps, record, held })
}

fn receipt(rule: &str, seconds: u64, place: Option<&Place>, held: MicroUsd, cost: MicroUsd) -> String {
    let price = place.map(|place| {
        json!({
            "model": place.model, "version": place.price_version, "unit": Unit::Second,
            "pico_usd_per_unit": place.rate.pico_usd_per_token(),
        })
    });
    let usage = usage_for_receipt(Quantity::Steps(seconds));
    json!({ "rule": rule, "usage": usage, "price": price, "held_micros": held, "cost_micros": cost }).to_string()
}

/// The charge that ends the hold, with its record.
fn charge(id: &str, record: &UsageRow, amount: MicroUsd) -> Result<Delivery, serde_json::Error> {
    let capture = Capture { id: record.id.clone(), amount, record: Some(serde_json::to_string(&[record])?) };
    let command = wallet::Command::Capture { hold_id: id.to_owned(), capture, close: true };
    let name = wallet::name(&record.account_id);
    Ok(Delivery { binding: Wallet::BINDING.to_owned(), name, command: serde_json::to_string(&command)? })
}

async fn create_job(cx: &Cx, id: &str, spec: &Spec) -> Result<(), ApiError> {
    let order = Order {
        kind: JOB_KIND.to_owned(),
        owner: spec.record.account_id.clone(),
        spec: serde_json::to_string(spec).map_err(ApiError::internal)?,
        deadline_at_ms: cx.started_ms + DEADLINE_MS,
        retain_ms: RETAIN_MS,
        on_unfinished: Some(charge(id, &spec.record, MicroUsd::ZERO).map_err(ApiError::internal)?),
    };
    let command = Command::Create { order, token: cx.request_id.to_string() };
    match ask::<Job>(&*cx.ports.objects, &job::name(id), &command).await? {
        Reply::Job { claimed: true, .. } => Ok(()),
        other => Err(ApiError::internal(format!("job: {other:?}"))),
    }
}

/// Hands the request to one upstream after the other, until one takes it.
async fn submit(
    cx: &Cx,
    mut ladder: Ladder,
    choice: &Choice,
    request: &MediaRequest<'_>,
    content_type: &str,
) -> Result<(Rc<Offer>, UpstreamVideo), ApiError> {
    let payer = cx.caller.key()?.account_id.clone();
    let nothing = Need { most: MicroUsd::ZERO, least: MicroUsd::ZERO };
    let reservation = reserve(&cx.app, &cx.ports, &payer, nothing).await.map_err(|refusal| refuse(cx, refusal))?;
    let mut call = RunningCall {
        kind: ModelKind::Video,
        asked_model: request.model().to_owned(),
        echoes_negotiated: false,
        alias_from: None,
        mode: choice.mode.as_str(),
        input_tokens_estimate: 0,
        deadline_ms: None,
        cx: cx.clone(),
        reservation,
        tried: Vec::new(),
    };
    let mut failures = Failures::default();
    while let Some(step) = ladder.climb(|| draw_uniform(cx)) {
        if step.pause_ms > 0 {
            cx.ports.clock.sleep_ms(step.pause_ms).await;
        }
        let content_type = if content_type.is_empty() { "application/json" } else { content_type }.to_owned();
        let body = request.with_model(&step.offer.upstream_model);
        let wire = Wire { kind: ModelKind::Video, content_type, body, stream: false };
        match send(&mut call, &step.offer, wire).await {
            Attempt::Answered { inbound: Inbound { body: InboundBody::Whole(body), .. }, latency_ms } => {
                match read_video(&body) {
                    Ok(video) => {
                        note_success(cx, &step.offer.provider.id, latency_ms);
                        return Ok((step.offer, video));
                    }
                    Err(error) => failures.note(&mut call, &mut ladder, &step.offer, &Failure::new(error)),
                }
            }
            Attempt::Answered { .. } => {
                failures.note(&mut call, &mut ladder, &step.offer, &Failure::new("answered with a stream"));
            }
            // It may have the request all the same: asking another could make the video twice, which costs us, not
            // the client.
            Attempt::Failed(failure) => failures.note(&mut call, &mut ladder, &step.offer, &failure),
            Attempt::Overflowed(error) | Attempt::Rejected(error) => {
                note_nothing(cx, &step.offer.provider.id);
                return Err(error);
            }
            Attempt::ClientGone => {
                note_nothing(cx, &step.offer.provider.id);
                return Err(ApiError::new(Kind::UpstreamFailed, "The client left"));
            }
        }
    }
    Err(failures.to_error())
}

fn working(offer: &Offer, video: UpstreamVideo) -> Result<Report, ApiError> {
    let place = Place {
        provider: offer.provider.id.to_string(),
        model: offer.model_id.to_string(),
        id: video.id,
        rate: offer.price.input,
        price_version: offer.price_version,
    };
    let reference = Some(serde_json::to_string(&place).map_err(ApiError::internal)?);
    Ok(Report::Working { reference, progress: video.progress })
}

/// Reports; gives the job as it is then, unless the step was lost to somebody else.
async fn tell(ports: &Ports, id: &str, token: &str, report: Report) -> Result<Option<View>, PortError> {
    let command = Command::Report { token: token.to_owned(), report };
    match ask::<Job>(&*ports.objects, &job::name(id), &command).await? {
        Reply::Job { job, .. } => Ok(Some(*job)),
        Reply::Stale | Reply::Absent => Ok(None),
        Reply::Refused { message } => Err(PortError(format!("job: {message}"))),
    }
}

/// A video of this account, asked about at its upstream if that was not done a moment ago.
///
/// # Errors
/// 404 when there is none.
pub async fn find_video(cx: &Cx, id: &str) -> Result<Video, ApiError> {
    let owner = cx.caller.key()?.account_id.clone();
    let token = cx.request_id.to_string();
    let command = Command::Claim { token, owner: Some(owner.clone()), idle_ms: IDLE_MS };
    let (claimed, view) = look(&cx.ports, id, &command).await?.ok_or_else(|| ApiError::not_found("Video"))?;
    if !claimed {
        return to_video(id.to_owned(), &view);
    }
    let report = step(&cx.app, &cx.ports, id, &view).await?;
    match tell(&cx.ports, id, &cx.request_id, report).await? {
        Some(view) => to_video(id.to_owned(), &view),
        None => {
            let (_, view) =
                look(&cx.ports, id, &Command::Get { owner }).await?.ok_or_else(|| ApiError::not_found("Video"))?;
            to_video(id.to_owned(), &view)
        }
    }
}

async fn look(ports: &Ports, id: &str, command: &Command) -> Result<Option<(bool, View)>, ApiError> {
    // What is no id is nobody's, and needs no object.
    if id.parse::<VideoId>().is_err() {
        return Ok(None);
    }
    match ask::<Job>(&*ports.objects, &job::name(id), command).await? {
        Reply::Job { claimed, job } if job.kind == JOB_KIND => Ok(Some((claimed, *job))),
        Reply::Absent | Reply::Job { .. } => Ok(None),
        other => Err(ApiError::internal(format!("job: {other:?}"))),
    }
}

/// Takes the next step of a job that nobody asks about.
///
/// # Errors
/// When an object or the database does not answer.
pub async fn take_step(app: &Rc<App>, ports: &Rc<Ports>, id: &str) -> Result<(), PortError> {
    let mut random = [0; RANDOM_ID_BYTES];
    ports.random.fill(&mut random);
    let token = VideoId::from_random(random).to_string();
    let command = Command::Claim { token: token.clone(), owner: None, idle_ms: 0 };
    if let Reply::Job { claimed: true, job } = ask::<Job>(&*ports.objects, &job::name(id), &command).await?
        && job.kind == JOB_KIND
    {
        let report = step(app, ports, id, &job).await?;
        tell(ports, id, &token, report).await?;
    }
    Ok(())
}

/// Asks the upstream how far it is.
async fn step(app: &Rc<App>, ports: &Rc<Ports>, id: &str, view: &View) -> Result<Report, PortError> {
    let unreadable = |error: serde_json::Error| PortError(format!("job {id}: {error}"));
    let spec: Spec = serde_json::from_str(&view.spec).map_err(unreadable)?;
    let Some(reference) = &view.reference else {
        return Ok(Report::Failed { reason: "the request did not reach a provider".to_owned() });
    };
    let place: Place = serde_json::from_str(reference).map_err(unreadable)?;
    let snapshot = read_snapshot(app, ports).await?;
    let provider = snapshot.offers.iter().map(|offer| &offer.provider).find(|p| p.id.as_str() == place.provider);
    let Some(provider) = provider else {
        return Ok(Report::Retry { cause: format!("provider {} is gone", place.provider) });
    };
    let video = match provider.kind {
        ProviderKind::Sandbox => watch_sandbox(&spec, view.created_at_ms, ports.clock.now_ms()),
        ProviderKind::OpenAi | ProviderKind::Vllm => match ask_upstream(app, ports, provider, &place.id).await {
            Ok(video) => video,
            Err(report) => return Ok(report),
        },
    };
    match video.state {
        VideoState::Processing => Ok(Report::Working { reference: None, progress: video.progress }),
        VideoState::Failed(reason) => Ok(Report::Failed { reason }),
        VideoState::Completed => {
            let seconds = video.seconds.unwrap_or_else(|| u64::from(spec.seconds));
            let now_ms = ports.clock.now_ms();
            complete(id, spec, &place, Film { url: video.url, seconds, charged: MicroUsd::ZERO }, now_ms)
                .map_err(unreadable)
        }
    }
}

fn complete(id: &str, spec: Spec, place: &Place, film: Film, now_ms: i64) -> Result<Report, serde_json::Error> {
    let cost = UnitPrice { unit: Unit::Second, rate: place.rate }.cost(film.seconds);
    // What was promised when it was asked for is the most that is charged.
    let charged = cost.min(spec.held);
    let record = UsageRow {
        routed_model: place.model.clone(),
        routed_provider: place.provider.clone(),
        outcome: Outcome::Completed.name().to_owned(),
        cost_micros: cost.0,
        charged_micros: charged.0,
        latency_ms: now_ms - spec.record.created_at_ms,
        receipt: receipt("reported", film.seconds, Some(place), spec.held, cost),
        ..spec.record
    };
    let then = Some(charge(id, &record, charged)?);
    Ok(Report::Completed { result: serde_json::to_string(&Film { charged, ..film })?, then })
}

/// The sandbox films for a moment; a prompt that asks for it fails.
fn watch_sandbox(spec: &Spec, created_at_ms: i64, now_ms: i64) -> UpstreamVideo {
    let passed_ms = (now_ms - created_at_ms).max(0);
    let state = match passed_ms {
        passed_ms if passed_ms < FILMING_MS => VideoState::Processing,
        _ if spec.prompt.starts_with(FAILING_PROMPT) => VideoState::Failed("the prompt asked to fail".to_owned()),
        _ => VideoState::Completed,
    };
    let progress = u8::try_from(passed_ms.min(FILMING_MS) * 100 / FILMING_MS).ok();
    UpstreamVideo { id: String::new(), state, progress, seconds: Some(u64::from(spec.seconds)), url: None }
}

async fn ask_upstream(
    app: &App,
    ports: &Ports,
    provider: &Provider,
    upstream_id: &str,
) -> Result<UpstreamVideo, Report> {
    let retry = |cause: String| Report::Retry { cause };
    let read = ReadMode::Whole { max_bytes: STATUS_MAX_BYTES };
    let request = outbound(app, provider, upstream_id, "", read);
    let inbound = ports.fetch.send(request, Rc::new(|| {})).await.map_err(|error| retry(format!("{error:?}")))?;
    let InboundBody::Whole(body) = inbound.body else {
        return Err(retry("answered with a stream".to_owned()));
    };
    match inbound.status {
        200..300 => read_video(&body).map_err(|error| retry(error.to_string())),
        404 | 410 => Err(Report::Failed { reason: "the provider no longer knows the video".to_owned() }),
        status => Err(retry(format!("the provider answered {status}"))),
    }
}

fn outbound(app: &App, provider: &Provider, upstream_id: &str, suffix: &str, read: ReadMode) -> Outbound {
    let id = percent_encoding::utf8_percent_encode(upstream_id, percent_encoding::NON_ALPHANUMERIC);
    Outbound {
        method: "GET",
        url: format!("{}/v1/videos/{id}{suffix}", provider.base_url),
        headers: provider.authorization.iter().map(|key| ("authorization", key.clone())).collect(),
        body: None,
        read,
        first_byte_ms: app.config.first_byte_ms,
    }
}

/// The file of a video of this account.
///
/// # Errors
/// 404 when there is no such video, 409 when it is not completed, 502 when the upstream does not hand it out.
pub async fn load_content(cx: &Cx, id: &str) -> Result<Content, ApiError> {
    let owner = cx.caller.key()?.account_id.clone();
    let found = look(&cx.ports, id, &Command::Get { owner }).await?;
    let (_, view) = found.ok_or_else(|| ApiError::not_found("Video"))?;
    let (Status::Completed, Some(result), Some(reference)) = (view.status, &view.result, &view.reference) else {
        return Err(ApiError::new(Kind::Conflict, "The video is not completed"));
    };
    let film_made: Film = serde_json::from_str(result).map_err(ApiError::internal)?;
    let place: Place = serde_json::from_str(reference).map_err(ApiError::internal)?;
    let spec: Spec = serde_json::from_str(&view.spec).map_err(ApiError::internal)?;
    if let Some(url) = film_made.url {
        return Ok(Content::Elsewhere(url));
    }
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let provider = snapshot.offers.iter().map(|offer| &offer.provider).find(|p| p.id.as_str() == place.provider);
    let gone = || ApiError::new(Kind::UpstreamFailed, "The video's provider does not hand it out");
    let provider = provider.ok_or_else(gone)?;
    if provider.kind == ProviderKind::Sandbox {
        let task = VideoTask { prompt: spec.prompt.into(), seconds: spec.seconds, size: spec.size, fps: spec.fps };
        return Ok(Content::File(film(&task)));
    }
    let read = ReadMode::Stream { max_bytes: VIDEO_MAX_BYTES, stall_ms: cx.app.config.stall_ms };
    let request = outbound(&cx.app, provider, &place.id, "/content", read);
    let ticker = cx.clone();
    let inbound = cx.ports.fetch.send(request, Rc::new(move || ticker.keep_up())).await;
    let inbound = inbound.map_err(|error| gone().caused_by(PortError(format!("{error:?}"))))?;
    if (200..300).contains(&inbound.status) { Ok(Content::Upstream(inbound)) } else { Err(gone()) }
}

fn to_video(id: String, view: &View) -> Result<Video, ApiError> {
    let spec: Spec = serde_json::from_str(&view.spec).map_err(ApiError::internal)?;
    let film: Option<Film> = match &view.result {
        Some(result) => Some(serde_json::from_str(result).map_err(ApiError::internal)?),
        None => None,
    };
    Ok(Video {
        id,
        status: match view.status {
            Status::Queued | Status::Processing => "processing",
            Status::Completed => "completed",
            Status::Failed | Status::Canceled => "failed",
        },
        progress: view.progress,
        created_at_ms: view.created_at_ms,
        finished_at_ms: view.finished_at_ms,
        expires_at_ms: view.expires_at_ms,
        model: spec.record.model,
        seconds: film.as_ref().map_or(u64::from(spec.seconds), |film| film.seconds),
        size: spec.size,
        charged: film.as_ref().map(|film| film.charged),
        url: film.and_then(|film| film.url),
        error: view.error.clone(),
    })
}
