//! A value held against a schema, with a bound on the work.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use super::value::{Types, canonical, compare, to_billionths};
use super::{BYTES_PER_STEP, MAX_CHECK_STEPS, MAX_DEPTH, Mismatch, NAMES_PER_STEP, Node, NodeId};
use crate::decimal::DecimalError;

/// Longest name of a field that is told back, in characters.
const MAX_NAME_CHARS: usize = 64;

pub(super) fn check(nodes: &[Node], value: &Value) -> Result<(), Mismatch> {
    let mut checker = Checker { nodes, steps_left: MAX_CHECK_STEPS };
    checker.check(0, value, 0).map_err(|fault| match fault {
        Fault::Mismatch { text, path } if path.is_empty() => Mismatch { message: text },
        Fault::Mismatch { text, path } => {
            let pointer: String = path.iter().rev().map(|segment| format!("/{segment}")).collect();
            Mismatch { message: format!("{text} at {pointer}") }
        }
        Fault::TooComplex => Mismatch { message: "the answer is too complex to be checked against the schema".into() },
    })
}

/// What is said of a value of another type.
pub(super) fn type_fault(types: Option<Types>) -> String {
    let name = types.map(|types| format!(" {types}")).unwrap_or_default();
    format!("expected JSON{name} but got something else")
}

enum Fault {
    Mismatch {
        text: String,
        /// From the value upwards.
        path: Vec<String>,
    },
    /// No answer within the bounds; never taken for "does not fit".
    TooComplex,
}

impl Fault {
    fn new(text: impl Into<String>) -> Self {
        Self::Mismatch { text: text.into(), path: Vec::new() }
    }

    fn within(mut self, segment: impl FnOnce() -> String) -> Self {
        if let Self::Mismatch { path, .. } = &mut self {
            path.push(segment());
        }
        self
    }
}

struct Checker<'s> {
    nodes: &'s [Node],
    steps_left: u32,
}

impl Checker<'_> {
    fn check(&mut self, id: NodeId, value: &Value, depth: u32) -> Result<(), Fault> {
        self.spend(1, 1)?;
        let node = self.nodes.get(id).filter(|_| depth <= MAX_DEPTH).ok_or(Fault::TooComplex)?;
        if node.is_never {
            return Err(Fault::new("nothing is allowed here"));
        }
        if node.types.is_some_and(|types| !types.contains(value)) {
            return Err(Fault::new(type_fault(node.types)));
        }
        match value {
            Value::Object(members) => self.check_object(node, members, depth)?,
            Value::Array(items) => self.check_array(node, items, depth)?,
            Value::String(text) => {
                // Counting characters is only needed where there is a bound.
                let is_bound = node.length.min > 0 || node.length.max.is_some();
                if is_bound {
                    self.spend(text.len(), BYTES_PER_STEP)?;
                    if !node.length.contain(text.chars().count()) {
                        return Err(Fault::new("the text is too short or too long"));
                    }
                }
            }
            Value::Number(number) => check_number(node, number)?,
            Value::Bool(_) | Value::Null => {}
        }
        if let Some(allowed) = &node.allowed
            && !allowed.contains(&self.canonical(value)?)
        {
            return Err(Fault::new("the value is none of those allowed"));
        }
        self.check_combinations(node, value, depth)
    }

    fn check_object(&mut self, node: &Node, members: &Map<String, Value>, depth: u32) -> Result<(), Fault> {
        self.spend(node.required.len() + members.len(), NAMES_PER_STEP)?;
        if let Some(name) = node.required.iter().find(|name| !members.contains_key(*name)) {
            return Err(Fault::new(format!("missing required field \"{}\"", shorten(name))));
        }
        if !node.property_count.contain(members.len()) {
            return Err(Fault::new("the object has too few or too many fields"));
        }
        for (name, member) in members {
            match (node.properties.get(name), node.additional_properties) {
                (Some(id), _) => self.check(*id, member, depth + 1).map_err(|fault| fault.within(|| shorten(name)))?,
                (None, Some(id)) if self.nodes.get(id).is_some_and(|node| node.is_never) => {
                    return Err(Fault::new(format!("unexpected field \"{}\"", shorten(name))));
                }
                (None, Some(id)) => {
                    self.check(id, member, depth + 1).map_err(|fault| fault.within(|| shorten(name)))?
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn check_array(&mut self, node: &Node, items: &[Value], depth: u32) -> Result<(), Fault> {
        if !node.item_count.contain(items.len()) {
            return Err(Fault::new("the array has too few or too many items"));
        }
        for (index, item) in items.iter().enumerate() {
            let Some(id) = node.prefix_items.get(index).copied().or(node.items) else { break };
            self.check(id, item, depth + 1).map_err(|fault| fault.within(|| index.to_string()))?;
        }
        if node.unique_items {
            self.spend(items.len(), 1)?;
            let mut seen = BTreeSet::new();
            for item in items {
                if !seen.insert(self.canonical(item)?) {
                    return Err(Fault::new("the array has an item twice"));
                }
            }
        }
        Ok(())
    }

    fn check_combinations(&mut self, node: &Node, value: &Value, depth: u32) -> Result<(), Fault> {
        for id in &node.all_of {
            self.check(*id, value, depth + 1)?;
        }
        if let Some(branches) = &node.any_of
            && self.count_fitting(branches, value, depth, 1)? == 0
        {
            return Err(Fault::new("the value fits no branch of anyOf"));
        }
        if let Some(branches) = &node.one_of
            && self.count_fitting(branches, value, depth, 2)? != 1
        {
            return Err(Fault::new("the value does not fit exactly one branch of oneOf"));
        }
        if let Some(id) = &node.not
            && self.count_fitting(std::slice::from_ref(id), value, depth, 1)? == 1
        {
            return Err(Fault::new("the value is what the schema excludes"));
        }
        Ok(())
    }

    /// How many branches the value fits, counted up to `enough`.
    fn count_fitting(&mut self, branches: &[NodeId], value: &Value, depth: u32, enough: u32) -> Result<u32, Fault> {
        let mut fitting = 0;
        for id in branches {
            match self.check(*id, value, depth + 1) {
                Ok(()) => fitting += 1,
                Err(Fault::Mismatch { .. }) => {}
                Err(Fault::TooComplex) => return Err(Fault::TooComplex),
            }
            if fitting == enough {
                break;
            }
        }
        Ok(fitting)
    }

    /// A value's canonical text, which is as much work as it is long.
    fn canonical(&mut self, value: &Value) -> Result<String, Fault> {
        let text = canonical(value);
        self.spend(text.len(), BYTES_PER_STEP)?;
        Ok(text)
    }

    fn spend(&mut self, work: usize, per_step: usize) -> Result<(), Fault> {
        let steps = u32::try_from(work / per_step).unwrap_or(u32::MAX);
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(Fault::TooComplex)?;
        Ok(())
    }
}

fn check_number(node: &Node, number: &Number) -> Result<(), Fault> {
    let is_ordered = |bound: &Option<Number>, allowed: &[Ordering]| {
        bound.as_ref().is_none_or(|bound| compare(number, bound).is_some_and(|order| allowed.contains(&order)))
    };
    let is_within = is_ordered(&node.minimum, &[Ordering::Greater, Ordering::Equal])
        && is_ordered(&node.maximum, &[Ordering::Less, Ordering::Equal])
        && is_ordered(&node.exclusive_minimum, &[Ordering::Greater])
        && is_ordered(&node.exclusive_maximum, &[Ordering::Less]);
    if !is_within {
        return Err(Fault::new("the number is too small or too large"));
    }
    let Some(step) = node.multiple_of else { return Ok(()) };
    match to_billionths(number) {
        Ok(billionths) if billionths.checked_rem(step) == Some(0) => Ok(()),
        Err(DecimalError::OutOfRange) => Err(Fault::TooComplex),
        _ => Err(Fault::new("the number is not a multiple of what the schema asks for")),
    }
}

fn shorten(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).collect()
}
