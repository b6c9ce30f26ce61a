//! The machine of a job.

use serde::Deserialize;

use super::protocol::{
    Command, Delivery, Job, NAME_MAX_BYTES, Order, QueuedStep, RETAIN_MAX_MS, RUN_MAX_MS, Reply, Report, Status,
    TEXT_MAX_BYTES, View,
};
use super::run::{CALL_ID, Claim, Run, cut, delay_ms};
use crate::machine::{EXTRA_PREFIX, Effect, Enlisted, Facts, Machine, MachineError, Outcome, Row, Step, Write};

/// How long a worker has for a step, in milliseconds; then another may claim it.
pub const CLAIM_MS: i64 = 60 * 1_000;
/// The same for the creator's first step, which may hand over a large upload, to one upstream after the other.
pub const FIRST_CLAIM_MS: i64 = 15 * 60 * 1_000;
/// Steps that may fail one after the other, each when it was due: for some nine minutes.
const FAILURES_MAX: u32 = 20;
/// How long a call for a worker goes unheard before it is repeated, in milliseconds.
const CALL_RETRY_MS: i64 = 30 * 1_000;
/// How long the receiver of the outcome has before it is sent again, in milliseconds.
const OUTCOME_RETRY_MS: i64 = 5 * 1_000;
const ORDER_KEY: &str = "order";
const RUN_KEY: &str = "run";
const OUTCOME_ID: &str = "outcome";

/// One job.
#[derive(Debug, PartialEq, Eq)]
pub struct JobMachine {
    name: String,
    job: Option<(Order, Run)>,
}

impl Machine for JobMachine {
    type Protocol = Job;
    const HAS_LEDGER: bool = true;

    fn load(name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let (mut order, mut run) = (None, None);
        for row in rows {
            let unreadable = |error| MachineError::unreadable(&row.key, &error);
            match row.key.as_str() {
                ORDER_KEY => order = Some(serde_json::from_str(&row.value).map_err(unreadable)?),
                RUN_KEY => run = Some(serde_json::from_str(&row.value).map_err(unreadable)?),
                key if key.starts_with(EXTRA_PREFIX) => {}
                _ => return Err(MachineError::unreadable(&row.key, &"no such row")),
            }
        }
        Ok(Self { name: name.to_owned(), job: order.zip(run) })
    }

    fn apply(&mut self, command: Command, _facts: Facts, now_ms: i64) -> Step<Reply> {
        let mut writes = self.pass_time(now_ms)?;
        let before = self.job.as_ref().map(|(_, run)| run.clone());
        let reply = match command {
            Command::Create { order, token } => self.create(order, token, now_ms, &mut writes)?,
            Command::Get { owner } if !self.is_of(&owner) => Reply::Absent,
            Command::Get { .. } => self.reply(false),
            Command::Claim { owner: Some(owner), .. } if !self.is_of(&owner) => Reply::Absent,
            Command::Claim { token, idle_ms, .. } => self.claim(token, idle_ms, now_ms, &mut writes),
            Command::Report { token, report } => self.report(&token, report, now_ms, &mut writes)?,
            Command::Cancel => {
                self.end(Status::Canceled, None, now_ms, &mut writes)?;
                self.reply(false)
            }
        };
        self.put_changed(before.as_ref(), &mut writes)?;
        Ok(Outcome { reply, writes: latest(writes) })
    }

    fn alarm(&mut self, now_ms: i64) -> Step<()> {
        let mut writes = self.pass_time(now_ms)?;
        let Some((_, run)) = &mut self.job else {
            return Ok(Outcome { reply: (), writes });
        };
        if !run.status.is_final() && !run.is_called && run.call_at_ms() <= now_ms {
            run.is_called = true;
            run.claim = None;
            let item = serde_json::to_string(&QueuedStep { job: self.name.clone() })?;
            let effect = Effect::Enqueue { item };
            writes.push(Write::Enlist(Enlisted { id: CALL_ID.to_owned(), effect, retry_after_ms: CALL_RETRY_MS }));
            writes.push(Write::put(RUN_KEY, run)?);
        }
        Ok(Outcome { reply: (), writes: latest(writes) })
    }

    fn delivered(&mut self, delivery: &Enlisted, answer: &[u8], now_ms: i64) -> Step<()> {
        let strike = Write::Strike { id: delivery.id.clone() };
        let Some((_, run)) = self.job.as_mut().filter(|_| delivery.id == OUTCOME_ID) else {
            return Ok(Outcome { reply: (), writes: vec![strike] });
        };
        if is_refusal(answer) {
            // It stays in the outbox and is tried again: what was made is owed.
            let answer = String::from_utf8_lossy(answer);
            let is_news = run.events.last().is_none_or(|last| last.what != cut(&answer));
            if is_news {
                run.note(now_ms, &answer);
            }
            let writes = if is_news { vec![Write::put(RUN_KEY, run)?] } else { Vec::new() };
            return Ok(Outcome { reply: (), writes });
        }
        run.is_outcome_due = false;
        run.note(now_ms, "settled");
        Ok(Outcome { reply: (), writes: vec![strike, Write::put(RUN_KEY, run)?] })
    }

    fn next_alarm_ms(&self) -> Option<i64> {
        let (order, run) = self.job.as_ref()?;
        if run.status.is_final() {
            return Some(run.next_at_ms);
        }
        let call_at_ms = if run.is_called { order.deadline_at_ms } else { run.call_at_ms() };
        Some(call_at_ms.min(order.deadline_at_ms))
    }

    fn is_vacant(&self) -> bool {
        self.job.is_none()
    }
}

impl JobMachine {
    fn is_of(&self, owner: &str) -> bool {
        self.job.as_ref().is_some_and(|(order, _)| order.owner == owner)
    }

    /// What time alone brings about: the deadline, and the end of what is kept.
    fn pass_time(&mut self, now_ms: i64) -> Result<Vec<Write>, MachineError> {
        let mut writes = Vec::new();
        let Some((order, run)) = &mut self.job else {
            return Ok(writes);
        };
        if !run.status.is_final() {
            if order.deadline_at_ms <= now_ms {
                let reason = "it took too long".to_owned();
                self.end(Status::Failed, Some(reason), now_ms, &mut writes)?;
                self.put_changed(None, &mut writes)?;
            }
        } else if run.next_at_ms <= now_ms {
            let is_hopeless = run.finished_at_ms.is_some_and(|at_ms| now_ms >= at_ms.saturating_add(RETAIN_MAX_MS));
            if run.is_outcome_due && !is_hopeless {
                // Money comes before tidiness.
                run.next_at_ms = now_ms.saturating_add(60 * 60 * 1_000);
                writes.push(Write::put(RUN_KEY, run)?);
            } else {
                if run.is_outcome_due {
                    writes.push(Write::Strike { id: OUTCOME_ID.to_owned() });
                }
                self.job = None;
                writes.extend([ORDER_KEY, RUN_KEY].map(|key| Write::Delete { key: key.to_owned() }));
            }
        }
        Ok(writes)
    }

    fn create(
        &mut self,
        order: Order,
        token: String,
        now_ms: i64,
        writes: &mut Vec<Write>,
    ) -> Result<Reply, MachineError> {
        let is_bad = |text: &str| text.is_empty() || text.len() > NAME_MAX_BYTES;
        if is_bad(&order.kind) || is_bad(&order.owner) || is_bad(&token) || order.spec.len() > TEXT_MAX_BYTES {
            return Ok(refuse(format!(
                "names have 1 to {NAME_MAX_BYTES} bytes, a specification {TEXT_MAX_BYTES} at most"
            )));
        }
        if order.deadline_at_ms <= now_ms || !(0..=RETAIN_MAX_MS).contains(&order.retain_ms) {
            return Ok(refuse("a deadline is in the future, and a job is kept 30 days at most".to_owned()));
        }
        if let Some((known, run)) = &self.job {
            if known.kind != order.kind || known.owner != order.owner || known.spec != order.spec {
                return Ok(refuse("the id was used for another job".to_owned()));
            }
            let is_claimed = run.claim.as_ref().is_some_and(|claim| claim.token == token && run.attempts == 1);
            return Ok(self.reply(is_claimed));
        }
        let order = Order { deadline_at_ms: order.deadline_at_ms.min(now_ms.saturating_add(RUN_MAX_MS)), ..order };
        let mut run = Run {
            status: Status::Queued,
            progress: 0,
            reference: None,
            result: None,
            error: None,
            attempts: 1,
            failures: 0,
            created_at_ms: now_ms,
            stepped_at_ms: now_ms,
            next_at_ms: now_ms,
            finished_at_ms: None,
            claim: Some(Claim { token, until_ms: now_ms.saturating_add(FIRST_CLAIM_MS) }),
            is_called: false,
            is_outcome_due: false,
            events: Vec::new(),
        };
        run.note(now_ms, "created");
        writes.push(Write::put(ORDER_KEY, &order)?);
        self.job = Some((order, run));
        Ok(self.reply(true))
    }

    fn claim(&mut self, token: String, idle_ms: i64, now_ms: i64, writes: &mut Vec<Write>) -> Reply {
        let Some((_, run)) = &mut self.job else {
            return Reply::Absent;
        };
        if token.is_empty() || token.len() > NAME_MAX_BYTES {
            return refuse(format!("a token has 1 to {NAME_MAX_BYTES} bytes"));
        }
        if run.status.is_final() {
            return self.reply(false);
        }
        match &run.claim {
            Some(claim) if claim.token == token => return self.reply(true),
            Some(claim) if claim.until_ms > now_ms => return self.reply(false),
            _ => {}
        }
        if run.stepped_at_ms.saturating_add(idle_ms.max(0)) > now_ms {
            return self.reply(false);
        }
        run.claim = Some(Claim { token, until_ms: now_ms.saturating_add(CLAIM_MS) });
        run.attempts = run.attempts.saturating_add(1);
        run.stop_calling(writes);
        self.reply(true)
    }

    fn report(
        &mut self,
        token: &str,
        report: Report,
        now_ms: i64,
        writes: &mut Vec<Write>,
    ) -> Result<Reply, MachineError> {
        let Some((_, run)) = &mut self.job else {
            return Ok(Reply::Absent);
        };
        if run.status.is_final() || run.claim.as_ref().is_none_or(|claim| claim.token != token) {
            return Ok(Reply::Stale);
        }
        if let Report::Completed { result: text, .. } | Report::Working { reference: Some(text), .. } = &report
            && text.len() > TEXT_MAX_BYTES
        {
            return Ok(refuse(format!("a result has at most {TEXT_MAX_BYTES} bytes")));
        }
        run.claim = None;
        run.stepped_at_ms = now_ms;
        match report {
            Report::Working { reference, progress } => {
                run.failures = 0;
                if run.status == Status::Queued {
                    run.status = Status::Processing;
                    run.note(now_ms, "processing");
                }
                run.reference = run.reference.take().or(reference);
                run.progress = run.progress.max(progress.unwrap_or(0).min(99));
                run.next_at_ms = now_ms.saturating_add(delay_ms(run.attempts));
            }
            // Whoever asks again and again must not use up the tries: one counts whenever a step was due.
            Report::Retry { cause } if now_ms < run.next_at_ms => run.note(now_ms, &cause),
            Report::Retry { cause } => {
                run.failures = run.failures.saturating_add(1);
                run.next_at_ms = now_ms.saturating_add(delay_ms(run.failures));
                run.note(now_ms, &cause);
                if run.failures >= FAILURES_MAX {
                    let reason = "the provider could not be reached".to_owned();
                    self.end(Status::Failed, Some(reason), now_ms, writes)?;
                }
            }
            Report::Completed { result, then } => {
                run.result = Some(result);
                run.progress = 100;
                if let Some((order, _)) = &mut self.job {
                    order.on_unfinished = then;
                }
                self.end(Status::Completed, None, now_ms, writes)?;
            }
            Report::Failed { reason } => self.end(Status::Failed, Some(reason), now_ms, writes)?,
        }
        Ok(self.reply(false))
    }

    /// Ends the job, and writes down what is to be told because of it; without effect on a finished one.
    fn end(
        &mut self,
        status: Status,
        error: Option<String>,
        now_ms: i64,
        writes: &mut Vec<Write>,
    ) -> Result<(), MachineError> {
        let Some((order, run)) = self.job.as_mut().filter(|(_, run)| !run.status.is_final()) else {
            return Ok(());
        };
        run.status = status;
        run.error = error.map(|error| cut(&error));
        run.claim = None;
        run.finished_at_ms = Some(now_ms);
        run.next_at_ms = now_ms.saturating_add(order.retain_ms);
        let what = match status {
            Status::Completed => "completed",
            Status::Canceled => "canceled",
            Status::Failed | Status::Queued | Status::Processing => run.error.as_deref().unwrap_or("failed"),
        };
        let what = what.to_owned();
        run.note(now_ms, &what);
        run.stop_calling(writes);
        if let Some(Delivery { binding, name, command }) = order.on_unfinished.take() {
            run.is_outcome_due = true;
            let effect = Effect::Deliver { binding, name, command };
            let enlisted = Enlisted { id: OUTCOME_ID.to_owned(), effect, retry_after_ms: OUTCOME_RETRY_MS };
            writes.push(Write::Enlist(enlisted));
        }
        writes.push(Write::put(ORDER_KEY, order)?);
        Ok(())
    }

    /// Writes the changing part, if it changed.
    fn put_changed(&self, before: Option<&Run>, writes: &mut Vec<Write>) -> Result<(), MachineError> {
        if let Some((_, run)) = &self.job
            && before != Some(run)
        {
            writes.push(Write::put(RUN_KEY, run)?);
        }
        Ok(())
    }

    fn reply(&self, claimed: bool) -> Reply {
        let Some((order, run)) = &self.job else {
            return Reply::Absent;
        };
        let job = View {
            kind: order.kind.clone(),
            owner: order.owner.clone(),
            spec: order.spec.clone(),
            status: run.status,
            progress: run.progress,
            reference: run.reference.clone(),
            result: run.result.clone(),
            error: run.error.clone(),
            attempts: run.attempts,
            created_at_ms: run.created_at_ms,
            finished_at_ms: run.finished_at_ms,
            expires_at_ms: run.finished_at_ms.map(|_| run.next_at_ms),
            events: run.events.clone(),
        };
        Reply::Job { claimed, job: Box::new(job) }
    }
}

/// Whether an object's answer, of whatever protocol, is a refusal.
fn is_refusal(answer: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Told {
        reply: String,
    }
    serde_json::from_slice::<Told>(answer).is_ok_and(|told| told.reply == "refused")
}

fn refuse(message: String) -> Reply {
    Reply::Refused { message }
}

/// The last write of each row: a store wants at most one.
fn latest(writes: Vec<Write>) -> Vec<Write> {
    let mut kept: Vec<Write> = Vec::with_capacity(writes.len());
    for write in writes {
        let key_of = |write: &Write| match write {
            Write::Put(Row { key, .. }) | Write::Delete { key } => Some(key.clone()),
            _ => None,
        };
        if let Some(key) = key_of(&write) {
            kept.retain(|earlier| key_of(earlier).as_ref() != Some(&key));
        }
        kept.push(write);
    }
    kept
}
