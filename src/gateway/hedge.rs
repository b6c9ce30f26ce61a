//! The race of one call's attempts: where an upstream has not begun to answer for a while, the next one is asked beside it.
//! The first answer wins; whoever else was asked is told to stop, is not paid by the client, and has not failed.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::choice::Choice;
use super::dispatch::{Attempt, Wire, attempt, send};
use super::endings::Failures;
use super::health::note_nothing;
use super::ladder::{Ladder, Lead, Step};
use super::settlement::RunningCall;
use crate::app::Cx;
use crate::error::ApiError;
use crate::ports::Pending;

/// The attempts of a call that run at one time: one, unless the deployment hedges.
pub struct Race<'w> {
    write: &'w dyn Fn(&Step) -> Result<Wire, ApiError>,
    /// `None` where one is asked after the other.
    hedging: Option<Hedging>,
    running: Vec<Runner>,
}

struct Hedging {
    cx: Cx,
    after_ms: u32,
    runners_max: usize,
    /// Whether anybody was asked beside another.
    has_hedged: bool,
}

struct Runner {
    step: Step,
    attempt: Pending<'static, Attempt>,
}

enum Event {
    Over(usize, Attempt),
    Late,
}

impl<'w> Race<'w> {
    /// For a call. A client that named its model wants that one, and is not given another for being quicker.
    #[must_use]
    pub fn new(call: &RunningCall, choice: &Choice, write: &'w dyn Fn(&Step) -> Result<Wire, ApiError>) -> Self {
        let config = &call.cx.app.config;
        let is_named = choice.is_open && Lead::of(choice.decision.ranked.first()) == Lead::Hint;
        let hedging = (config.hedge_after_ms > 0 && !is_named).then(|| Hedging {
            cx: call.cx.clone(),
            after_ms: config.hedge_after_ms,
            runners_max: usize::try_from(config.hedged_providers_max).unwrap_or(1),
            has_hedged: false,
        });
        Self { write, hedging, running: Vec::new() }
    }

    /// Begins an attempt, if there is one, and waits for what the call has to deal with: an answer, or a failure when nobody
    /// else is running. `None` when nobody runs.
    pub async fn run(
        &mut self,
        call: &mut RunningCall,
        ladder: &mut Ladder,
        failures: &mut Failures,
        next: Option<(Step, Wire)>,
    ) -> Option<(Step, Attempt)> {
        if self.hedging.is_none() {
            let (step, wire) = next?;
            let outcome = send(call, &step.offer, wire).await;
            return Some((step, outcome));
        }
        if let Some((step, wire)) = next {
            self.start(call, step, wire);
        }
        while !self.running.is_empty() {
            let Event::Over(at, outcome) = self.wait(ladder).await else {
                self.start_next(call, ladder);
                continue;
            };
            let Runner { mut step, .. } = self.running.swap_remove(at);
            call.bring_last(&step.offer);
            match outcome {
                Attempt::Failed(failure) if !self.running.is_empty() && !call.is_too_late() => {
                    failures.note(call, ladder, &step.offer, &failure);
                    self.start_next(call, ladder);
                }
                // Another of those that run may be large enough, or was asked before the client left.
                Attempt::Overflowed(_) | Attempt::ClientGone { was_asked: false } if !self.running.is_empty() => {
                    note_nothing(&call.cx, &step.offer.provider);
                }
                outcome => {
                    if self.hedging.as_ref().is_some_and(|hedging| hedging.has_hedged) {
                        "hedged-dispatch".clone_into(&mut step.reason);
                    }
                    return Some((step, outcome));
                }
            }
        }
        None
    }

    fn start(&mut self, call: &mut RunningCall, step: Step, wire: Wire) {
        call.begin_attempt(&step.offer);
        let (cx, deadline_ms, offer) = (call.cx.clone(), call.deadline_ms, Rc::clone(&step.offer));
        let attempt = Box::pin(async move { attempt(&cx, deadline_ms, &offer, wire, true).await });
        self.running.push(Runner { step, attempt });
    }

    /// Asks the next that was not asked yet and can be told.
    fn start_next(&mut self, call: &mut RunningCall, ladder: &mut Ladder) {
        while let Some(step) = ladder.climb_fresh() {
            let Ok(wire) = (self.write)(&step) else { continue };
            if let Some(hedging) = &mut self.hedging {
                hedging.has_hedged = true;
            }
            return self.start(call, step, wire);
        }
    }

    async fn wait(&mut self, ladder: &Ladder) -> Event {
        // A caller's own upstream is not outrun by one that costs them more.
        let is_own = self.running.iter().any(|runner| runner.step.offer.provider.own.is_some());
        let running = &mut self.running;
        let may_hedge = |hedging: &&Hedging| running.len() < hedging.runners_max && !is_own && ladder.has_more();
        let hedging = self.hedging.as_ref().filter(may_hedge);
        let mut late = hedging.map(|hedging| hedging.cx.ports.clock.sleep_ms(hedging.after_ms));
        poll_fn(move |context| {
            for (at, runner) in running.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = runner.attempt.as_mut().poll(context) {
                    return Poll::Ready(Event::Over(at, outcome));
                }
            }
            match &mut late {
                Some(late) => late.as_mut().poll(context).map(|()| Event::Late),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Race<'_> {
    fn drop(&mut self) {
        let Some(hedging) = &self.hedging else { return };
        for runner in self.running.drain(..) {
            note_nothing(&hedging.cx, &runner.step.offer.provider);
        }
    }
}
