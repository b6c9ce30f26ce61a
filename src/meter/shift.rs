//! Who looks after a lease: a background task of some call, for a while.
//!
//! The platform ends a call's tasks 30 s after its answer, without a word. So a task is on duty for less than that: then
//! whoever calls next brings the next one, and it goes on until that one is there. Nothing that a call leaves behind is
//! left to a task that may be ended at once.

/// How long a task is on duty before the next one may take over.
const SHIFT_MS: i64 = 20_000;
/// How long it goes on when none does: a call that runs would have brought one, because it ticks.
const PATIENCE_MS: i64 = 6_000;
/// A task that is so late is gone.
const LATE_MS: i64 = 1_000;

/// Who looks after a lease.
#[derive(Default)]
pub struct Care {
    /// When the task on duty began; no other began then.
    since_ms: i64,
    /// When it looks next.
    due_ms: i64,
    /// Until then no other is needed.
    until_ms: i64,
}

/// A task's duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    since_ms: i64,
    /// How long it waits before it looks for the first time: when the one before it would have looked.
    pub pause_ms: u32,
}

impl Care {
    /// Whether a task is needed; the one that begins looks every `period_ms`.
    pub fn begin(&mut self, period_ms: u32, now_ms: i64) -> Option<Shift> {
        if now_ms <= self.until_ms {
            return None;
        }
        let is_gone = now_ms > self.due_ms + LATE_MS;
        let pause_ms = if is_gone { period_ms } else { u32::try_from(self.due_ms - now_ms).unwrap_or(0) };
        self.since_ms = now_ms;
        self.due_ms = now_ms + i64::from(pause_ms);
        self.until_ms = self.due_ms + LATE_MS;
        Some(Shift { since_ms: now_ms, pause_ms })
    }

    /// Whether the task is still on duty; it asks whenever it looks.
    pub const fn go_on(&mut self, shift: Shift, period_ms: u32, now_ms: i64) -> bool {
        if self.since_ms != shift.since_ms {
            return false;
        }
        self.due_ms = now_ms + period_ms as i64;
        self.until_ms = if now_ms - shift.since_ms < SHIFT_MS { self.due_ms + LATE_MS } else { 0 };
        true
    }
}

impl Shift {
    /// Whether it has gone on for so long that nobody can be there who would bring the next one.
    pub const fn is_over(self, now_ms: i64) -> bool {
        now_ms - self.since_ms >= SHIFT_MS + PATIENCE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_MS: u32 = 700;
    const BEGUN_MS: i64 = 1_800_000_000_000;

    fn begun() -> (Care, Shift) {
        let mut care = Care::default();
        let shift = care.begin(PERIOD_MS, BEGUN_MS).unwrap();
        assert_eq!(shift.pause_ms, PERIOD_MS);
        (care, shift)
    }

    #[test]
    fn one_task_is_enough_while_it_is_heard_of() {
        let (mut care, shift) = begun();
        for ms in (700..SHIFT_MS).step_by(700) {
            assert_eq!(care.begin(PERIOD_MS, BEGUN_MS + ms - 1), None);
            assert!(care.go_on(shift, PERIOD_MS, BEGUN_MS + ms));
        }
    }

    #[test]
    fn after_its_shift_the_next_takes_over_on_time() {
        let (mut care, shift) = begun();
        assert!(care.go_on(shift, PERIOD_MS, BEGUN_MS + SHIFT_MS));
        let next = care.begin(PERIOD_MS, BEGUN_MS + SHIFT_MS + 500).unwrap();
        assert_eq!(next.pause_ms, 200, "when the other would have looked");
        assert!(!care.go_on(shift, PERIOD_MS, BEGUN_MS + SHIFT_MS + 700));
        assert!(care.go_on(next, PERIOD_MS, BEGUN_MS + SHIFT_MS + 700));
        assert_eq!(care.begin(PERIOD_MS, BEGUN_MS + SHIFT_MS + 701), None);
    }

    #[test]
    fn the_next_looks_at_once_when_the_other_is_about_to() {
        for late_ms in [0, 3] {
            let (mut care, shift) = begun();
            assert!(care.go_on(shift, PERIOD_MS, BEGUN_MS + SHIFT_MS));
            let next = care.begin(PERIOD_MS, BEGUN_MS + SHIFT_MS + 700 + late_ms).unwrap();
            assert_eq!(next.pause_ms, 0, "the other, if it looks now, finds that it is no longer on duty");
        }
    }

    #[test]
    fn it_goes_on_alone_until_nobody_can_be_there() {
        let (mut care, shift) = begun();
        for ms in [SHIFT_MS, SHIFT_MS + 700, SHIFT_MS + PATIENCE_MS - 1] {
            assert!(care.go_on(shift, PERIOD_MS, BEGUN_MS + ms) && !shift.is_over(BEGUN_MS + ms));
        }
        assert!(shift.is_over(BEGUN_MS + SHIFT_MS + PATIENCE_MS));
    }

    #[test]
    fn one_that_is_not_heard_of_is_replaced() {
        let (mut care, shift) = begun();
        let gone_ms = BEGUN_MS + i64::from(PERIOD_MS) + LATE_MS;
        assert_eq!(care.begin(PERIOD_MS, gone_ms), None);
        let next = care.begin(PERIOD_MS, gone_ms + 1).unwrap();
        assert_eq!(next.pause_ms, PERIOD_MS);
        assert!(!care.go_on(shift, PERIOD_MS, gone_ms + 2));
    }
}
