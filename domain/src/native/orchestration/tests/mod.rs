mod stored;

use serde_json::json;

use super::super::parse_plan;
use super::*;
use crate::chat::request::ChatRequest;

fn plan(orchestration: Value) -> Plan {
    plan_with(orchestration, json!({}))
}

fn plan_with(orchestration: Value, output_format: Value) -> Plan {
    let body = json!({
        "request": {
            "messages": [{"role":"system","content":"Speak French."},{"role":"user","content":"Build a bridge."}],
            "parameters": {"temperature":0.2,"max_tokens":50,"response_format":{"type":"json_object"},"tools":[{}]},
            "model_hint": "hinted",
        },
        "orchestration": orchestration, "output_format": output_format,
    });
    parse_plan(body.to_string().as_bytes()).unwrap()
}

fn models(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("m{number}")).collect()
}

/// A reply of `model` that costs 10 micro-dollars.
fn says(model: &str, text: &str) -> Result<Answered, Failure> {
    let body = json!({"id":"c","choices":[{"message":{"role":"assistant","content":text}}]}).to_string().into_bytes();
    Ok(Answered { model: model.to_owned(), cost_micros: MicroUsd(10), routing_reason: "routed-weight-5".into(), body })
}

fn fails(status: u16) -> Result<Answered, Failure> {
    Err(Failure { status, message: "all providers failed".to_owned(), cost_micros: MicroUsd(1) })
}

/// A run that can be asked what it asked.
struct Run {
    run: Orchestration,
    step: Step,
}

impl Run {
    fn begin(plan: Plan, eligible: &[String]) -> Self {
        let (run, step) = Orchestration::begin(plan, eligible, 1_000);
        Self { run, step }
    }

    /// The asks, checked to be what the gateway takes.
    fn asks(&self) -> Vec<(Ask, Value)> {
        let Step::Ask(asks) = &self.step else { panic!("no asks: {:?}", self.step) };
        let read = |ask: &Ask| {
            let request = ChatRequest::parse(&ask.body).unwrap();
            assert_eq!(request.model(), ask.route.model.as_deref().unwrap_or("*"));
            (ask.clone(), serde_json::from_slice(&ask.body).unwrap())
        };
        asks.iter().map(read).collect()
    }

    fn ask(&self) -> (Ask, Value) {
        let mut asks = self.asks();
        assert_eq!(asks.len(), 1);
        asks.remove(0)
    }

    fn answer(&mut self, results: Vec<Result<Answered, Failure>>) -> &mut Self {
        // As after a restart.
        let stored = serde_json::to_string(&self.run).unwrap();
        self.run = serde_json::from_str(&stored).unwrap();
        assert_eq!(self.run.step(), self.step);
        self.step = self.run.answer(results, 2_000);
        assert_eq!(self.run.step(), self.step);
        self
    }

    fn done(&self) -> (Value, Outcome) {
        let Step::Done(outcome) = &self.step else { panic!("not done: {:?}", self.step) };
        (serde_json::from_str(&outcome.response).unwrap(), outcome.clone())
    }

    fn failed(&self) -> PlanFailure {
        let Step::Failed(failure) = &self.step else { panic!("not failed: {:?}", self.step) };
        failure.clone()
    }
}

fn wish(model: Option<&str>, may_fall_back: bool, mode: Option<Mode>, min_weight: u8) -> RouteWish {
    RouteWish { model: model.map(str::to_owned), may_fall_back, mode, min_weight }
}

fn system_of(body: &Value) -> &str {
    assert_eq!(body["messages"][0]["role"], "system");
    body["messages"][0]["content"].as_str().unwrap()
}

fn last_of(body: &Value) -> &str {
    let last = body["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["role"], "user");
    last["content"].as_str().unwrap()
}

#[test]
fn a_single_call_answers_as_it_is() {
    let mut run = Run::begin(plan(json!({"mode":"","primary_min_weight":4})), &[]);
    let (ask, body) = run.ask();
    assert_eq!((ask.name.as_str(), ask.route), ("chat", wish(Some("hinted"), true, None, 4)));
    assert_eq!(body["messages"][0]["content"], "Speak French.");
    assert_eq!(body["max_tokens"], 50);
    let (response, outcome) = run.answer(vec![says("m1", "Oui")]).done();
    assert_eq!(
        (response["id"].as_str(), response["choices"][0]["message"]["content"].as_str()),
        (Some("c"), Some("Oui"))
    );
    assert_eq!((outcome.routing_reason.as_str(), outcome.negotiated_model.as_str()), ("routed-weight-5", "m1"));
    assert_eq!(outcome.cost_micros, MicroUsd(10));

    let run = Run::begin(plan(json!({"mode":"planning","primary_model_id":"p"})), &[]);
    assert_eq!(run.ask().0.route, wish(Some("p"), true, Some(Mode::Planning), 0));
}

#[test]
fn a_single_failure_is_told_as_it_is() {
    let failed = Run::begin(plan(json!({"mode":"planning"})), &[]).answer(vec![fails(402)]).failed();
    assert_eq!(
        (failed.status, failed.message.as_str(), failed.cost_micros),
        (402, "all providers failed", MicroUsd(1))
    );
    let not_json = Answered {
        model: "m".into(),
        cost_micros: MicroUsd(3),
        routing_reason: String::new(),
        body: b"<html>".to_vec(),
    };
    let failed = Run::begin(plan(json!({})), &[]).answer(vec![Ok(not_json)]).failed();
    assert_eq!((failed.status, failed.message.as_str()), (502, "the provider's answer is not JSON"));
    assert_eq!(failed.cost_micros, MicroUsd(3));
    assert_eq!(Run::begin(plan(json!({})), &[]).answer(vec![]).failed().message, "the call was not made");
}

#[test]
fn adversarial_plans_review_and_plan_again() {
    let orchestration = json!({"mode":"adversarial","iterations":2,"primary_model_id":"p","primary_min_weight":3,"review_min_weight":6});
    let mut run = Run::begin(plan(orchestration), &[]);
    let (ask, body) = run.ask();
    assert_eq!((ask.name.as_str(), ask.route), ("plan", wish(Some("p"), true, Some(Mode::Planning), 3)));
    assert_eq!(system_of(&body), format!("Speak French.\n\n{}", prompts::PLANNER));
    assert_eq!(last_of(&body), "Build a bridge.");
    assert_eq!((&body["response_format"]["type"], &body["tool_choice"]), (&json!("json_object"), &json!("none")));

    run.answer(vec![says("p", "<think>hm</think>Plan one")]);
    let (ask, body) = run.ask();
    assert_eq!((ask.name.as_str(), ask.route), ("critique-1", wish(None, true, Some(Mode::Adversarial), 6)));
    assert!(system_of(&body).starts_with("Speak French.") && system_of(&body).ends_with(prompts::CRITIC));
    let expected = format!("Build a bridge.\n\n<plan>\nPlan one\n</plan>\n\n{}", prompts::ASK_CRITIQUE);
    assert_eq!(last_of(&body), expected);
    assert_eq!((&body["temperature"], &body["max_tokens"]), (&json!(0.2), &json!(50)));
    assert_eq!(body.get("response_format"), None);

    run.answer(vec![says("r", "Too short")]);
    let (ask, body) = run.ask();
    assert_eq!((ask.name.as_str(), ask.route), ("refine-1", wish(Some("p"), true, Some(Mode::Planning), 3)));
    assert!(last_of(&body).contains("<plan>\nPlan one\n</plan>") && last_of(&body).contains("<critique>\nToo short\n"));

    run.answer(vec![says("p", "Plan two")]);
    let (ask, body) = run.ask();
    assert_eq!(ask.name, "critique-2");
    assert!(last_of(&body).contains("Plan two") && !last_of(&body).contains("Plan one"));
    run.answer(vec![says("r", "Too long")]);
    assert_eq!(run.ask().0.name, "refine-2");
    let (response, outcome) = run.answer(vec![says("q", "Plan three")]).done();
    let expected =
        json!({"initial_plan":"<think>hm</think>Plan one","critique":"Too long","refined_plan":"Plan three"});
    assert_eq!(response, expected);
    assert_eq!(
        (outcome.routing_reason.as_str(), outcome.negotiated_model.as_str()),
        ("adversarial-orchestration", "q")
    );
    assert_eq!(outcome.cost_micros, MicroUsd(50));
}

#[test]
fn adversarial_has_one_round_by_itself_and_may_stop_at_the_plan() {
    let mut run = Run::begin(plan(json!({"mode":"adversarial"})), &[]);
    run.answer(vec![says("p", "A")]).answer(vec![says("r", "B")]).answer(vec![says("p", "C")]);
    assert_eq!(run.done().0["refined_plan"], "C");

    let only = json!({"mode":"adversarial","iterations":5,"return_plan_only":true});
    let (response, outcome) = Run::begin(plan(only), &[]).answer(vec![says("p", "A")]).done();
    assert_eq!((response, outcome.routing_reason.as_str()), (json!({"initial_plan":"A"}), "adversarial-plan-only"));
}

#[test]
fn adversarial_failures_name_their_phase() {
    let failure = |replies: usize| {
        let mut run = Run::begin(plan(json!({"mode":"adversarial"})), &[]);
        for _ in 0..replies {
            run.answer(vec![says("p", "text")]);
        }
        run.answer(vec![fails(502)]).failed()
    };
    assert_eq!(failure(0).message, "adversarial plan phase: all providers failed");
    assert_eq!(failure(1).message, "adversarial critique phase: all providers failed");
    assert_eq!(failure(2).message, "adversarial refine phase: all providers failed");
    assert_eq!((failure(2).cost_micros, failure(2).status), (MicroUsd(21), 502));
    let failed = Run::begin(plan(json!({"mode":"adversarial"})), &[]).answer(vec![says("p", "")]).failed();
    assert_eq!(failed.message, "adversarial plan phase: the model's answer is empty");
}

#[test]
fn voters_answer_the_request_itself_and_a_judge_sees_no_names() {
    let orchestration = json!({"mode":"vote","review_model_id":"m2","review_min_weight":8});
    let mut run = Run::begin(plan(orchestration), &models(5));
    let asks = run.asks();
    let routes: Vec<_> = asks.iter().map(|(ask, _)| (ask.name.as_str(), ask.route.clone())).collect();
    let voter = |model| wish(Some(model), false, Some(Mode::Normal), 0);
    assert_eq!(routes, [("vote-1", voter("m1")), ("vote-2", voter("m3")), ("vote-3", voter("m4"))]);
    for (_, body) in &asks {
        assert_eq!(body["messages"].as_array().unwrap().len(), 2);
        assert_eq!((&body["max_tokens"], body.get("tool_choice")), (&json!(50), None));
    }
    run.answer(vec![says("m1", "one"), fails(502), says("m4", "<think>x</think>four")]);
    let (ask, body) = run.ask();
    assert_eq!((ask.name.as_str(), ask.route), ("judge", wish(Some("m2"), true, Some(Mode::HighConfidence), 8)));
    assert_eq!(system_of(&body), prompts::JUDGE);
    let seen = last_of(&body);
    assert!(seen.starts_with("Build a bridge.\n\n<instructions>\nSpeak French.\n</instructions>"), "{seen}");
    assert!(seen.contains("<response number=\"1\">\none\n</response>"), "{seen}");
    assert!(seen.contains("<response number=\"2\">\nfour\n</response>"), "{seen}");
    assert!(!body["messages"].to_string().contains("m1") && !body["messages"].to_string().contains("m4"));
    assert_eq!((body.get("max_tokens"), body.get("response_format")), (None, None));
    let (response, outcome) = run.answer(vec![says("m2", "2 is better than 1")]).done();
    let expected = json!({"responses":[{"model":"m1","content":"one","selected":false},
        {"model":"m4","content":"<think>x</think>four","selected":true}],"selected":1,"judge":"m2"});
    assert_eq!(response, expected);
    assert_eq!((outcome.routing_reason.as_str(), outcome.negotiated_model.as_str()), ("vote-orchestration", "m4"));
    assert_eq!(outcome.cost_micros, MicroUsd(31));
}

#[test]
fn votes_without_a_judge() {
    let vote = || Run::begin(plan(json!({"mode":"vote"})), &models(2));
    let (response, outcome) = vote().answer(vec![says("m1", "a"), says("m2", "b")]).answer(vec![fails(502)]).done();
    assert_eq!((&response["selected"], &response["judge"]), (&json!(0), &json!("")));
    assert_eq!((outcome.negotiated_model.as_str(), outcome.cost_micros), ("m1", MicroUsd(21)));
    let (response, _) = vote().answer(vec![says("m1", "a"), says("m2", "b")]).answer(vec![says("j", "none")]).done();
    assert_eq!((&response["selected"], &response["judge"]), (&json!(0), &json!("j")));

    let (response, outcome) = vote().answer(vec![fails(502), says("m2", "b")]).done();
    assert_eq!(response, json!({"responses":[{"model":"m2","content":"b"}],"selected":0}));
    assert_eq!((outcome.routing_reason.as_str(), outcome.cost_micros), ("vote-single-response", MicroUsd(11)));

    let failed = vote().answer(vec![fails(502), says("m2", "")]).failed();
    assert_eq!((failed.status, failed.message.as_str()), (502, "all voters failed"));
    assert_eq!(vote().answer(vec![fails(402), fails(402)]).failed().status, 402);
    assert_eq!(vote().answer(vec![fails(402), fails(502)]).failed().status, 502);
}

#[test]
fn voters_are_bounded_by_the_plan_and_by_who_is_there() {
    let voters = |orchestration: Value, eligible: usize| match Run::begin(plan(orchestration), &models(eligible)).step {
        Step::Ask(asks) => asks.len(),
        Step::Failed(failure) => panic!("{}", failure.message),
        Step::Done(_) => 0,
    };
    assert_eq!(voters(json!({"mode":"vote","iterations":1}), 9), 3);
    assert_eq!(voters(json!({"mode":"vote","iterations":2}), 9), 2);
    assert_eq!(voters(json!({"mode":"vote","iterations":10}), 4), 4);
    // A judge votes only where nobody else could.
    assert_eq!(voters(json!({"mode":"vote","review_model_id":"m1"}), 1), 1);
    let failed = Run::begin(plan(json!({"mode":"vote"})), &[]).failed();
    assert_eq!((failed.status, failed.message.as_str()), (502, "no eligible models for vote"));
}

#[test]
fn refining_stays_with_its_model_and_tells_the_rounds_done() {
    let mut run = Run::begin(plan(json!({"mode":"refine","primary_min_weight":2})), &[]);
    let (ask, body) = run.ask();
    assert_eq!((ask.name.as_str(), ask.route), ("initial", wish(None, true, Some(Mode::HighConfidence), 2)));
    assert_eq!(body["messages"][1]["content"], "Build a bridge.");
    run.answer(vec![says("m7", "draft")]);
    let (ask, body) = run.ask();
    assert_eq!((ask.name.as_str(), ask.route), ("refine-1", wish(Some("m7"), false, Some(Mode::HighConfidence), 0)));
    assert!(last_of(&body).contains("<response>\ndraft\n</response>"));
    run.answer(vec![says("m7", "better")]);
    assert_eq!(run.ask().0.name, "refine-2");
    let (response, outcome) = run.answer(vec![says("m7", "best")]).done();
    assert_eq!(response, json!({"refined_response":"best","iterations":2,"model":"m7"}));
    assert_eq!((outcome.routing_reason.as_str(), outcome.cost_micros), ("refine-orchestration", MicroUsd(30)));

    let mut run = Run::begin(plan(json!({"mode":"refine","iterations":5})), &[]);
    run.answer(vec![says("m7", "draft")]).answer(vec![says("m7", "better")]);
    let (response, outcome) = run.answer(vec![fails(502)]).done();
    assert_eq!(response, json!({"refined_response":"better","iterations":1,"model":"m7"}));
    assert_eq!(outcome.cost_micros, MicroUsd(21));

    let failed = Run::begin(plan(json!({"mode":"refine"})), &[]).answer(vec![fails(502)]).failed();
    assert_eq!(failed.message, "refine initial phase: all providers failed");
}

/// T30, and T29's format: both mean the text that counts, whatever the mode wraps around it.
#[test]
fn schemas_and_formats_mean_the_result() {
    let finish = |mode: &str, text: &str| {
        let orchestration =
            json!({"mode":mode,"iterations":1,"output_schema":"{\"type\":\"object\",\"required\":[\"a\"]}"});
        let mut run = Run::begin(plan_with(orchestration, json!({"type":"json"})), &models(2));
        while let Step::Ask(asks) = &run.step {
            let results = asks.iter().map(|ask| if ask.name == "judge" { says("j", "1") } else { says("m1", text) });
            let results = results.collect();
            run.answer(results);
        }
        run.step
    };
    for mode in ["", "planning", "adversarial", "vote", "refine"] {
        let Step::Done(outcome) = finish(mode, "```json\n{\"a\":1}\n```") else { panic!("{mode}") };
        let response: Value = serde_json::from_str(&outcome.response).unwrap();
        let pointer = match mode {
            "adversarial" => "/refined_plan",
            "vote" => "/responses/0/content",
            "refine" => "/refined_response",
            _ => "/choices/0/message/content",
        };
        assert_eq!(response.pointer(pointer), Some(&json!("{\"a\":1}")), "{mode}");
        let Step::Failed(failure) = finish(mode, "{\"b\":1}") else { panic!("{mode}") };
        assert_eq!((failure.status, failure.message.as_str()), (502, "missing required field \"a\""), "{mode}");
        assert!(failure.cost_micros > MicroUsd::ZERO);
    }
}

#[test]
fn conversations_keep_their_images_and_turns() {
    let body = json!({"request":{"messages":[
        {"role":"user","content":"First"},
        {"role":"developer","content":"Be kind."},
        {"role":"assistant","content":"Second"},
        {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]},
    ]},"orchestration":{"mode":"adversarial"}});
    let mut run = Run::begin(parse_plan(body.to_string().as_bytes()).unwrap(), &[]);
    run.answer(vec![says("p", "Plan")]);
    let (_, body) = run.ask();
    let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert!(system_of(&body).starts_with("Be kind.\n\n"));
    assert_eq!(body["messages"][3]["content"][0]["type"], "image_url");
    assert!(body["messages"][3]["content"][1]["text"].as_str().unwrap().contains("<plan>\nPlan"));

    let answered =
        json!({"request":{"messages":[{"role":"assistant","content":"Prefix"}]},"orchestration":{"mode":"refine"}});
    let mut run = Run::begin(parse_plan(answered.to_string().as_bytes()).unwrap(), &[]);
    run.answer(vec![says("p", "Draft")]);
    let (_, body) = run.ask();
    assert_eq!(body["messages"].as_array().unwrap().len(), 3);
    assert!(last_of(&body).starts_with("<response>\nDraft"));
}
