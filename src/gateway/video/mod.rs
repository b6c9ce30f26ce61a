//! Videos: handed to an upstream at once, followed by a `Job`, paid when they are done.
//!
//! The order of things is what keeps the books: the wallet holds the price, then the job is created (its end gives the
//! hold back by itself), then the upstream is asked. Whatever dies in between, the job's deadline ends it.

mod follow;
mod money;

use std::rc::Rc;

use durable_objects::job::protocol::{self as job, Command, Job, Order, Reply, Report, Status, View};
use guildhall_domain::ids::{RANDOM_ID_BYTES, VideoId};
use guildhall_domain::media::{MediaRequest, ModelKind, Task, UpstreamVideo, read_video};
use guildhall_domain::money::MicroUsd;

use super::choice::{Choice, draw_uniform};
use super::dispatch::{Attempt, Failure, Wire, send};
use super::endings::Failures;
use super::health::{note_nothing, note_success};
use super::ladder::{Ladder, Lead};
use super::media::choose_for_media;
use super::reserving::{or_cheaper, reserve_nothing};
use super::settlement::RunningCall;
use super::table::Offer;
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::ports::{Inbound, InboundBody, PortError, Ports, ask};
use money::{Film, Place, Spec, charge, hold, release, write_spec};

pub use follow::{Content, find_video, load_content, take_step};

/// The kind of these jobs.
const JOB_KIND: &str = "video";
/// How long a video may take, in milliseconds.
const DEADLINE_MS: i64 = 60 * 60 * 1_000;
/// How long it can be loaded, in milliseconds.
const RETAIN_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

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

/// Has a video made.
///
/// # Errors
/// As [`super::completion::complete_chat`].
pub async fn create_video(cx: Cx, content_type: &str, body: &[u8]) -> Result<Video, ApiError> {
    let request = MediaRequest::parse(ModelKind::Video, content_type, body)?;
    let Task::Video(task) = request.task() else {
        return Err(ApiError::internal("a video request is no video task"));
    };
    let choice = choose_for_media(&cx, ModelKind::Video, &request).await?;
    let mut offers = choice.best_offers();
    let cost_of = |offers: &[Rc<Offer>]| {
        offers.iter().map(|offer| offer.cost(request.quantity_upper())).max().unwrap_or(MicroUsd::ZERO)
    };
    let id = new_id(&cx);
    let held = hold(&cx, &id, cost_of(&offers)).await;
    let is_short = |error: &ApiError| matches!(error.kind, Kind::InsufficientFunds | Kind::BudgetExceeded);
    or_cheaper(&choice, &mut offers, held, is_short, async |offers| hold(&cx, &id, cost_of(offers)).await).await?;
    let dearest = cost_of(&offers);
    let spec = write_spec(&cx, task, &choice, dearest)?;
    let created = match create_job(&cx, &id, &spec).await {
        Ok(created) => created,
        Err(error) => {
            // Without a job nobody would give the money back before the hold expires.
            release(&cx, &id).await;
            return Err(error);
        }
    };
    let (report, refusal) = match submit(&cx, Ladder::new(offers, Lead::Weight), &choice, &request).await {
        Ok((offer, video)) => (working(&offer, video)?, None),
        Err(error) => (Report::Failed { reason: error.message.clone() }, Some(error)),
    };
    let told = tell_created(&cx, &id, &created.owner, report).await;
    match refusal {
        Some(error) => Err(error),
        // An upstream has it, whether the job knows already or not: an error would have the client order another.
        None => to_video(id, told.as_ref().unwrap_or(&created)),
    }
}

fn new_id(cx: &Cx) -> String {
    let mut random = [0; RANDOM_ID_BYTES];
    cx.ports.random.fill(&mut random);
    VideoId::from_random(random).to_string()
}

async fn create_job(cx: &Cx, id: &str, spec: &Spec) -> Result<View, ApiError> {
    let order = Order {
        kind: JOB_KIND.to_owned(),
        owner: spec.record.account_id.clone(),
        spec: serde_json::to_string(spec).map_err(ApiError::internal)?,
        deadline_at_ms: cx.started_ms + DEADLINE_MS,
        retain_ms: RETAIN_MS,
        on_unfinished: Some(
            charge(id, &spec.record, MicroUsd::ZERO, spec.budgets.clone(), Vec::new(), cx.started_ms)
                .map_err(ApiError::internal)?,
        ),
    };
    let command = Command::Create { order, token: cx.request_id.to_string() };
    match ask::<Job>(&*cx.ports.objects, &job::name(id), &command).await? {
        Reply::Job { claimed: true, job } => Ok(*job),
        other => Err(ApiError::internal(format!("job: {other:?}"))),
    }
}

/// Hands the request to one upstream after the other, until one takes it.
async fn submit(
    cx: &Cx,
    mut ladder: Ladder,
    choice: &Choice,
    request: &MediaRequest<'_>,
) -> Result<(Rc<Offer>, UpstreamVideo), ApiError> {
    let reservation = reserve_nothing(cx).await?;
    let mut call = RunningCall::begin(cx.clone(), ModelKind::Video, request.model(), choice, reservation)?;
    let mut failures = Failures::default();
    while let Some(step) = ladder.climb(|| draw_uniform(cx)) {
        step.wait(cx).await;
        let (content_type, body) = (request.content_type(), request.with_model(&step.offer.upstream_model));
        let wire = Wire { kind: ModelKind::Video, content_type, body, stream: false };
        match send(&mut call, &step.offer, wire).await {
            Attempt::Answered { inbound: Inbound { body: InboundBody::Whole(body), .. }, latency_ms } => {
                match read_video(&body) {
                    Ok(video) => {
                        note_success(cx, &step.offer.provider, latency_ms);
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
            Attempt::TooLarge => {
                failures.note(&mut call, &mut ladder, &step.offer, &Failure::new("answered with far too much"));
            }
            // What an upstream of the caller's own does not take, the platform's may.
            Attempt::Overflowed(_) | Attempt::Rejected(_) | Attempt::OptionsRefused(_)
                if step.offer.provider.own.is_some() && ladder.has_more() => {}
            Attempt::Overflowed(error) | Attempt::Rejected(error) | Attempt::OptionsRefused(error) => {
                note_nothing(cx, &step.offer.provider);
                return Err(error);
            }
            Attempt::ClientGone { .. } => {
                note_nothing(cx, &step.offer.provider);
                return Err(ApiError::client_gone());
            }
        }
    }
    Err(failures.to_error())
}

fn working(offer: &Offer, video: UpstreamVideo) -> Result<Report, ApiError> {
    let place = Place::of(offer, video.id);
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

/// Reports what the creator's step came to until the job has heard of it, and gives the job as it is then. `None` when it
/// does not answer for now: it is told in the background, for as long as that may run.
async fn tell_created(cx: &Cx, id: &str, owner: &str, report: Report) -> Option<View> {
    let token = Rc::clone(&cx.request_id);
    let told = tell_again(&cx.ports, id, owner, &token, &report, [10, 50, 250]).await;
    if told.is_none() {
        let (ports, id, owner) = (Rc::clone(&cx.ports), id.to_owned(), owner.to_owned());
        cx.ports.background.spawn(Box::pin(async move {
            tell_again(&ports, &id, &owner, &token, &report, [1_000, 5_000, 15_000]).await;
        }));
    }
    told
}

async fn tell_again(
    ports: &Ports,
    id: &str,
    owner: &str,
    token: &str,
    report: &Report,
    pauses_ms: [u32; 3],
) -> Option<View> {
    for pause_ms in pauses_ms {
        match tell_or_look(ports, id, owner, token, report.clone()).await {
            Ok(view) => return Some(view),
            Err(error) => ports.background.log(&format!("job {id}: {error}")),
        }
        ports.clock.sleep_ms(pause_ms).await;
    }
    None
}

/// Reports. A step that is over has been told of, by a report whose answer was lost: then it is only read.
async fn tell_or_look(ports: &Ports, id: &str, owner: &str, token: &str, report: Report) -> Result<View, PortError> {
    if let Some(view) = tell(ports, id, token, report).await? {
        return Ok(view);
    }
    match ask::<Job>(&*ports.objects, &job::name(id), &Command::Get { owner: owner.to_owned() }).await? {
        Reply::Job { job, .. } => Ok(*job),
        other => Err(PortError(format!("job: {other:?}"))),
    }
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
