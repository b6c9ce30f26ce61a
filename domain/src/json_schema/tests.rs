use serde_json::json;

use super::*;

fn schema(source: Value) -> Schema {
    Schema::parse(source).unwrap()
}

fn fault(source: Value, value: &Value) -> String {
    schema(source).check(value).unwrap_err().message
}

#[test]
fn the_documented_texts() {
    let person = schema(json!({"type":"object","required":["name","age"]}));
    assert_eq!(person.check_text(r#"{"name":"A","age":3}"#), Ok(()));
    assert_eq!(person.check_text(r#"{"name":"A"}"#).unwrap_err().message, "missing required field \"age\"");
    for text in ["[1]", "\"text\"", "plain words", "", "{\"name\":"] {
        let expected = "expected JSON object but got something else";
        assert_eq!(person.check_text(text).unwrap_err().message, expected, "{text}");
    }
    assert_eq!(fault(json!({"type":"array"}), &json!({})), "expected JSON array but got something else");
    assert_eq!(fault(json!({"type":"string"}), &json!(42)), "expected JSON string but got something else");
    for source in
        [json!({}), json!({"properties":{"name":{"type":"string"}}}), json!("object"), json!(true), json!(null)]
    {
        assert_eq!(Schema::parse(source).unwrap_err().message, "schema missing required \"type\" field");
    }
}

#[test]
fn every_keyword_accepts_and_refuses() {
    let cases = [
        (json!({"type":"integer"}), json!(1), json!(1.5)),
        (json!({"type":"integer"}), json!(2.0), json!("1")),
        (json!({"type":"number"}), json!(1), json!(null)),
        (json!({"type":"boolean"}), json!(false), json!(0)),
        (json!({"type":["string","null"]}), json!(null), json!(1)),
        (json!({"enum":["a",1]}), json!(1.0), json!("b")),
        (json!({"const":{"a":[1]}}), json!({"a":[1.0]}), json!({"a":[2]})),
        (json!({"enum":[1,2],"const":2}), json!(2), json!(1)),
        (json!({"type":"number","minimum":0}), json!(0), json!(-0.5)),
        (json!({"type":"number","maximum":2.5}), json!(2.5), json!(3)),
        (json!({"type":"number","exclusiveMinimum":0}), json!(0.1), json!(0)),
        (json!({"type":"number","exclusiveMaximum":1}), json!(0), json!(1.0)),
        (json!({"type":"number","multipleOf":0.1}), json!(0.3), json!(0.35)),
        (
            json!({"type":"integer","minimum":9_007_199_254_740_993_i64}),
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_992_i64),
        ),
        (json!({"type":"string","minLength":2}), json!("éé"), json!("é")),
        (json!({"type":"string","maxLength":1}), json!("é"), json!("ab")),
        (json!({"type":"array","minItems":1}), json!([0]), json!([])),
        (json!({"type":"array","maxItems":1}), json!([0]), json!([0, 1])),
        (json!({"type":"array","uniqueItems":true}), json!([1, 2]), json!([1, 1.0])),
        (json!({"type":"array","items":{"type":"string"}}), json!(["a"]), json!(["a", 1])),
        (json!({"type":"array","prefixItems":[{"type":"string"}],"items":false}), json!(["a"]), json!(["a", 1])),
        (json!({"type":"object","minProperties":1}), json!({"a":1}), json!({})),
        (json!({"type":"object","maxProperties":0}), json!({}), json!({"a":1})),
        (json!({"type":"object","properties":{"a":{"type":"string"}}}), json!({"b":1}), json!({"a":1})),
        (json!({"type":"object","properties":{"a":{}},"additionalProperties":false}), json!({"a":1}), json!({"b":1})),
        (json!({"type":"object","additionalProperties":{"type":"null"}}), json!({"a":null}), json!({"a":1})),
        (json!({"anyOf":[{"type":"string"},{"type":"null"}]}), json!(null), json!(1)),
        (json!({"oneOf":[{"type":"number"},{"type":"integer"}]}), json!(1.5), json!(1)),
        (json!({"allOf":[{"type":"number"},{"minimum":3}]}), json!(3), json!(2)),
        (json!({"type":"number","not":{"const":0}}), json!(1), json!(0)),
        (json!({"$ref":"#/$defs/A","$defs":{"A":{"type":"boolean"}}}), json!(true), json!(1)),
        (
            json!({"type":"object","properties":{"a/b":{"type":"null"},"c":{"$ref":"#/properties/a~1b"}}}),
            json!({"c":null}),
            json!({"c":1}),
        ),
        (json!({"type":"array","items":{"$ref":"#"}}), json!([[[]]]), json!([[1]])),
        (json!({"type":"string","format":"date","title":"t","x-order":1,"default":5}), json!("any"), json!(1)),
    ];
    for (source, fitting, other) in cases {
        assert_eq!(schema(source.clone()).check(&fitting), Ok(()), "{source} {fitting}");
        assert!(schema(source.clone()).check(&other).is_err(), "{source} {other}");
    }
}

#[test]
fn faults_say_where() {
    let source = json!({"type":"object","properties":{"list":{"type":"array","items":{"type":"object","required":["x"],
        "properties":{"x":{"type":"integer"}},"additionalProperties":false}}}});
    let at = |value: Value| fault(source.clone(), &value);
    assert_eq!(at(json!({"list":[{"x":1},{}]})), "missing required field \"x\" at /list/1");
    assert_eq!(at(json!({"list":[{"x":"1"}]})), "expected JSON integer but got something else at /list/0/x");
    assert_eq!(at(json!({"list":[{"x":1,"y":2}]})), "unexpected field \"y\" at /list/0");
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let refused = [
        json!({"type":"object","properties":{"a":{"type":"string","pattern":"^a$"}}}),
        json!({"type":"object","patternProperties":{}}),
        json!({"type":"object","if":{},"then":{}}),
        json!({"type":"string","nullable":true}),
        json!({"type":"text"}),
        json!({"type":[]}),
        json!({"$ref":"https://example.com/schema"}),
        json!({"$ref":"#/$defs/missing"}),
        json!({"anyOf":[]}),
        json!({"type":"object","required":[1]}),
        json!({"type":"array","items":[{}]}),
        json!({"type":"number","multipleOf":0}),
        json!({"type":"number","multipleOf":1e-10}),
        json!({"type":"string","minLength":-1}),
        json!({"type":"string","description":"x".repeat(MAX_SCHEMA_BYTES)}),
    ];
    for source in refused {
        assert!(Schema::parse(source.clone()).is_err(), "{source}");
    }
    let pattern = json!({"type":"object","properties":{"a":{"pattern":"x"}}});
    let message = Schema::parse(pattern).unwrap_err().message;
    assert_eq!(message, "schema at #/properties/a: keyword \"pattern\" can't be checked");
    let many: Vec<Value> = (0..MAX_SCHEMA_NODES).map(|_| json!({})).collect();
    assert!(Schema::parse(json!({ "anyOf": many })).is_err());
}

/// Twenty levels that each refer to the next one three times would be billions of checks.
#[test]
fn checks_end() {
    let mut definitions = serde_json::Map::new();
    for level in 0..20 {
        let next = format!("#/$defs/L{}", level + 1);
        let branch = json!({ "$ref": next });
        definitions.insert(format!("L{level}"), json!({"allOf":[branch, branch, branch]}));
    }
    definitions.insert("L20".to_owned(), json!({}));
    let bomb = json!({"$ref":"#/$defs/L0","$defs":definitions});
    assert_eq!(fault(bomb, &json!(1)), "the answer is too complex to be checked against the schema");
    assert!(fault(json!({"$ref":"#"}), &json!(1)).contains("too complex"));
    assert!(fault(json!({"type":"object","not":{"$ref":"#/not"}}), &json!({})).contains("too complex"));
}

/// What one schema looks at may be large, and so may the number of schemas that look at it.
#[test]
fn a_check_ends_however_large_its_value_is() {
    let many = |branch: Value| {
        let branches: Vec<_> = (0..600).map(|_| branch.clone()).collect();
        let refs: Vec<_> = (0..150).map(|_| json!({"$ref": "#/$defs/a"})).collect();
        json!({"anyOf": refs, "$defs": {"a": {"anyOf": branches}}})
    };
    let text = "x".repeat(1 << 20);
    let members: Value = (0..10_000).map(|at| (at.to_string(), json!(0))).collect::<serde_json::Map<_, _>>().into();
    let names: Vec<_> = (0..3_000).map(|at| at.to_string()).collect();
    for (branch, value) in [
        (json!({"enum": [0]}), json!(text)),
        (json!({"type": "string", "maxLength": 9}), json!(text)),
        (json!({"type": "array", "uniqueItems": true, "not": {}}), json!([text, "y"])),
        (json!({"type": "object", "properties": {"9999": {"type": "null"}}}), members.clone()),
    ] {
        assert!(fault(many(branch), &value).contains("too complex"));
    }
    let required = json!({"type": "object", "required": names, "not": {}});
    let refs: Vec<_> = (0..900).map(|_| json!({"$ref": "#/$defs/a"})).collect();
    assert!(fault(json!({"anyOf": refs, "$defs": {"a": required}}), &members).contains("too complex"));
    // What is looked at once may be as large as an answer.
    let large = json!({"list": vec![0; 190_000], "text": "x".repeat(20 << 20)});
    let source = json!({"type": "object", "required": ["list"], "properties":
        {"list": {"type": "array", "items": {"type": "integer"}}, "text": {"type": "string"}}});
    assert_eq!(schema(source).check(&large), Ok(()));
}

/// Stored with a workflow: the document itself.
#[test]
fn stored_format_is_unchanged() {
    let source = json!({"type":"object","required":["a"]});
    let stored = serde_json::to_value(schema(source.clone())).unwrap();
    assert_eq!(stored, source);
    assert_eq!(serde_json::from_value::<Schema>(stored).unwrap(), schema(source));
    assert!(serde_json::from_value::<Schema>(json!({"type":"object","pattern":"x"})).is_err());
}
