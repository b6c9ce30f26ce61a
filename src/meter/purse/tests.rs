use super::*;

fn answer(held: i64, available: i64, others: i64) -> Option<Leased> {
    let [held, available, others_held] = [held, available, others].map(MicroUsd);
    Some(Leased { held, balance: available, available, others_held, written_off: ZERO, budget: None })
}

fn need(most: i64, least: i64) -> Need {
    Need { most: MicroUsd(most), least: MicroUsd(least), is_guess: false, until_ms: None, may_reload: true }
}

fn called(purse: &mut Purse, wish: Wish, answer: Option<Leased>, now_ms: i64) {
    let (call, lease) = purse.begin_call(wish, "iso".into(), vec![], now_ms);
    purse.end_call(call, lease.captures.len(), answer, now_ms);
}

#[test]
fn a_lease_is_believed_for_as_long_as_it_was_asked_for() {
    let mut purse = Purse::default();
    let (call, _) = purse.begin_call(Wish { want: MicroUsd(100), least: ZERO }, "iso".into(), vec![], 0);
    purse.end_call(call, 0, answer(100, 1_000, 0), 14_000);
    assert!(matches!(purse.step(need(100, 10), 15_001), Step::Call(_)));
}

fn payer() -> Rc<Payer> {
    Rc::new(Payer::new("ann", vec![]))
}

fn wish(want: i64) -> Wish {
    Wish { want: MicroUsd(want), least: ZERO }
}

#[test]
fn a_call_asks_then_takes_then_settles() {
    let mut purse = Purse::default();
    let Step::Call(asked) = purse.step(need(100, 10), 0) else { panic!() };
    assert_eq!(asked, Wish { want: MicroUsd(100), least: MicroUsd(100) });
    called(&mut purse, asked, answer(100, 1_000, 0), 1);
    assert_eq!(purse.step(need(100, 10), 1), Step::Taken(MicroUsd(100)));
    assert_eq!(purse.spend(MicroUsd(100), MicroUsd(30), false), MicroUsd(30));
    assert_eq!(purse.free(), MicroUsd(70));
}

#[test]
fn the_last_call_runs_on_what_is_left_when_nobody_else_holds_anything() {
    let mut purse = Purse::default();
    called(&mut purse, wish(100), answer(0, 40, 0), 1);
    let Step::Call(asked) = purse.step(need(100, 30), 2) else { panic!() };
    called(&mut purse, asked, answer(40, 40, 0), 3);
    assert_eq!(purse.step(need(100, 30), 3), Step::Taken(MicroUsd(40)));
    assert_eq!(purse.step(need(100, 30), 4), Step::Wait, "the other one may give some back");
}

#[test]
fn too_little_is_refused_only_when_nobody_holds_the_rest() {
    let mut purse = Purse::default();
    called(&mut purse, wish(100), answer(0, 20, 0), 1);
    assert_eq!(purse.step(need(100, 30), 2), Step::Refuse);
    called(&mut purse, wish(100), answer(0, 20, 10), 3);
    assert_eq!(purse.step(need(100, 30), 4), Step::Wait);
}

/// An answer with a budget that leaves so much, of which others hold some.
fn within(answer: Option<Leased>, available: i64, others: i64) -> Option<Leased> {
    let [spent, available, others_held] = [7, available, others].map(MicroUsd);
    answer.map(|leased| Leased { budget: Some(BudgetLeft { line: 0, spent, available, others_held }), ..leased })
}

#[test]
fn a_budget_is_to_a_call_what_the_balance_is() {
    let mut purse = Purse::default();
    called(&mut purse, wish(100), within(answer(0, 1_000, 900), 20, 0), 1);
    assert_eq!(purse.step(need(100, 30), 2), Step::Refuse, "whatever the rest of the account holds");
    assert_eq!(purse.tight_budget().map(|left| left.spent), Some(MicroUsd(7)));
    called(&mut purse, wish(100), within(answer(0, 1_000, 0), 20, 10), 3);
    assert_eq!(purse.step(need(100, 30), 4), Step::Wait, "another isolate may give some back");
    called(&mut purse, wish(100), within(answer(40, 1_000, 500), 40, 0), 5);
    assert_eq!(purse.step(need(100, 30), 6), Step::Taken(MicroUsd(40)), "the last call runs on what is left");
    called(&mut purse, wish(100), within(answer(0, 20, 0), 30, 0), 7);
    assert_eq!(purse.tight_budget(), None, "the balance is tighter");
}

#[test]
fn while_a_call_is_under_way_only_the_smaller_hold_is_spent_from() {
    let mut purse = Purse::default();
    called(&mut purse, wish(100), answer(100, 1_000, 0), 1);
    _ = purse.begin_call(wish(20), "iso".into(), vec![], 2);
    assert_eq!(purse.step(need(30, 1), 2), Step::Wait);
    assert_eq!(purse.step(need(20, 1), 2), Step::Taken(MicroUsd(20)));
}

#[test]
fn a_lost_answer_sends_the_same_batch_again() {
    let mut purse = Purse::default();
    called(&mut purse, wish(100), answer(100, 1_000, 0), 1);
    _ = purse.step(need(50, 1), 1);
    let charged = purse.spend(MicroUsd(50), MicroUsd(40), false);
    purse.file(&payer(), charged, "{}", || "b1".into());
    let (first, lease) = purse.begin_call(wish(0), "iso".into(), vec![], 2);
    purse.file(&payer(), ZERO, "{}", || "b2".into());
    purse.end_call(first, lease.captures.len(), None, 3);
    let (second, again) = purse.begin_call(wish(0), "iso".into(), vec![], 4);
    assert_eq!(again.captures[0], lease.captures[0], "fixed once sent");
    assert_eq!(again.captures.len(), 2, "what came since has a batch of its own");
    purse.end_call(first, 2, answer(0, 1, 0), 5);
    assert_eq!(purse.batches.len(), 2, "the answer of a call given up is ignored");
    purse.end_call(second, 2, answer(0, 960, 0), 5);
    assert!(purse.batches.is_empty() && purse.unreported == ZERO);
}

#[test]
fn a_small_lease_is_kept_for_the_next_call_and_a_large_one_is_not() {
    for (available, is_kept) in [(16 * 200, true), (16 * 200 - 1, false)] {
        let mut purse = Purse::default();
        called(&mut purse, wish(100), answer(100, available, 0), 0);
        assert_eq!(purse.step(need(100, 1), 0), Step::Taken(MicroUsd(100)));
        assert!(!purse.is_at_rest(), "a call runs");
        purse.ended_ms = 10;
        let charged = purse.spend(MicroUsd(100), MicroUsd(40), false);
        purse.file(&payer(), charged, "{}", || "b1".into());
        assert!(!purse.is_at_rest(), "the wallet is to be told");
        let flush = purse.plan(40).unwrap();
        called(&mut purse, flush, answer(200, available, 0), 41);
        assert_eq!(purse.is_at_rest(), is_kept);
        for period in 2..7 {
            assert!(purse.plan(40 * period).is_none() || !is_kept, "no hop while it is kept");
        }
        assert_eq!(purse.plan_end(10 + i64::from(KEEP_MS) - 1), None);
        assert_eq!(purse.plan_end(10 + i64::from(KEEP_MS)).is_some(), is_kept);
    }
}

#[test]
fn a_cost_above_the_reservation_is_charged_as_far_as_there_is_money() {
    let mut purse = Purse::default();
    called(&mut purse, wish(100), answer(100, 100, 0), 1);
    _ = purse.step(need(60, 1), 1);
    assert_eq!(purse.spend(MicroUsd(60), MicroUsd(500), false), MicroUsd(100));
}

#[test]
fn what_a_guess_did_not_cover_is_charged_too_and_nothing_is_free_until_the_wallet_has_given_more() {
    let mut purse = Purse::default();
    called(&mut purse, wish(100), answer(100, 1_000, 0), 1);
    assert_eq!(purse.step(need(60, 10), 1), Step::Taken(MicroUsd(60)));
    assert_eq!(purse.spend(MicroUsd(60), MicroUsd(500), true), MicroUsd(500));
    assert_eq!(purse.free(), MicroUsd(-400));
    purse.file(&payer(), MicroUsd(500), "{}", || "b1".into());
    let Step::Call(asked) = purse.step(need(60, 10), 30) else { panic!() };
    let (call, lease) = purse.begin_call(asked, "iso".into(), vec![], 30);
    assert_eq!(lease.captures[0].amount, MicroUsd(500));
    purse.end_call(call, 1, answer(60, 500, 0), 31);
    assert_eq!(purse.step(need(60, 10), 31), Step::Taken(MicroUsd(60)));
}

#[test]
fn no_batch_is_more_than_the_wallet_takes() {
    let mut purse = Purse::default();
    for id in ["b1", "b2"] {
        assert_eq!(purse.spend(ZERO, MicroUsd(i64::MAX), true), wallet::AMOUNT_MAX);
        purse.file(&payer(), wallet::AMOUNT_MAX, "{}", || id.into());
    }
    let (_, lease) = purse.begin_call(wish(0), "iso".into(), vec![], 1);
    assert_eq!(lease.captures.iter().map(|capture| capture.amount).collect::<Vec<_>>(), [wallet::AMOUNT_MAX; 2]);
}
