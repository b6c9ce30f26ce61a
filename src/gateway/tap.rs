//! A chat stream on its way to the client: rewritten chunk by chunk, and settled exactly once, however it ends.

use guildhall_domain::chat::stream::{StreamEnd as RewriterEnd, StreamFault, StreamRewriter};

use guildhall_domain::pricing::TokenUsage;

use super::adapter::Decoder;
use super::cache::KeptStream;
use super::settlement::{Outcome, RunningCall, Used};
use crate::ports::{Flow, StreamEnd, StreamTap};

const FAILED_MIDWAY: &str = "The model's provider failed in the middle of the answer.";

/// The tap of one chat stream.
pub struct ChatTap {
    decoder: Decoder,
    rewriter: StreamRewriter,
    /// `None` before the stream is the client's, and once settled.
    call: Option<RunningCall>,
    /// Keeps the stream, where it may be kept.
    kept: Option<KeptStream>,
}

impl ChatTap {
    /// A tap for a call whose upstream answers.
    #[must_use]
    pub fn new(call: &RunningCall, hide_usage: bool) -> Self {
        let mut rewriter = StreamRewriter::new(call.model_to_echo(), hide_usage);
        if !hide_usage {
            rewriter = rewriter.with_estimate(call.input_tokens_estimate);
        }
        Self { decoder: Decoder::new(call), rewriter, call: None, kept: None }
    }

    /// Takes a chunk while nothing has gone to the client; says whether the answer has begun.
    ///
    /// # Errors
    /// When it is a fault: the call may be tried elsewhere.
    pub fn open(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        self.take(chunk, out)?;
        Ok(self.rewriter.has_begun())
    }

    /// From now on the stream is the client's, who gets `first` first.
    pub fn begin(&mut self, mut call: RunningCall, first: &[u8]) {
        self.kept = call.keep.take().map(|keep| KeptStream::begin(*keep, first));
        self.call = Some(call);
        self.settle_if_done();
    }

    fn take(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let (chunks, decoded) = self.decoder.push(chunk);
        let known = out.len();
        self.rewriter.push(&chunks, out)?;
        self.keep(out.get(known..).unwrap_or_default());
        decoded
    }

    fn keep(&mut self, events: &[u8]) {
        if self.kept.as_mut().is_some_and(|kept| !kept.push(events)) {
            self.kept = None;
        }
    }

    /// The books are closed before the client can see the end, so that it may read its usage at once.
    fn settle_if_done(&mut self) {
        if self.rewriter.saw_done() {
            self.settle(Outcome::Completed);
        }
    }

    /// The upstream closed its stream: what it still owed.
    fn finish_decoder(&mut self, out: &mut Vec<u8>) -> RewriterEnd<'static> {
        let (chunks, decoded) = self.decoder.finish();
        let known = out.len();
        let pushed = self.rewriter.push(&chunks, out);
        self.keep(out.get(known..).unwrap_or_default());
        match pushed.and(decoded) {
            Ok(()) => RewriterEnd::Eof,
            Err(fault) => RewriterEnd::Failed { code: fault.code(), message: FAILED_MIDWAY },
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        let Some(call) = self.call.take() else { return };
        let seen = self.rewriter.output_tokens_seen();
        let used = match (self.rewriter.usage(), self.decoder.usage()) {
            _ if self.rewriter.gave_nothing() => Used::Nothing,
            (Some(usage), _) if outcome == Outcome::Completed => call.trust(usage, seen),
            // What was told before the end may be of a part.
            (Some(usage), _) | (None, Some(usage)) => {
                let output = usage.output.max(seen);
                call.trust(TokenUsage { output, ..usage }, output)
            }
            (None, None) => Used::Estimated { output: seen },
        };
        if let Some(kept) = self.kept.take().filter(|_| outcome == Outcome::Completed) {
            kept.end(&call.cx, call.worth(used));
        }
        call.settle(outcome, 200, used);
    }
}

impl StreamTap for ChatTap {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Flow {
        if let Err(fault) = self.take(chunk, out) {
            if let Some(call) = &self.call {
                call.cx.ports.background.log(&format!("{}: {fault}", call.cx.request_id));
            }
            self.rewriter.finish(RewriterEnd::Failed { code: fault.code(), message: FAILED_MIDWAY }, out);
            self.settle(Outcome::StreamBroken);
            return Flow::Stop;
        }
        self.settle_if_done();
        if self.rewriter.saw_done() { Flow::Done } else { Flow::Continue }
    }

    fn tick(&mut self) {
        if let Some(call) = &self.call {
            call.cx.keep_up();
        }
    }

    fn end(&mut self, end: StreamEnd, out: &mut Vec<u8>) {
        let written = match end {
            StreamEnd::Eof => self.finish_decoder(out),
            StreamEnd::Broken | StreamEnd::ClientGone => RewriterEnd::Failed {
                code: "upstream_reset",
                message: "The connection to the model's provider broke in the middle of the answer.",
            },
            StreamEnd::Stalled => RewriterEnd::Failed {
                code: "upstream_timeout",
                message: "The model's provider stopped sending in the middle of the answer.",
            },
        };
        let known = out.len();
        self.rewriter.finish(written, out);
        self.keep(out.get(known..).unwrap_or_default());
        self.settle(match end {
            _ if self.rewriter.saw_done() => Outcome::Completed,
            StreamEnd::ClientGone => Outcome::ClientGone,
            StreamEnd::Eof | StreamEnd::Broken | StreamEnd::Stalled => Outcome::StreamBroken,
        });
    }
}
