//! Messages as encoders of other languages write them, and bytes that only look like a message.

use fastrand::Rng;
use rmpv::Value;

/// Names under which the keys of a map are ids and not fields, but for a label under `prev`.
const TIMESTAMPS: [&str; 4] = ["replicas", "prev", "retires", "retired"];

/// Meaning of the keys of a map: names of fields, or ids.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Fields,
    Ids,
}

/// Reads MessagePack; `None` for JSON.
pub fn value(bytes: &[u8]) -> Option<Value> {
    if bytes.first() == Some(&b'{') {
        return None;
    }
    let mut rest = bytes;
    let value = rmpv::decode::read_value(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

/// Writes MessagePack.
///
/// # Panics
///
/// Never: memory takes all bytes.
pub fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("memory takes all bytes");
    bytes
}

/// Rewrites a message as another encoder may write it: texts as `bin`, whole numbers as floats, empty maps as empty
/// lists, keys in another order, and unknown keys of any type.
pub fn same(random: &mut Rng, value: &Value) -> Value {
    let bin = random.bool();
    let floats = random.bool();
    let lists = random.bool();
    let unknown = random.bool();
    rewrite(value, Keys::Fields, &mut |value, keys| match value {
        Value::String(text) if bin => Value::Binary(text.into_bytes()),
        Value::Integer(number) if floats => match number.as_f64() {
            Some(float) if float.abs() < 9e15 => Value::F64(float),
            _ => Value::Integer(number),
        },
        Value::Map(entries) if entries.is_empty() && lists => Value::Array(Vec::new()),
        Value::Map(mut entries) => {
            random.shuffle(&mut entries);
            if unknown && keys == Keys::Fields {
                let more = entries.iter().map(|(_, value)| value.clone()).next().unwrap_or(Value::Nil);
                let key = match random.u8(..6) {
                    0 => Value::Nil,
                    1 => Value::F64(1.0),
                    2 => Value::Binary(vec![0xff]),
                    3 => Value::Array(vec![1.into()]),
                    4 => Value::from("a key that nobody knows"),
                    _ => Value::from(random.u8(..4)),
                };
                entries.insert(random.usize(..=entries.len()), (key, more));
            }
            Value::Map(entries)
        }
        other => other,
    })
}

/// Messages that only look like this one, and must be refused: one for each of its maps, changed in one place.
pub fn others(random: &mut Rng, value: &Value) -> Vec<Value> {
    let mut maps = 0;
    rewrite(value, Keys::Fields, &mut |value, _| {
        maps += usize::from(matches!(&value, Value::Map(entries) if !entries.is_empty()));
        value
    });
    let mut changed = |place| {
        let mut passed = 0;
        rewrite(value, Keys::Fields, &mut |value, _| match value {
            Value::Map(entries) if !entries.is_empty() => {
                passed += 1;
                if passed == place { unlike(random, entries) } else { Value::Map(entries) }
            }
            other => other,
        })
    };
    (1..=maps).map(&mut changed).collect()
}

/// A list in place of a map, or a key twice, in either spelling.
fn unlike(random: &mut Rng, mut entries: Vec<(Value, Value)>) -> Value {
    if random.bool() {
        return Value::Array(entries.into_iter().map(|(_, value)| value).collect());
    }
    let (key, value) = entries[random.usize(..entries.len())].clone();
    let key = match key {
        Value::String(text) if random.bool() => Value::Binary(text.into_bytes()),
        other => other,
    };
    entries.insert(random.usize(..=entries.len()), (key, value));
    Value::Map(entries)
}

/// Changes all values, the innermost first.
fn rewrite(value: &Value, keys: Keys, change: &mut impl FnMut(Value, Keys) -> Value) -> Value {
    let inner = match value {
        Value::Array(items) => Value::Array(items.iter().map(|item| rewrite(item, Keys::Fields, change)).collect()),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value)| {
                let under = if keys == Keys::Fields { keys_under(key, value) } else { Keys::Fields };
                (rewrite(key, Keys::Fields, change), rewrite(value, under, change))
            };
            Value::Map(entries.iter().map(entry).collect())
        }
        other => other.clone(),
    };
    change(inner, keys)
}

fn keys_under(key: &Value, value: &Value) -> Keys {
    let is_timestamp = key.as_str().is_some_and(|name| TIMESTAMPS.contains(&name));
    let is_label = value.as_map().is_some_and(|entries| {
        let named = |name| entries.iter().any(|(key, _)| key.as_str() == Some(name));
        named("replicas") || named("clock")
    });
    if is_timestamp && !is_label { Keys::Ids } else { Keys::Fields }
}
