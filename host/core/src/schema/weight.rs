//! Bounds what one value costs in time before a schema is compiled.
//!
//! A few lines can say that a value is to be checked a billion times: `a` is `allOf` twice `b`, `b` is `allOf` twice `c`, and so
//! on. The validator does what it is told, and it does so for every event. So it is counted here how many schemas apply to
//! one value at most, at any place of the data, along every way through references. That is more than the length of the
//! longest chain ([`chain`](super::chain)), which bounds the stack.
//!
//! A circle of references counts once: the validator remembers what it has said about a value there. It does not when it
//! collects errors, so a schema that comes back to itself more than once for the same value is marked; it decides as ever and
//! its refusals are not explained.
//!
//! Nothing here calls itself. References through `properties` and `items` may go as deep as the text is long.

use std::collections::HashMap;

use serde_json::Value;

use super::chain::{Chains, IN_PLACE, REFERENCES, schemas_in};

/// Schemas that may apply to one value. The largest in use, a choice among all resources of FHIR, needs some hundred.
pub(super) const MAX_APPLIED: u64 = 4096;
/// Steps of one measurement, so that measuring is bounded itself.
const MAX_STEPS: usize = 10_000_000;
/// Keywords for which errors are not collected from what is inside, or only from an outline of it.
const UNEXPLAINED: [&str; 5] = ["anyOf", "oneOf", "not", "if", "propertyNames"];

/// More than [`MAX_APPLIED`] schemas apply to one value, or counting them takes too long.
#[derive(Debug)]
pub(super) struct TooHeavy;

/// Measures the documents of one folder; what several share is measured once.
pub(super) struct Weights<'c, 'a> {
    chains: &'c mut Chains<'a>,
    nodes: Vec<Node<'a>>,
    by_place: HashMap<*const Value, usize>,
    steps: usize,
}

/// One schema and those that it applies.
struct Node<'a> {
    path: &'a str,
    schema: &'a Value,
    /// `None` until somebody looked inside.
    edges: Option<Vec<(Reach<'a>, usize)>>,
    state: State<'a>,
}

/// To which value an inner schema is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reach<'a> {
    /// To the same; whether its errors are collected.
    Same {
        explained: bool,
    },
    Property(&'a str),
    AnyProperty,
    Item(usize),
    AnyItem,
}

enum State<'a> {
    New,
    Open,
    Done(Weight<'a>),
}

/// What the application of one schema causes.
#[derive(Debug, Clone, Default)]
struct Weight<'a> {
    /// Schemas applied to the value itself.
    here: u64,
    /// By the value's part that they are applied to.
    parts: HashMap<Reach<'a>, Part>,
    /// The most for any value in or under this one.
    most: u64,
    /// Whether it comes back to itself, and whether it does so more than once for the same value.
    circular: bool,
    doubling: bool,
}

/// What is applied to one part of a value.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    applied: u64,
    /// How many of the applied schemas are parts of a circle and are explained.
    circles: u64,
}

// === impl Weights ===

impl<'c, 'a> Weights<'c, 'a> {
    pub(super) fn new(chains: &'c mut Chains<'a>) -> Self {
        Self { chains, nodes: Vec::new(), by_place: HashMap::new(), steps: 0 }
    }

    /// Whether explaining a refusal by this document takes no more than deciding.
    pub(super) fn is_explainable(&mut self, path: &'a str, document: &'a Value) -> Result<bool, TooHeavy> {
        let root = self.node(path, document);
        // What is open, and how many of its edges have been followed.
        let mut open: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some((id, next)) = open.last_mut() {
            let id = *id;
            if matches!(self.nodes[id].state, State::Done(_)) {
                open.pop();
                continue;
            }
            self.nodes[id].state = State::Open;
            let target = self.edges(id)?.get(*next).map(|(_, target)| *target);
            *next += 1;
            match target {
                Some(target) if matches!(self.nodes[target].state, State::New) => open.push((target, 0)),
                Some(_) => {}
                None => {
                    let weight = self.weigh(id)?;
                    if weight.most > MAX_APPLIED {
                        return Err(TooHeavy);
                    }
                    self.nodes[id].state = State::Done(weight);
                    open.pop();
                }
            }
        }
        match &self.nodes[root].state {
            State::Done(weight) => Ok(!weight.doubling),
            _ => Err(TooHeavy),
        }
    }

    fn node(&mut self, path: &'a str, schema: &'a Value) -> usize {
        *self.by_place.entry(std::ptr::from_ref(schema)).or_insert_with(|| {
            self.nodes.push(Node { path, schema, edges: None, state: State::New });
            self.nodes.len() - 1
        })
    }

    fn step(&mut self, count: usize) -> Result<(), TooHeavy> {
        self.steps += count;
        if self.steps > MAX_STEPS { Err(TooHeavy) } else { Ok(()) }
    }

    fn edges(&mut self, id: usize) -> Result<&[(Reach<'a>, usize)], TooHeavy> {
        if self.nodes[id].edges.is_none() {
            let (path, schema) = (self.nodes[id].path, self.nodes[id].schema);
            let mut edges = Vec::new();
            for (keyword, value) in schema.as_object().into_iter().flatten() {
                if REFERENCES.contains(&keyword.as_str()) {
                    let target = value.as_str().and_then(|reference| self.chains.resolve(path, reference));
                    if let Some((path, target)) = target.filter(|(_, target)| target.is_object()) {
                        edges.push((Reach::Same { explained: true }, self.node(path, target)));
                    }
                    continue;
                }
                for (reach, inner) in applied_by(keyword, value) {
                    edges.push((reach, self.node(path, inner)));
                }
            }
            self.step(1 + edges.len())?;
            self.nodes[id].edges = Some(edges);
        }
        Ok(self.nodes[id].edges.as_deref().unwrap_or_default())
    }

    /// The weight of a schema whose inner ones are measured, or are being measured because this is a circle.
    fn weigh(&mut self, id: usize) -> Result<Weight<'a>, TooHeavy> {
        let mut weight = Weight { here: 1, ..Weight::default() };
        let edges = self.nodes[id].edges.take().unwrap_or_default();
        for (reach, target) in &edges {
            let steps = match &self.nodes[*target].state {
                State::Done(inner) => weight.add(*reach, inner),
                State::New | State::Open => {
                    weight.add(*reach, &Weight { here: 1, most: 1, circular: true, ..Weight::default() })
                }
            };
            self.step(steps)?;
        }
        self.nodes[id].edges = Some(edges);
        weight.close();
        Ok(weight)
    }
}

/// The schemas inside of a keyword, and to what they are applied.
fn applied_by<'a>(keyword: &'a str, value: &'a Value) -> Vec<(Reach<'a>, &'a Value)> {
    let all = |reach: Reach<'a>, list: Vec<&'a Value>| list.into_iter().map(|inner| (reach, inner)).collect::<Vec<_>>();
    let items = |list: &'a [Value]| list.iter().enumerate().map(|(at, inner)| (Reach::Item(at), inner)).collect();
    let found: Vec<(Reach<'a>, &'a Value)> = match (keyword, value) {
        ("properties", Value::Object(members)) => {
            members.iter().map(|(name, inner)| (Reach::Property(name), inner)).collect()
        }
        ("patternProperties", Value::Object(members)) => all(Reach::AnyProperty, members.values().collect()),
        ("additionalProperties" | "unevaluatedProperties", inner) => vec![(Reach::AnyProperty, inner)],
        ("items" | "prefixItems", Value::Array(list)) => items(list),
        ("items" | "additionalItems" | "unevaluatedItems" | "contains", inner) => vec![(Reach::AnyItem, inner)],
        _ if IN_PLACE.contains(&keyword) => {
            all(Reach::Same { explained: !UNEXPLAINED.contains(&keyword) }, schemas_in(keyword, value))
        }
        _ => Vec::new(),
    };
    found.into_iter().filter(|(_, inner)| inner.is_object()).collect()
}

// === impl Weight ===

impl<'a> Weight<'a> {
    /// Adds what an inner schema causes; returns the steps that it took.
    fn add(&mut self, reach: Reach<'a>, inner: &Weight<'a>) -> usize {
        self.circular |= inner.circular;
        let Reach::Same { explained } = reach else {
            self.doubling |= inner.doubling;
            let part = self.parts.entry(reach).or_default();
            part.applied = part.applied.saturating_add(inner.most);
            part.circles += u64::from(inner.circular);
            return 1;
        };
        self.doubling |= explained && inner.doubling;
        self.here = self.here.saturating_add(inner.here);
        self.most = self.most.max(inner.most);
        for (reach, inner) in &inner.parts {
            let part = self.parts.entry(*reach).or_default();
            part.applied = part.applied.saturating_add(inner.applied);
            part.circles += if explained { inner.circles } else { 0 };
        }
        1 + inner.parts.len()
    }

    /// What is known when everything was added.
    fn close(&mut self) {
        let any = |reach| self.parts.get(&reach).copied().unwrap_or_default();
        let (any_property, any_item) = (any(Reach::AnyProperty), any(Reach::AnyItem));
        let mut most = self.most.max(self.here);
        for (reach, part) in &self.parts {
            let beside = match reach {
                Reach::Property(_) => any_property,
                Reach::Item(_) => any_item,
                _ => Part::default(),
            };
            most = most.max(part.applied.saturating_add(beside.applied));
            self.doubling |= part.circles + beside.circles > 1;
        }
        self.most = most;
    }
}
