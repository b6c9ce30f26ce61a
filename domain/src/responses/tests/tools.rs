use super::*;

fn with_tools(tools: Value, choice: Value) -> Value {
    json!({ "input": "hi", "tools": tools, "tool_choice": choice })
}

fn function(name: &str) -> Value {
    json!({ "type": "function", "name": name, "parameters": { "type": "object" } })
}

#[test]
fn functions_are_nested() {
    let tools = json!([{
        "type": "function", "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": false
    }, { "type": "function", "name": "g", "parameters": null, "strict": null }]);
    let body = chat_body(&json!({ "input": "hi", "tools": tools, "parallel_tool_calls": false }));
    let expected = json!([
        { "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": false } },
        { "type": "function", "function": { "name": "g" } },
    ]);
    assert_eq!((&body["tools"], &body["parallel_tool_calls"]), (&expected, &json!(false)));
}

#[test]
fn custom_tools_are_functions_of_one_text_and_come_back_as_they_were() {
    let tools = json!([{ "type": "custom", "name": "patch", "description": "Edits.",
        "format": { "type": "grammar", "syntax": "lark", "definition": "start: x" } }]);
    let request = json!({ "input": "hi", "tools": tools });
    let function = &chat_body(&request)["tools"][0]["function"];
    assert_eq!(function["name"], "patch");
    assert_eq!(function["parameters"]["required"], json!(["input"]));
    assert_eq!(function["description"], "Edits.\n\nThe input must match this lark grammar:\nstart: x");
    let call = |arguments: &str| {
        let call = json!({ "id": "c1", "type": "function", "function": { "name": "patch", "arguments": arguments } });
        respond(&json!({ "tool_calls": [call] }), "tool_calls", &echo(&request))["output"][0].clone()
    };
    let expected = json!({ "type": "custom_tool_call", "id": "ctc_abababababababababababababababab0000",
        "call_id": "c1", "name": "patch", "input": "*** \"x\"\n", "status": "completed" });
    assert_eq!(call(r#"{"input":"*** \"x\"\n"}"#), expected);
    // A model that does not do as told: nothing of what it wrote is lost.
    assert_eq!(call("*** raw")["input"], "*** raw");
}

#[test]
fn namespaces_are_flattened_and_come_back_as_they_were() {
    let long = "n".repeat(70);
    let tools = json!([
        function("mcp__x__do_it"),
        { "type": "namespace", "name": "mcp__x", "description": "d", "tools": [
            function("do_it"), function("do.it"), { "type": "custom", "name": "exec" }, function(&long)
        ] },
        { "type": "namespace", "name": "mcp__y__", "tools": [function("go")] },
    ]);
    let request = json!({ "input": [
        { "role": "user", "content": "hi" },
        { "type": "function_call", "call_id": "c", "namespace": "mcp__x", "name": "do.it", "arguments": "{}" },
        { "type": "function_call", "call_id": "d", "namespace": "gone", "name": "f", "arguments": "{}" },
    ], "tools": tools });
    let body = chat_body(&request);
    let names: Vec<&str> =
        body["tools"].as_array().unwrap().iter().filter_map(|t| t["function"]["name"].as_str()).collect();
    assert_eq!(names[..4], ["mcp__x__do_it", "mcp__x__do_it_1", "mcp__x__do_it_2", "mcp__x__exec"]);
    assert!(names[4].starts_with("mcp__x__nnn") && names[4].len() <= 64);
    assert_eq!(names[5], "mcp__y__go");
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["name"], "mcp__x__do_it_2");
    assert_eq!(body["messages"][1]["tool_calls"][1]["function"]["name"], "gone__f");

    let calls: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(index, name)| json!({ "id": format!("c{index}"), "function": { "name": name, "arguments": "{}" } }))
        .collect();
    let response = respond(&json!({ "tool_calls": calls }), "tool_calls", &echo(&request));
    let found: Vec<(&Value, &Value, &Value)> =
        response["output"].as_array().unwrap().iter().map(|i| (&i["type"], &i["name"], &i["namespace"])).collect();
    let (plain, custom, x) = (json!("function_call"), json!("custom_tool_call"), json!("mcp__x"));
    let expected = [
        (&plain, &json!("mcp__x__do_it"), &Value::Null),
        (&plain, &json!("do_it"), &x),
        (&plain, &json!("do.it"), &x),
        (&custom, &json!("exec"), &x),
        (&plain, &json!(long), &x),
        (&plain, &json!("go"), &json!("mcp__y__")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn tools_may_come_as_items_and_be_declared_anew() {
    let item = |description: &str| {
        json!({ "type": "additional_tools", "role": "developer", "tools": [
        { "type": "function", "name": "f", "description": description }
    ] })
    };
    let body = chat_body(&json!({ "input": [item("old"), { "role": "user", "content": "hi" }, item("new")] }));
    assert_eq!(body["tools"], json!([{ "type": "function", "function": { "name": "f", "description": "new" } }]));
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn choices_are_translated() {
    let choose =
        |choice: Value| chat_body(&with_tools(json!([function("f"), { "type": "custom", "name": "c" }]), choice));
    for mode in ["auto", "none", "required"] {
        assert_eq!(choose(json!(mode))["tool_choice"], mode);
    }
    for (kind, name) in [("function", "f"), ("custom", "c")] {
        let expected = json!({ "type": "function", "function": { "name": name } });
        assert_eq!(choose(json!({ "type": kind, "name": name }))["tool_choice"], expected);
    }
    let allowed =
        choose(json!({ "type": "allowed_tools", "mode": "required", "tools": [{ "type": "custom", "name": "c" }] }));
    assert_eq!((&allowed["tool_choice"], allowed["tools"].as_array().unwrap().len()), (&json!("required"), 1));
    assert_eq!(allowed["tools"][0]["function"]["name"], "c");
}

#[test]
fn without_tools_there_is_nothing_to_choose() {
    let body = chat_body(&json!({ "input": "hi", "tools": [], "tool_choice": "auto", "parallel_tool_calls": true }));
    assert_eq!(body, json!({ "model": "auto", "messages": [{ "role": "user", "content": "hi" }] }));
}

#[test]
fn tools_that_openais_servers_would_run_are_left_out() {
    for kind in [
        "web_search",
        "web_search_preview",
        "web_search_preview_2025_03_11",
        "file_search",
        "computer_use_preview",
        "mcp",
        "code_interpreter",
        "image_generation",
    ] {
        let request = with_tools(json!([{ "type": kind }, function("f"), { "type": kind }]), json!("required"));
        assert_eq!(chat_body(&request)["tools"].as_array().unwrap().len(), 1);
        assert_eq!(translate(&request).left_out, [kind]);
        let alone = chat_body(&with_tools(json!([{ "type": kind }]), json!("auto")));
        assert!(alone.get("tools").is_none() && alone.get("tool_choice").is_none(), "{alone}");
        // Nobody can be made to use one.
        for choice in [json!({ "type": kind }), json!("required")] {
            let (param, _) = fault(&with_tools(json!([{ "type": kind }]), choice));
            assert!(param.starts_with("tool_choice"), "{param}");
        }
    }
    assert!(translate(&with_tools(json!([function("f")]), Value::Null)).left_out.is_empty());
}

#[test]
fn tools_of_other_kinds_are_refused_by_name() {
    for kind in ["local_shell", "tool_search", "web_searching", "mcp tool"] {
        let (param, message) = fault(&with_tools(json!([function("f"), { "type": kind }]), Value::Null));
        assert_eq!(param, "tools[1].type");
        assert!(message.contains(kind), "{message}");
    }
    let nested = json!([{ "type": "namespace", "name": "n", "tools": [{ "type": "web_search" }] }]);
    assert_eq!(fault(&with_tools(nested, Value::Null)).0, "tools[0].tools[0].type");
}

#[test]
fn faults_name_the_tool() {
    let f = || json!([function("f")]);
    let cases = [
        (json!({}), Value::Null, "tools"),
        (json!(["f"]), Value::Null, "tools[0]"),
        (json!([{ "name": "f" }]), Value::Null, "tools[0]"),
        (json!([{ "type": "function" }]), Value::Null, "tools[0].name"),
        (json!([function("f"), function("f")]), Value::Null, "tools[1].name"),
        (json!([{ "type": "namespace", "name": "n" }]), Value::Null, "tools[0].tools"),
        (f(), json!("sometimes"), "tool_choice"),
        (f(), json!({ "type": "web_search_preview" }), "tool_choice.type"),
        (f(), json!({ "type": "function" }), "tool_choice.name"),
        (f(), json!({ "type": "function", "name": "g" }), "tool_choice.name"),
        (f(), json!({ "type": "allowed_tools", "mode": "none", "tools": [] }), "tool_choice.mode"),
        (
            f(),
            json!({ "type": "allowed_tools", "mode": "auto", "tools": [{ "type": "mcp" }] }),
            "tool_choice.tools[0].type",
        ),
    ];
    for (tools, choice, param) in cases {
        assert_eq!(fault(&with_tools(tools.clone(), choice.clone())).0, param, "{tools} {choice}");
    }
    let many: Vec<Value> = (0..=512).map(|n| function(&format!("f{n}"))).collect();
    assert_eq!(fault(&with_tools(json!(many), Value::Null)).0, "tools[512]");
}
