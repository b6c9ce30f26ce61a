//! A schema document made ready for checking; what can't be checked is refused here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};

use super::value::{Types, canonical, to_billionths};
use super::{Bounds, InvalidSchema, MAX_DEPTH, MAX_SCHEMA_BYTES, MAX_SCHEMA_NODES, Node, NodeId};

/// Keywords of which one says what the root describes.
const DESCRIBING: [&str; 7] = ["type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"];

/// Keywords that assert nothing. `$defs` and its older name are read where a `$ref` points into
/// them.
const ANNOTATIONS: [&str; 16] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "example",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
];

pub(super) fn compile(source: &Value) -> Result<Vec<Node>, InvalidSchema> {
    let describes = |object: &Map<String, Value>| DESCRIBING.iter().any(|keyword| object.contains_key(*keyword));
    if !source.as_object().is_some_and(describes) {
        return Err(InvalidSchema { message: "schema missing required \"type\" field".to_owned() });
    }
    if source.to_string().len() > MAX_SCHEMA_BYTES {
        return Err(InvalidSchema { message: format!("schema must have at most {MAX_SCHEMA_BYTES} bytes") });
    }
    let mut compiler = Compiler { root: source, nodes: Vec::new(), by_pointer: BTreeMap::new() };
    compiler.compile_at("", source, 0)?;
    Ok(compiler.nodes)
}

struct Compiler<'s> {
    root: &'s Value,
    nodes: Vec<Node>,
    /// Where in the document a node was made from: a schema that refers to itself has one.
    by_pointer: BTreeMap<String, NodeId>,
}

/// The object that is being read, and where it stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    pointer: &'p str,
    depth: u32,
}

impl Place<'_> {
    fn fault(self, text: impl std::fmt::Display) -> InvalidSchema {
        let pointer: String = self.pointer.chars().take(200).collect();
        InvalidSchema { message: format!("schema at #{pointer}: {text}") }
    }
}

impl Compiler<'_> {
    fn compile_at(&mut self, pointer: &str, schema: &Value, depth: u32) -> Result<NodeId, InvalidSchema> {
        if let Some(id) = self.by_pointer.get(pointer) {
            return Ok(*id);
        }
        let place = Place { pointer, depth };
        if depth > MAX_DEPTH || self.nodes.len() >= MAX_SCHEMA_NODES {
            return Err(place.fault("is too large or too deep"));
        }
        let id = self.nodes.len();
        self.nodes.push(Node::default());
        self.by_pointer.insert(pointer.to_owned(), id);
        let node = match schema {
            Value::Bool(allows) => Node { is_never: !allows, ..Node::default() },
            Value::Object(keywords) => self.compile_keywords(keywords, place)?,
            _ => return Err(place.fault("must be an object or a boolean")),
        };
        if let Some(slot) = self.nodes.get_mut(id) {
            *slot = node;
        }
        Ok(id)
    }

    fn compile_keywords(&mut self, keywords: &Map<String, Value>, place: Place<'_>) -> Result<Node, InvalidSchema> {
        let mut node = Node::default();
        for (keyword, value) in keywords {
            let is_known = self.read_applicator(keyword, value, &mut node, place)?
                || read_assertion(keyword, value, &mut node, place)?
                || ANNOTATIONS.contains(&keyword.as_str())
                || keyword.starts_with("x-");
            if !is_known {
                let keyword: String = keyword.chars().take(64).collect();
                return Err(place.fault(format_args!("keyword {keyword:?} can't be checked")));
            }
        }
        Ok(node)
    }

    /// Keywords that hold schemas.
    fn read_applicator(
        &mut self,
        keyword: &str,
        value: &Value,
        node: &mut Node,
        place: Place<'_>,
    ) -> Result<bool, InvalidSchema> {
        match keyword {
            "$ref" => {
                let target = self.follow(value, place)?;
                node.all_of.push(target);
            }
            "properties" => {
                let members = value.as_object().ok_or_else(|| place.fault("properties must be an object"))?;
                for (name, schema) in members {
                    let id = self.compile_child(place, &["properties", name], schema)?;
                    node.properties.insert(name.clone(), id);
                }
            }
            "additionalProperties" => {
                node.additional_properties = Some(self.compile_child(place, &[keyword], value)?);
            }
            "items" => node.items = Some(self.compile_child(place, &[keyword], value)?),
            "not" => node.not = Some(self.compile_child(place, &[keyword], value)?),
            "prefixItems" => node.prefix_items = self.compile_list(place, keyword, value)?,
            "allOf" => {
                let branches = self.compile_list(place, keyword, value)?;
                node.all_of.extend(branches);
            }
            "anyOf" => node.any_of = Some(self.compile_list(place, keyword, value)?),
            "oneOf" => node.one_of = Some(self.compile_list(place, keyword, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn compile_child(&mut self, place: Place<'_>, path: &[&str], schema: &Value) -> Result<NodeId, InvalidSchema> {
        let mut pointer = place.pointer.to_owned();
        for segment in path {
            pointer.push('/');
            pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        }
        self.compile_at(&pointer, schema, place.depth + 1)
    }

    fn compile_list(&mut self, place: Place<'_>, keyword: &str, value: &Value) -> Result<Vec<NodeId>, InvalidSchema> {
        let branches = value.as_array().filter(|branches| !branches.is_empty());
        let branches =
            branches.ok_or_else(|| place.fault(format_args!("{keyword} must be a non-empty array of schemas")))?;
        branches
            .iter()
            .enumerate()
            .map(|(index, schema)| self.compile_child(place, &[keyword, &index.to_string()], schema))
            .collect()
    }

    fn follow(&mut self, reference: &Value, place: Place<'_>) -> Result<NodeId, InvalidSchema> {
        let fault = || place.fault("$ref must point into the schema, as in \"#/$defs/name\"");
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).ok_or_else(fault)?;
        let root = self.root;
        let target = root.pointer(pointer).ok_or_else(fault)?;
        self.compile_at(pointer, target, place.depth + 1)
    }
}

/// Keywords that assert something of the value itself.
fn read_assertion(keyword: &str, value: &Value, node: &mut Node, place: Place<'_>) -> Result<bool, InvalidSchema> {
    match keyword {
        "type" => node.types = Some(read_types(value, place)?),
        "enum" => {
            let values = value.as_array().ok_or_else(|| place.fault("enum must be an array"))?;
            allow(node, values.iter().map(canonical).collect());
        }
        "const" => allow(node, BTreeSet::from([canonical(value)])),
        "required" => {
            let names = value.as_array().and_then(|names| names.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
            let names = names.ok_or_else(|| place.fault("required must be an array of names"))?;
            node.required = names.into_iter().map(str::to_owned).collect();
        }
        "uniqueItems" => {
            node.unique_items = value.as_bool().ok_or_else(|| place.fault("uniqueItems must be true or false"))?;
        }
        "minProperties" => node.property_count.min = read_count(keyword, value, place)?,
        "maxProperties" => node.property_count.max = Some(read_count(keyword, value, place)?),
        "minItems" => node.item_count.min = read_count(keyword, value, place)?,
        "maxItems" => node.item_count.max = Some(read_count(keyword, value, place)?),
        "minLength" => node.length.min = read_count(keyword, value, place)?,
        "maxLength" => node.length.max = Some(read_count(keyword, value, place)?),
        "minimum" => node.minimum = Some(read_number(keyword, value, place)?),
        "maximum" => node.maximum = Some(read_number(keyword, value, place)?),
        "exclusiveMinimum" => node.exclusive_minimum = Some(read_number(keyword, value, place)?),
        "exclusiveMaximum" => node.exclusive_maximum = Some(read_number(keyword, value, place)?),
        "multipleOf" => {
            let billionths = to_billionths(&read_number(keyword, value, place)?).ok().filter(|step| *step > 0);
            let fault = || place.fault("multipleOf must be above 0, with at most 9 decimals");
            node.multiple_of = Some(billionths.ok_or_else(fault)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `enum` and `const` together leave what both allow.
fn allow(node: &mut Node, values: BTreeSet<String>) {
    node.allowed = Some(match node.allowed.take() {
        Some(others) => others.intersection(&values).cloned().collect(),
        None => values,
    });
}

fn read_types(value: &Value, place: Place<'_>) -> Result<Types, InvalidSchema> {
    let names = match value {
        Value::Array(names) => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    let mut types = Types::default();
    let are_known = names.iter().all(|name| name.as_str().is_some_and(|name| types.insert(name)));
    if !are_known || names.is_empty() {
        let known = "object, array, string, number, integer, boolean, null";
        return Err(place.fault(format_args!("type must be one or several of {known}")));
    }
    Ok(types)
}

fn read_count(keyword: &str, value: &Value, place: Place<'_>) -> Result<u64, InvalidSchema> {
    value.as_u64().ok_or_else(|| place.fault(format_args!("{keyword} must be a whole number, 0 or more")))
}

fn read_number(keyword: &str, value: &Value, place: Place<'_>) -> Result<Number, InvalidSchema> {
    value.as_number().cloned().ok_or_else(|| place.fault(format_args!("{keyword} must be a number")))
}

impl Bounds {
    /// Whether so many are within the bounds.
    pub(super) fn contain(self, count: usize) -> bool {
        let count = count as u64;
        self.min <= count && self.max.is_none_or(|max| count <= max)
    }
}
