use flatbus_base::Random;
use futures::{AsyncReadExt as _, FutureExt as _, io::Cursor};
use lapin::{
    BasicProperties,
    protocol::basic,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable},
};

use super::*;
use crate::amqp::{
    properties::{self, DEPTH_MAX, Flaw},
    screened::Screened,
};

fn frame(kind: u8, channel: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0, channel], &length[..], content, &[FRAME_END]].concat()
}

fn header(properties: &[u8]) -> Vec<u8> {
    frame(CONTENT_HEADER, 1, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], properties].concat())
}

fn deliver(exchange: &[u8], key: &[u8]) -> Vec<u8> {
    let name = |name: &[u8]| [&[u8::try_from(name.len()).unwrap()], name].concat();
    let numbers = [0, 0, 0, 0, 0, 0, 0, 1, 0];
    frame(METHOD, 1, &[&DELIVER, &name(b"tag")[..], &numbers, &name(exchange), &name(key)].concat())
}

fn written(properties: &BasicProperties) -> Vec<u8> {
    basic::gen_properties(properties)(Vec::new().into()).unwrap().into_inner().0
}

fn table(entries: &[u8]) -> Vec<u8> {
    [&[0x20, 0], &u32::try_from(entries.len()).unwrap().to_be_bytes()[..], entries].concat()
}

/// Properties with that many lists within the header table.
fn nested(lists: usize) -> Vec<u8> {
    let value = (0..lists).fold(vec![b'V'], |value, _| {
        [b"A", &u32::try_from(value.len()).unwrap().to_be_bytes()[..], &value].concat()
    });
    table(&[b"\x01x", &value[..]].concat())
}

fn readable(properties: &[u8]) -> bool {
    basic::parse_properties(properties).is_ok_and(|(after, _)| after.is_empty())
}

/// What lapin gets to read where `pieces` says how much comes at a time.
fn read(stream: &[u8], mut pieces: impl FnMut() -> usize) -> Vec<u8> {
    let (mut screened, mut all) = (Screened::new(Cursor::new(stream)), Vec::new());
    loop {
        let mut piece = vec![0; pieces()];
        match screened.read(&mut piece).now_or_never().unwrap().unwrap() {
            0 => return all,
            read => all.extend_from_slice(&piece[..read]),
        }
    }
}

/// Whatever pieces it comes in.
fn through(stream: &[u8]) -> Vec<u8> {
    let whole = read(stream, || stream.len() + 1000);
    for size in [1, 2, 7, 8, 100] {
        assert_eq!(read(stream, || size), whole, "in pieces of {size}");
    }
    whole
}

fn every_kind_of_value() -> FieldArray {
    FieldArray::from(vec![
        AMQPValue::Boolean(true),
        AMQPValue::ShortShortInt(-1),
        AMQPValue::ShortShortUInt(1),
        AMQPValue::ShortInt(-1),
        AMQPValue::ShortUInt(1),
        AMQPValue::LongInt(1),
        AMQPValue::LongUInt(1),
        AMQPValue::LongLongInt(1),
        AMQPValue::Float(1.5),
        AMQPValue::Double(1.5),
        AMQPValue::DecimalValue(DecimalValue { scale: 1, value: 2 }),
        AMQPValue::LongString(vec![0xff].into()),
        AMQPValue::Timestamp(1),
        AMQPValue::FieldTable(FieldTable::default()),
        AMQPValue::ByteArray(vec![1].into()),
        AMQPValue::Void,
    ])
}

fn every_property() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("é".into(), AMQPValue::FieldArray(every_kind_of_value()));
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("1".into())
        .with_message_id("m".into())
        .with_timestamp(1)
        .with_type("t".into())
        .with_user_id("u".into())
        .with_app_id("a".into())
        .with_cluster_id("l".into())
}

/// Frames of every kind and channel in any order; bodies hold what looks like frames.
fn well_formed(random: &Random) -> Vec<u8> {
    let below = |bound: u64| usize::try_from(random.below(bound)).unwrap();
    let mut stream = Vec::new();
    for _ in 0..below(30) {
        let channel = u8::try_from(random.below(4)).unwrap();
        let mut next = match below(8) {
            0 => frame(HEARTBEAT, channel, b""),
            1 => header(&written(&every_property())),
            2 => header(&written(&BasicProperties::default())),
            3 => header(&nested(below(DEPTH_MAX as u64))),
            4 => deliver(b"amq.topic", "a.é".as_bytes()),
            5 => frame(METHOD, channel, &vec![0xff; below(2000)]), // Such as long arguments.
            6 => frame(BODY, channel, &vec![0xff; below(300)]),
            _ => frame(BODY, channel, &stream),
        };
        next[2] = channel;
        stream.extend(next);
    }
    stream
}

#[test]
fn what_lapin_can_read_goes_through_as_it_is() {
    for properties in [written(&every_property()), written(&BasicProperties::default()), nested(DEPTH_MAX)] {
        assert!(readable(&properties));
        let (header, body) = (header(&properties), frame(BODY, 1, &[0xff; 300]));
        let stream = [&header, &body[..], &frame(HEARTBEAT, 0, b""), &header].concat();
        assert_eq!(through(&stream), stream);
    }
}

#[test]
fn any_well_formed_stream_passes_unchanged_wherever_it_is_cut() {
    for seed in 0..300 {
        let random = Random::from_seed(seed);
        let stream = well_formed(&random);
        let piece = || usize::try_from(1 + random.below(1 + random.below(5000))).unwrap();
        assert!(read(&stream, piece) == stream, "seed {seed}");
    }
}

#[test]
fn whatever_bytes_come_lapin_can_read_the_properties_that_pass() {
    for seed in 0..300 {
        let random = Random::from_seed(seed);
        let below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
        let mut stream = well_formed(&random);
        for _ in 0..below(stream.len() / 20 + 1) {
            let at = below(stream.len());
            stream[at] = u8::try_from(random.below(256)).unwrap();
        }
        let passed = read(&stream, || 1 + below(5000));
        let mut left = &passed[..];
        while let Some(whole) = frame_bytes(left).filter(|whole| *whole <= left.len()) {
            if !matches!(left[0], METHOD | CONTENT_HEADER | BODY | HEARTBEAT) {
                break;
            }
            let properties = left.get(PROPERTIES_AT..whole - 1).filter(|_| left[0] == CONTENT_HEADER);
            assert!(properties.is_none_or(readable), "seed {seed}");
            left = &left[whole..];
        }
        assert!(read(&passed, || 1 + below(5000)) == passed, "seed {seed}: there is nothing left to screen");
    }
}

#[test]
fn properties_that_would_end_lapin_are_replaced_by_why_and_the_rest_goes_on() {
    let letters = table(b"\x01\xffV");
    let kind = table(b"\x01x?");
    let inner = table(b"\x01xF\0\0\0\x03\x01\xffV");
    for (bad, flaw) in [
        (&nested(DEPTH_MAX + 1)[..], Flaw::Deep),
        (&nested(20_000), Flaw::Deep),
        (&letters, Flaw::NotText),
        (&inner, Flaw::NotText),
        (&[0, 0x80, 1, 0xff], Flaw::NotText),
        (&kind, Flaw::Broken),
        (&[0x20, 0, 0, 0, 0, 9], Flaw::Broken),
        (&[0, 0, 1], Flaw::Broken),
        (&[0, 1, 0, 0], Flaw::Broken),
        (&[0], Flaw::Broken),
        (&[], Flaw::Broken),
    ] {
        let (before, after) = (deliver(b"amq.topic", b"a"), frame(BODY, 1, b"{}"));
        let passed = through(&[&before[..], &header(bad), &after].concat());
        let passed = passed.strip_prefix(&before[..]).unwrap().strip_suffix(&after[..]).unwrap();
        let (rest, properties) = basic::parse_properties(&passed[PROPERTIES_AT..passed.len() - 1]).unwrap();
        let encoding = properties.content_encoding().as_ref().map(|encoding| encoding.as_str());
        assert_eq!(replaced(encoding), Some(&*format!("{UNREADABLE}{flaw}")), "{bad:.50?}");
        assert_eq!((rest, frame_bytes(passed)), (&b""[..], Some(passed.len())));
        assert_eq!(passed[7..PROPERTIES_AT], header(bad)[7..PROPERTIES_AT], "the body's length is as it was");
    }
}

/// Only a broker without a bound on frames could send them.
#[test]
fn of_properties_without_end_no_more_is_held_than_is_looked_at() {
    let (huge, after) = (header(&table(&vec![0; 3 * HEADER_BYTES_MAX])), deliver(b"", b"a"));
    let (mut screen, mut passed) = (Screen::default(), Vec::new());
    for piece in huge.chunks(1000).chain([&after[..]]) {
        screen.take(piece, &mut passed);
        assert!(screen.held.len() <= HEADER_BYTES_MAX);
    }
    let header = passed.strip_suffix(&after[..]).unwrap();
    assert!(header.len() < 200 && readable(&header[PROPERTIES_AT..header.len() - 1]));
}

#[test]
fn letters_of_an_exchange_or_a_routing_key_that_are_none_are_mended_in_place() {
    assert_eq!(through(&deliver(b"amq.topic", b"a.\xff.b")), deliver(b"amq.topic", b"a.\x1a.b"));
    assert_eq!(through(&deliver(b"\xc3", &[0xff; 255])), deliver(b"\x1a", &[SUBSTITUTE; 255]));
    for fine in [&b"a.b"[..], "a.é".as_bytes(), b"", &[b'a'; 255]] {
        assert_eq!(through(&deliver(&[b'e'; 255], fine)), deliver(&[b'e'; 255], fine));
    }
    for other in [&b"\0\x0a\0\x0a\xff\xff"[..], &DELIVER, &[0, 60, 0, 60, 255], b"", &[0xff; 1000]] {
        assert_eq!(through(&frame(METHOD, 0, other)), frame(METHOD, 0, other));
    }
}

#[test]
fn what_is_no_frame_goes_through_as_it_comes() {
    for stream in [
        &b"AMQP\0\0\x09\x01"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[BODY, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3],
        b"\x01",
    ] {
        let cut = if stream.len() < FRAME_HEAD_BYTES { &[] } else { stream };
        assert_eq!(through(stream), cut);
    }
}

/// lapin reads on a thread with the usual stack, of 2 MiB.
#[test]
fn what_may_nest_leaves_half_of_lapins_stack() {
    let tables = (0..DEPTH_MAX).fold(b"\x01xV".to_vec(), |entries, _| {
        [b"\x01xF", &u32::try_from(entries.len()).unwrap().to_be_bytes()[..], &entries].concat()
    });
    for deep in [nested(DEPTH_MAX), table(&tables)] {
        assert_eq!(properties::check(&deep), Ok(()));
        let reading = std::thread::Builder::new().stack_size(1 << 20).spawn(move || readable(&deep));
        assert!(reading.unwrap().join().unwrap());
    }
}
