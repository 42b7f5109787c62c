//! Values while an expression runs: JSON whose size and depth are known without looking, so that limits cost nothing.

use std::cmp::Ordering;
use std::sync::Arc;

use indexmap::IndexMap;

use super::meter::{Exceeded, Flow, Meter, Stop};
use super::number::Number;
use crate::limits;

/// What every part of a value costs besides its text.
const PART_BYTES: u64 = 24;

/// Cheap to clone: texts, lists and maps are shared until one of their owners changes them.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    List(Arc<List>),
    Map(Arc<Map>),
}

/// The fields of a map, in the order in which they came.
pub(crate) type Fields = IndexMap<Arc<str>, Value>;

#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    items: Vec<Value>,
    extent: Extent,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    fields: Fields,
    extent: Extent,
}

/// What a list or map holds, as if nothing were shared. `depth` never shrinks while one is changed in place.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    bytes: u64,
    depth: u32,
}

impl Extent {
    fn add(&mut self, name: &str, child: &Value) {
        self.bytes = self.bytes.saturating_add(name.len() as u64 + child.bytes());
        self.depth = self.depth.max(child.depth());
    }

    fn remove(&mut self, name: &str, child: &Value) {
        self.bytes = self.bytes.saturating_sub(name.len() as u64 + child.bytes());
    }

    fn check(self) -> Flow {
        if self.bytes > limits::MAX_VALUE_BYTES {
            Err(Stop::Limit(Exceeded::Size))
        } else if self.depth >= limits::MAX_VALUE_DEPTH {
            Err(Stop::Limit(Exceeded::Depth))
        } else {
            Ok(())
        }
    }
}

impl List {
    pub(crate) fn items(&self) -> &[Value] {
        &self.items
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

impl Map {
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }
}

impl Value {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn int(value: i64) -> Self {
        Self::Number(Number::Int(value))
    }

    pub(crate) fn count(value: usize) -> Self {
        Self::Number(Number::count(value))
    }

    pub(crate) fn float(value: f64) -> Self {
        Self::Number(Number::of(value))
    }

    /// A new text, paid for.
    pub(crate) fn new_text(text: impl Into<Arc<str>>, meter: &Meter) -> Flow<Self> {
        let text = text.into();
        meter.allocate(text.len() as u64)?;
        Ok(Self::Text(text))
    }

    /// A new list, paid for and within the limits.
    pub(crate) fn list(items: Vec<Value>, meter: &Meter) -> Flow<Self> {
        let mut extent = Extent::default();
        for item in &items {
            extent.add("", item);
        }
        extent.check()?;
        meter.allocate(items.len() as u64 * PART_BYTES)?;
        Ok(Self::List(Arc::new(List { items, extent })))
    }

    /// A new map, paid for and within the limits.
    pub(crate) fn map(fields: Fields, meter: &Meter) -> Flow<Self> {
        let mut extent = Extent::default();
        for (name, value) in &fields {
            extent.add(name, value);
        }
        extent.check()?;
        charge_fields(fields.len(), meter)?;
        Ok(Self::Map(Arc::new(Map { fields, extent })))
    }

    pub(crate) fn bytes(&self) -> u64 {
        PART_BYTES
            + match self {
                Self::Null | Self::Bool(_) | Self::Number(_) => 0,
                Self::Text(text) => text.len() as u64,
                Self::List(list) => list.extent.bytes,
                Self::Map(map) => map.extent.bytes,
            }
    }

    /// 0 for a scalar, 1 for an empty list.
    pub(crate) fn depth(&self) -> u32 {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => 0,
            Self::List(list) => list.extent.depth + 1,
            Self::Map(map) => map.extent.depth + 1,
        }
    }

    /// How many steps it takes to look at all of it.
    pub(crate) fn work(&self) -> u64 {
        1 + self.bytes() / limits::BYTES_PER_STEP
    }

    /// Neither `null` nor `false`.
    pub(crate) fn is_true(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) => "object",
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    pub(crate) fn items(&self) -> Option<&[Value]> {
        match self {
            Self::List(list) => Some(&list.items),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Map(_) => None,
        }
    }

    pub(crate) fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Map(map) => Some(&map.fields),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// jq's order of all values: null, false, true, numbers, strings, arrays, objects.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.order(*b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => order_lists(a.items.iter(), b.items.iter()),
            (Self::Map(a), Self::Map(b)) => order_maps(&a.fields, &b.fields),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(false) => 1,
            Self::Bool(true) => 2,
            Self::Number(_) => 3,
            Self::Text(_) => 4,
            Self::List(_) => 5,
            Self::Map(_) => 6,
        }
    }
}

fn order_lists<'a>(a: impl Iterator<Item = &'a Value>, b: impl Iterator<Item = &'a Value>) -> Ordering {
    let mut b = b;
    for left in a {
        let Some(right) = b.next() else { return Ordering::Greater };
        let order = left.order(right);
        if order != Ordering::Equal {
            return order;
        }
    }
    if b.next().is_some() { Ordering::Less } else { Ordering::Equal }
}

/// First the sorted names as lists, then the values name by name.
fn order_maps(a: &Fields, b: &Fields) -> Ordering {
    let (mut left, mut right): (Vec<_>, Vec<_>) = (a.iter().collect(), b.iter().collect());
    left.sort_by_key(|(name, _)| *name);
    right.sort_by_key(|(name, _)| *name);
    let names = left.iter().map(|(name, _)| name).cmp(right.iter().map(|(name, _)| name));
    names.then_with(|| order_lists(left.iter().map(|(_, value)| *value), right.iter().map(|(_, value)| *value)))
}

/// Changes a list that may be shared, paying for a copy where it is.
pub(crate) fn change_list<T>(
    list: &mut Arc<List>,
    meter: &Meter,
    change: impl FnOnce(&mut ListChange) -> T,
) -> Flow<T> {
    if Arc::strong_count(list) > 1 {
        meter.allocate(list.items.len() as u64 * PART_BYTES)?;
    }
    let list = Arc::make_mut(list);
    let result = change(&mut ListChange(list));
    list.extent.check()?;
    Ok(result)
}

/// Changes a map that may be shared, paying for a copy where it is.
pub(crate) fn change_map<T>(map: &mut Arc<Map>, meter: &Meter, change: impl FnOnce(&mut MapChange) -> T) -> Flow<T> {
    meter.work(2)?;
    if Arc::strong_count(map) > 1 {
        charge_fields(map.fields.len(), meter)?;
    }
    let map = Arc::make_mut(map);
    let result = change(&mut MapChange(map));
    map.extent.check()?;
    Ok(result)
}

/// Names are hashed, so fields cost more than items.
fn charge_fields(count: usize, meter: &Meter) -> Flow {
    meter.work(2 + 2 * count as u64)?;
    meter.allocate(count as u64 * PART_BYTES * 2)
}

/// A list being changed; keeps its extent true.
pub(crate) struct ListChange<'a>(&'a mut List);

impl ListChange<'_> {
    pub(crate) fn push(&mut self, item: Value) {
        self.0.extent.add("", &item);
        self.0.items.push(item);
    }

    /// Leaves `null` in its place.
    pub(crate) fn take(&mut self, index: usize) -> Value {
        self.replace(index, Value::Null)
    }

    /// `index` must be within the list.
    pub(crate) fn replace(&mut self, index: usize, item: Value) -> Value {
        self.0.extent.add("", &item);
        let old = std::mem::replace(&mut self.0.items[index], item);
        self.0.extent.remove("", &old);
        old
    }

    /// Keeps the items for whose index and value `keep` is true.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(usize, &Value) -> bool) {
        let extent = &mut self.0.extent;
        let mut index = 0;
        self.0.items.retain(|item| {
            let stays = keep(index, item);
            index += 1;
            if !stays {
                extent.remove("", item);
            }
            stays
        });
    }

    /// Replaces the items of a range by others.
    pub(crate) fn splice(&mut self, range: std::ops::Range<usize>, items: Vec<Value>) {
        for item in &items {
            self.0.extent.add("", item);
        }
        let old: Vec<Value> = self.0.items.splice(range, items).collect();
        for item in &old {
            self.0.extent.remove("", item);
        }
    }
}

/// A map being changed; keeps its extent true.
pub(crate) struct MapChange<'a>(&'a mut Map);

impl MapChange<'_> {
    /// The field's value, leaving `null` in its place; `null` for a new one, which is not added.
    pub(crate) fn take(&mut self, name: &str) -> Value {
        let Some(value) = self.0.fields.get_mut(name) else { return Value::Null };
        let old = std::mem::replace(value, Value::Null);
        self.0.extent.remove("", &old);
        self.0.extent.add("", &Value::Null);
        old
    }

    pub(crate) fn set(&mut self, name: &Arc<str>, value: Value) {
        self.0.extent.add(name, &value);
        if let Some(old) = self.0.fields.insert(name.clone(), value) {
            self.0.extent.remove(name, &old);
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(old) = self.0.fields.shift_remove(name) {
            self.0.extent.remove(name, &old);
        }
    }
}
