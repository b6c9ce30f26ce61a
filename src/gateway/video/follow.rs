//! A video on its way: asked about at its upstream by its client or by its job, then loaded.

use std::rc::Rc;

use durable_objects::job::protocol::{self as job, Command, Job, Reply, Report, Status, View};
use guildhall_domain::ids::{RANDOM_ID_BYTES, VideoId};
use guildhall_domain::media::{UpstreamVideo, VideoState, VideoTask, read_video};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::outbound::check_url;
use guildhall_domain::own::{Origin, is_plausible};
use guildhall_domain::sandbox::media::{FAILING_PROMPT, FILMING_MS, film};

use super::money::{Film, Place, Spec, complete};
use super::{JOB_KIND, Video, tell, to_video};
use crate::app::{App, Cx};
use crate::error::{ApiError, Kind};
use crate::gateway::own::find_upstream;
use crate::gateway::provider::ProviderKind;
use crate::gateway::table::{Provider, read_snapshot};
use crate::ports::{Inbound, InboundBody, Outbound, PortError, Ports, ReadMode, ask};
use crate::store::identity::claims::list_merged;

/// A client that polls makes the upstream be asked no more often, in milliseconds.
const IDLE_MS: i64 = 2_000;
/// Accounts that went up in one and whose videos are asked for, and for how long: a video is made within seven days, and kept
/// for seven more.
const MERGED_MAX: i64 = 100;
const MERGED_MS: i64 = 15 * 86_400_000;
/// Longest answer about a video, in bytes.
const STATUS_MAX_BYTES: u32 = 1 << 20;
/// Longest video that comes whole, in bytes; others are relayed.
const VIDEO_MAX_BYTES: u32 = 32 << 20;

/// The file of a video.
pub enum Content {
    /// The bytes of an MP4.
    File(Vec<u8>),
    /// It lies there.
    Elsewhere(String),
    /// As the upstream sends it.
    Upstream(Inbound),
}

/// A video of this account, asked about at its upstream if that was not done a moment ago.
///
/// # Errors
/// 404 when there is none.
pub async fn find_video(cx: &Cx, id: &str) -> Result<Video, ApiError> {
    let claim = |owner| Command::Claim { token: cx.request_id.to_string(), owner: Some(owner), idle_ms: IDLE_MS };
    let (claimed, view) = look(cx, id, claim).await?;
    if !claimed {
        return to_video(id.to_owned(), &view);
    }
    let report = step(&cx.app, &cx.ports, id, &view).await?;
    match tell(&cx.ports, id, &cx.request_id, report).await? {
        Some(view) => to_video(id.to_owned(), &view),
        None => {
            let (_, view) = look(cx, id, |owner| Command::Get { owner }).await?;
            to_video(id.to_owned(), &view)
        }
    }
}

/// Asks for a job of the caller's account, or of one that went up in it.
async fn look(cx: &Cx, id: &str, command: impl Fn(String) -> Command) -> Result<(bool, View), ApiError> {
    let nobodys = || ApiError::not_found("Video");
    // What is no id is nobody's, and needs no object.
    id.parse::<VideoId>().map_err(|_| nobodys())?;
    let account = &cx.caller.key()?.account_id;
    if let Some(found) = look_as(&cx.ports, id, &command(account.clone())).await? {
        return Ok(found);
    }
    for merged in list_merged(account, cx.started_ms - MERGED_MS, MERGED_MAX).run(&*cx.ports.db).await? {
        if let Some(found) = look_as(&cx.ports, id, &command(merged.id)).await? {
            return Ok(found);
        }
    }
    Err(nobodys())
}

async fn look_as(ports: &Ports, id: &str, command: &Command) -> Result<Option<(bool, View)>, ApiError> {
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
    let Some(provider) = find_provider(app, ports, &place).await? else {
        return Ok(Report::Retry { cause: format!("provider {} is gone", place.provider) });
    };
    if !provider.has_key {
        // Asked without it, it would refuse us, and that says nothing of the video.
        return Ok(Report::Working { reference: None, progress: None });
    }
    let video = match provider.kind {
        ProviderKind::Sandbox => watch_sandbox(&spec, view.created_at_ms, ports.clock.now_ms()),
        ProviderKind::OpenAi | ProviderKind::Vllm | ProviderKind::Anthropic => {
            match ask_upstream(app, ports, &provider, &place.id).await {
                Ok(video) => video,
                Err(report) => return Ok(report),
            }
        }
    };
    match video.state {
        VideoState::Processing => Ok(Report::Working { reference: None, progress: video.progress }),
        VideoState::Failed(reason) => Ok(Report::Failed { reason }),
        VideoState::Completed => {
            let asked = u64::from(spec.seconds);
            let may_tell = |told: &u64| place.origin() != Origin::Endpoint || is_plausible(*told, asked);
            let seconds = video.seconds.filter(may_tell).unwrap_or(asked);
            let now_ms = ports.clock.now_ms();
            complete(id, spec, &place, Film { url: video.url, seconds, charged: MicroUsd::ZERO }, now_ms)
                .map_err(unreadable)
        }
    }
}

/// Who makes a video: a provider of the platform's, or the account's own.
async fn find_provider(app: &Rc<App>, ports: &Rc<Ports>, place: &Place) -> Result<Option<Rc<Provider>>, PortError> {
    if let Some(own) = &place.own {
        return find_upstream(app, ports, &own.account_id, &own.id).await;
    }
    let snapshot = read_snapshot(app, ports).await?;
    Ok(snapshot.providers.iter().find(|provider| provider.id.as_str() == place.provider).map(Rc::clone))
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
    // A client that does not wait for the answer says nothing of the video, either.
    let request = Outbound { outlives_client: true, ..outbound(app, provider, upstream_id, "", read) };
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
        url: provider.endpoint.url(&format!("/v1/videos/{id}{suffix}")),
        headers: provider.endpoint.headers.clone(),
        body: None,
        read,
        first_byte_ms: app.config.first_byte_ms,
        may_be_given_up: false,
        outlives_client: false,
    }
}

/// The file of a video of this account.
///
/// # Errors
/// 404 when there is no such video, 409 when it is not completed, 502 when the upstream does not hand it out.
pub async fn load_content(cx: &Cx, id: &str) -> Result<Content, ApiError> {
    let (_, view) = look(cx, id, |owner| Command::Get { owner }).await?;
    let (Status::Completed, Some(result), Some(reference)) = (view.status, &view.result, &view.reference) else {
        return Err(ApiError::new(Kind::Conflict, "The video is not completed"));
    };
    let film_made: Film = serde_json::from_str(result).map_err(ApiError::internal)?;
    let place: Place = serde_json::from_str(reference).map_err(ApiError::internal)?;
    let spec: Spec = serde_json::from_str(&view.spec).map_err(ApiError::internal)?;
    if let Some(url) = film_made.url {
        return Ok(Content::Elsewhere(url));
    }
    let gone = || ApiError::new(Kind::UpstreamFailed, "The video's provider does not hand it out");
    let provider = find_provider(&cx.app, &cx.ports, &place).await?.ok_or_else(gone)?;
    if provider.kind == ProviderKind::Sandbox {
        let (prompt, seconds) = (spec.prompt.into(), spec.seconds);
        let task = VideoTask { prompt, seconds, says_length: true, size: spec.size, fps: spec.fps };
        return Ok(Content::File(film(&task)));
    }
    let read = ReadMode::Stream { max_bytes: VIDEO_MAX_BYTES, stall_ms: cx.app.config.stall_ms };
    let request = outbound(&cx.app, &provider, &place.id, "/content", read);
    let ticker = cx.clone();
    let inbound = cx.ports.fetch.send(request, Rc::new(move || ticker.keep_up())).await;
    let inbound = inbound.map_err(|error| gone().caused_by(PortError(format!("{error:?}"))))?;
    match inbound.status {
        200..300 => Ok(Content::Upstream(inbound)),
        // A store hands it out to whoever has the address.
        300..400 if check_url(&inbound.location, cx.app.config.outbound).is_ok() => {
            Ok(Content::Elsewhere(inbound.location))
        }
        status => Err(gone().caused_by(PortError(format!("the provider answered {status}")))),
    }
}
