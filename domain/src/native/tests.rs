use serde_json::{Value, json};

use super::*;
use crate::chat::request::ChatRequest;
use crate::money::MicroUsd;
use crate::routing::Mode;

fn chat(body: &Value) -> NativeChat {
    parse_chat(body.to_string().as_bytes()).unwrap()
}

fn refuse(body: &Value) -> (String, Option<String>) {
    let ParseError { message, param } = parse_chat(body.to_string().as_bytes()).unwrap_err();
    (message, param)
}

fn hello() -> Value {
    json!({"messages":[{"role":"user","content":"Hello"}]})
}

/// A body whose request has another member.
fn with_request(key: &str, value: Value) -> Value {
    let mut request = hello();
    request[key] = value;
    json!({ "request": request })
}

fn upstream(body: &[u8]) -> Value {
    ChatRequest::parse(body).unwrap();
    serde_json::from_slice(body).unwrap()
}

#[test]
fn the_whole_envelope_is_read() {
    let body = json!({
        "request": {
            "messages": [{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}],
            "model_hint": " acme/llama ", "estimated_input_tokens": 42, "stream": true, "id": "r1",
            "parameters": {"temperature":0.5,"tools":[]}, "meta": {"team":"a"}, "output_schema": {"type":"object"},
        },
        "policy": {"mode":"high_confidence","max_budget_usd":0.05,"max_latency_ms":20000,"min_weight":3},
        "output_format": {"type":"json","schema":"{\"type\":\"array\"}","max_tokens":9,"strip_think":true},
        "capabilities": {"planning":true}, "unknown": 1,
    });
    let chat = chat(&body);
    assert_eq!(chat.request.model_hint.as_deref(), Some("acme/llama"));
    assert_eq!(chat.request.model_hint.as_deref().and_then(bare_model_hint), Some("llama"));
    assert_eq!(chat.request.estimated_input_tokens, 42);
    assert_eq!((chat.request.is_stream, chat.request.id.as_deref()), (true, Some("r1")));
    assert_eq!(chat.request.meta["team"], "a");
    assert!(chat.request.output_schema.is_some());
    let policy = Policy {
        mode: Some(Mode::HighConfidence),
        max_budget: Some(MicroUsd(50_000)),
        max_latency_ms: Some(20_000),
        min_weight: 3,
    };
    assert_eq!(chat.policy, policy);
    assert_eq!(chat.output_format.kind, Some(FormatKind::Json));
    assert_eq!((chat.output_format.max_tokens, chat.output_format.strip_think), (9, true));
    assert!(chat.output_format.schema.is_some());
    let expected =
        json!({"model":"m1","stream":true,"temperature":0.5,"tools":[],"messages":body["request"]["messages"]});
    assert_eq!(upstream(&chat.request.to_chat_request("m1")), expected);
}

#[test]
fn little_is_needed() {
    let chat = chat(&json!({ "request": hello(), "policy": null, "output_format": {} }));
    assert_eq!(chat.policy, Policy::default());
    assert_eq!(chat.output_format, OutputFormat::default());
    let zeros = json!({"mode":"","max_budget_usd":0,"max_latency_ms":0,"min_weight":0});
    assert_eq!(self::chat(&json!({"request":hello(),"policy":zeros})).policy, Policy::default());
    assert_eq!(upstream(&chat.request.to_chat_request("auto")), json!({"model":"auto","messages":hello()["messages"]}));
}

#[test]
fn planning_is_a_capability() {
    let mode =
        |policy: Value| chat(&json!({"request":hello(),"capabilities":{"planning":true},"policy":policy})).policy.mode;
    assert_eq!(mode(json!({})), Some(Mode::Planning));
    assert_eq!(mode(json!({"mode":"cheap"})), Some(Mode::Cheap));
}

#[test]
fn images_and_calls_stay_and_missing_content_is_empty() {
    let messages = json!([
        {"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"data:,"}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c","name":"f","content":"42"},
        {"role":"user","content":null},
    ]);
    let body = upstream(&chat(&json!({"request":{"messages":messages}})).request.to_chat_request("m"));
    assert_eq!(body["messages"].as_array().unwrap()[..3], messages.as_array().unwrap()[..3]);
    assert_eq!(body["messages"][3], json!({"role":"user","content":""}));
}

#[test]
fn the_documented_refusals() {
    for text in ["", "{", "[]", "5", "{} {}", "\u{0}"] {
        assert_eq!(parse_chat(text.as_bytes()), Err(ParseError { message: "bad json".into(), param: None }), "{text}");
        assert_eq!(parse_plan(text.as_bytes()).unwrap_err().message, "bad json", "{text}");
    }
    for body in
        [json!({}), json!({"request":{}}), with_request("messages", json!([])), with_request("messages", json!(null))]
    {
        assert_eq!(refuse(&body), ("messages required".to_owned(), Some("request.messages".to_owned())));
        assert_eq!(parse_plan(body.to_string().as_bytes()).unwrap_err().message, "messages required");
    }
    let ranges = [
        ("max_budget_usd", json!(-0.01), "max_budget_usd must be between 0 and 100"),
        ("max_budget_usd", json!(100.5), "max_budget_usd must be between 0 and 100"),
        ("max_budget_usd", json!("1"), "max_budget_usd must be between 0 and 100"),
        ("max_budget_usd", json!(0.000_000_1), "policy.max_budget_usd must have at most 6 decimals"),
        ("max_latency_ms", json!(-1), "max_latency_ms must be between 0 and 300000"),
        ("max_latency_ms", json!(300_001), "max_latency_ms must be between 0 and 300000"),
        ("min_weight", json!(11), "min_weight must be between 0 and 10"),
        ("min_weight", json!(-1), "min_weight must be between 0 and 10"),
        ("min_weight", json!(2.5), "min_weight must be between 0 and 10"),
    ];
    for (key, value, message) in ranges {
        let body = json!({"request":hello(),"policy":{key:value}});
        assert_eq!(refuse(&body), (message.to_owned(), Some(format!("policy.{key}"))));
    }
    for value in [json!(100), json!(0)] {
        assert!(
            parse_chat(json!({"request":hello(),"policy":{"max_budget_usd":value}}).to_string().as_bytes()).is_ok()
        );
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let cases = [
        (json!({"request":5}), "request must be an object"),
        (with_request("messages", json!("hi")), "request.messages must be an array"),
        (with_request("messages", json!([5])), "request.messages[0] must be an object."),
        (
            with_request("messages", json!([{"role":"robot","content":""}])),
            "request.messages[0].role must be one of system, developer, user, assistant, tool, function.",
        ),
        (with_request("stream", json!(1)), "request.stream must be true or false"),
        (with_request("meta", json!([])), "request.meta must be an object"),
        (with_request("model_hint", json!("m".repeat(801))), "request.model_hint must have at most 800 bytes"),
        (
            with_request("estimated_input_tokens", json!(-1)),
            "request.estimated_input_tokens must be a whole number up to 1000000000",
        ),
        (
            json!({"request":hello(),"policy":{"mode":"Cheap"}}),
            "policy.mode must be one of cheap, normal, high_confidence, planning, adversarial, thompson, vote, refine",
        ),
        (json!({"request":hello(),"policy":{"directives":0}}), "policy.directives must be true or false"),
        (
            json!({"request":hello(),"output_format":{"type":"yaml"}}),
            "output_format.type must be one of json, markdown, text, xml",
        ),
        (json!({"request":hello(),"output_format":{"schema":"{"}}), "invalid schema: must be valid JSON"),
        (with_request("output_schema", json!({"properties":{}})), "schema missing required \"type\" field"),
        (
            with_request("output_schema", json!({"type":"string","pattern":"a"})),
            "schema at #: keyword \"pattern\" can't be checked",
        ),
    ];
    for (body, message) in cases {
        assert_eq!(refuse(&body).0, message, "{body}");
    }
}

#[test]
fn parameters_do_not_reach_past_the_envelope() {
    for (key, instead) in [("messages", "messages"), ("model", "model_hint"), ("stream", "stream")] {
        let (message, param) = refuse(&with_request("parameters", json!({key:true})));
        assert_eq!(message, format!("request.parameters must not set {key}: use request.{instead}"));
        assert_eq!(param.as_deref(), Some("request.parameters"));
    }
    let (message, param) = refuse(&with_request("parameters", json!({"temperature":3})));
    assert_eq!(message, "request.parameters.temperature must be a number from 0 to 2.");
    assert_eq!(param.as_deref(), Some("request.parameters.temperature"));
}

fn plan(orchestration: Value) -> Result<Plan, ParseError> {
    parse_plan(json!({"request":hello(),"orchestration":orchestration}).to_string().as_bytes())
}

/// T24, T25, T26.
#[test]
fn plans_are_read() {
    let modes = [
        ("", PlanMode::Single),
        ("planning", PlanMode::Planning),
        ("adversarial", PlanMode::Adversarial),
        ("vote", PlanMode::Vote),
        ("refine", PlanMode::Refine),
    ];
    for (name, mode) in modes {
        assert_eq!(plan(json!({"mode":name})).unwrap().mode, mode);
    }
    assert_eq!(plan(json!(null)).unwrap().mode, PlanMode::Single);
    for name in ["execute", "random", "PLANNING", "Plan", "invalid_mode", " vote"] {
        let error = plan(json!({"mode":name})).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.param.as_deref()),
            ("unknown orchestration mode", Some("orchestration.mode"))
        );
    }
    assert_eq!(plan(json!({"mode":5})).unwrap_err().message, "unknown orchestration mode");
    for iterations in [0, 10] {
        assert_eq!(u64::from(plan(json!({"iterations":iterations})).unwrap().iterations), iterations);
    }
    for iterations in [json!(11), json!(100), json!(-1), json!("2"), json!(1.5)] {
        let message = plan(json!({"iterations":iterations})).unwrap_err().message;
        assert_eq!(message, "iterations must be between 0 and 10");
    }
    for key in ["primary_min_weight", "review_min_weight"] {
        assert_eq!(plan(json!({key:11})).unwrap_err().message, format!("{key} must be between 0 and 10"));
    }
    let full =
        plan(json!({"mode":"vote","iterations":4,"primary_model_id":" p ","review_model_id":"","primary_min_weight":2,
        "review_min_weight":10,"return_plan_only":true,"output_schema":"{\"type\":\"array\"}"}))
        .unwrap();
    assert_eq!((full.primary_model_id.as_deref(), full.review_model_id.as_deref()), (Some("p"), None));
    assert_eq!((full.primary_min_weight, full.review_min_weight, full.return_plan_only), (2, 10, true));
    assert!(full.output_schema.is_some());
}

/// T30.
#[test]
fn plans_with_a_schema_that_is_no_json_are_refused() {
    let error = plan(json!({"output_schema":"not json"})).unwrap_err();
    assert_eq!(error.message, "invalid output_schema: must be valid JSON");
    assert_eq!(error.param.as_deref(), Some("orchestration.output_schema"));
    assert!(plan(json!({"output_schema":""})).unwrap().output_schema.is_none());
    assert!(plan(json!({"output_schema":{"type":"array"}})).unwrap().output_schema.is_some());
}

#[test]
fn plans_have_one_choice() {
    let with_n = |n: u64| {
        let body = json!({"request":{"messages":hello()["messages"],"parameters":{"n":n}}});
        parse_plan(body.to_string().as_bytes())
    };
    assert!(with_n(1).is_ok());
    assert_eq!(with_n(2).unwrap_err().message, "request.parameters.n must be 1");
}
