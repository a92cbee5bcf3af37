//! Between AMQP's tables and JSON, both ways, and from a delivery to what a message is made of. Pure.

use std::collections::BTreeMap;

use flatbus_schemas::{Limits, Malformed, Message, Parts, Received, Refused};
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldArray, FieldTable, ShortString, ShortStringError},
};
use serde_json::{Map, Number, Value};

use super::screen;

/// How deep tables may nest; what is deeper becomes null. The checks on headers refuse far less.
const DEPTH_MAX: usize = 200;
/// RabbitMQ keeps the message on disk.
const PERSISTENT: u8 = 2;

/// The message of a delivery, or why it is none.
pub(super) fn received(delivery: Delivery, limits: &Limits) -> Result<Received, Refused> {
    let parts = parts(delivery);
    let replaced = screen::replaced(parts.content_encoding.as_deref()).map(str::to_owned);
    Message::from_parts(parts, limits).map_err(|Refused { malformed, body }| match replaced {
        Some(why) => Refused { malformed: Malformed::new(&malformed.topic, &malformed.id, &why), body },
        None => Refused { malformed, body },
    })
}

/// The delivery without its body copied.
fn parts(delivery: Delivery) -> Parts {
    let properties = &delivery.properties;
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    Parts {
        message_id: text(properties.message_id()),
        content_encoding: text(properties.content_encoding()),
        priority: *properties.priority(),
        headers: properties.headers().as_ref().map(|table| to_map(table, 0)),
        routing_key: delivery.routing_key.into(),
        body: delivery.data,
    }
}

fn to_map(table: &FieldTable, depth: usize) -> Map<String, Value> {
    table.into_iter().map(|(key, value)| (key.to_string(), to_json(value, depth))).collect()
}

fn to_json(value: &AMQPValue, depth: usize) -> Value {
    if depth >= DEPTH_MAX {
        return Value::Null;
    }
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Timestamp(value) => (*value).into(),
        AMQPValue::Float(value) => float(f64::from(*value)),
        AMQPValue::Double(value) => float(*value),
        AMQPValue::DecimalValue(value) => float(f64::from(value.value) / 10_f64.powi(i32::from(value.scale))),
        AMQPValue::ShortString(value) => value.as_str().into(),
        AMQPValue::LongString(value) => String::from_utf8_lossy(value.as_bytes()).into(),
        AMQPValue::ByteArray(value) => String::from_utf8_lossy(value.as_slice()).into(),
        AMQPValue::FieldArray(values) => {
            values.as_slice().iter().map(|value| to_json(value, depth + 1)).collect()
        }
        AMQPValue::FieldTable(table) => Value::Object(to_map(table, depth + 1)),
        AMQPValue::Void => Value::Null,
    }
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The properties that fedora-messaging sets, and no others.
pub(super) fn properties(message: &Message) -> Result<BasicProperties, ShortStringError> {
    let properties = BasicProperties::default()
        .with_content_type(ShortString::try_new("application/json")?)
        .with_content_encoding(ShortString::try_new("utf-8")?)
        .with_delivery_mode(PERSISTENT)
        .with_message_id(ShortString::try_new(message.id.as_str())?)
        .with_headers(to_table(&message.headers));
    Ok(match message.priority {
        Some(priority) => properties.with_priority(priority),
        None => properties,
    })
}

/// A name longer than AMQP's 255 bytes is left out: it is a filter of somebody else's, not our message.
pub(super) fn to_table(map: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in map {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, to_amqp(value));
        }
    }
    table
}

fn to_amqp(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match (number.as_i64().map(i32::try_from), number.as_i64()) {
            (Some(Ok(small)), _) => AMQPValue::LongInt(small),
            (_, Some(large)) => AMQPValue::LongLongInt(large),
            (_, None) => AMQPValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(to_amqp).collect::<Vec<_>>()))
        }
        Value::Object(map) => AMQPValue::FieldTable(to_table(map)),
    }
}

/// The arguments of a queue as `[queues]` has them, for the broker.
pub(super) fn arguments(arguments: &BTreeMap<String, toml::Value>) -> FieldTable {
    to_table(&json_arguments(arguments))
}

/// TOML's types are JSON's but for times, which become text.
pub(crate) fn json_arguments(arguments: &BTreeMap<String, toml::Value>) -> Map<String, Value> {
    arguments.iter().map(|(name, value)| (name.clone(), from_toml(value))).collect()
}

fn from_toml(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => float(*number),
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.iter().map(from_toml).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(name, value)| (name.clone(), from_toml(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::DecimalValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_header_becomes_json_nested_ones_too() {
        let mut inner = FieldTable::default();
        inner.insert("uri".into(), AMQPValue::LongString("amqps://broker/%2Fpubsub".into()));
        inner.insert("redelivered".into(), AMQPValue::Boolean(false));
        let mut table = FieldTable::default();
        let received = FieldArray::from(vec![AMQPValue::FieldTable(inner)]);
        table.insert("x-received-from".into(), AMQPValue::FieldArray(received));
        table.insert("severity".into(), AMQPValue::ShortShortInt(20));
        table.insert("big".into(), AMQPValue::LongLongInt(i64::MIN));
        table.insert("time".into(), AMQPValue::Timestamp(1_700_000_000));
        table.insert("price".into(), AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 150 }));
        table.insert("nan".into(), AMQPValue::Double(f64::NAN));
        table.insert("bytes".into(), AMQPValue::ByteArray(vec![0xff, b'a'].into()));
        table.insert("void".into(), AMQPValue::Void);
        let expected = json!({
            "x-received-from": [{"uri": "amqps://broker/%2Fpubsub", "redelivered": false}],
            "severity": 20, "big": i64::MIN, "time": 1_700_000_000, "price": 1.5, "nan": null,
            "bytes": "\u{fffd}a", "void": null,
        });
        assert_eq!(Value::Object(to_map(&table, 0)), expected);
    }

    #[test]
    fn headers_go_out_and_come_back_the_same() {
        let headers =
            json!({"a": "text", "b": [1, {"c": null}], "d": true, "e": 5_000_000_000_i64, "f": 1.5});
        let Value::Object(map) = &headers else { panic!() };
        assert_eq!(Value::Object(to_map(&to_table(map), 0)), headers);
    }

    #[test]
    fn endless_nesting_ends() {
        let mut value = AMQPValue::Void;
        for _ in 0..2 * DEPTH_MAX {
            value = AMQPValue::FieldArray(FieldArray::from(vec![value]));
        }
        let text = to_json(&value, 0).to_string();
        assert_eq!(text.matches('[').count(), DEPTH_MAX);
    }

    #[test]
    fn a_header_with_a_name_too_long_is_left_out() {
        let map = [("x".repeat(256), json!(1)), ("y".to_owned(), json!(2))].into_iter().collect();
        assert_eq!(to_map(&to_table(&map), 0).len(), 1);
    }
}
