use serde_json::{Value, json};

use super::*;

/// MessagePack of a tree, whose lengths are known before it is written.
fn reference(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

#[test]
fn both_ways_agree_with_a_tree() {
    let long = "ä".repeat(40_000);
    let texts = [
        "",
        "a",
        "\"\\/\u{1}\n\r\t\u{7f}",
        &"x".repeat(31),
        &"x".repeat(32),
        &"x".repeat(255),
        &"x".repeat(256),
        &long,
    ];
    let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    for edge in [
        0_u64,
        127,
        128,
        255,
        256,
        65535,
        65536,
        1 << 32,
        (1 << 32) - 1,
        u64::MAX,
    ] {
        values.push(json!(edge));
    }
    for edge in [
        -1_i64,
        -32,
        -33,
        -128,
        -129,
        -32768,
        -32769,
        -2147483648,
        -2147483649,
        i64::MIN,
    ] {
        values.push(json!(edge));
    }
    for length in [0, 15, 16, 65_535, 65_536] {
        values.push(json!(vec![1; length]));
        let map: serde_json::Map<String, Value> =
            (0..length).map(|n| (n.to_string(), json!(null))).collect();
        values.push(Value::Object(map));
    }
    values.push(json!([0.1, -1e300, 1.0, true, false, null, [[]], {"a": [{"b": {}}, "c"]}]));
    for value in values {
        let json = value.to_string();
        let packed = to_message_pack(json.as_bytes()).unwrap();
        assert_eq!(packed, reference(&value), "{json:.80}");
        let back = to_json(&packed).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&back).unwrap(),
            value,
            "{json:.80}"
        );
    }
}

#[test]
fn what_only_message_pack_has() {
    for (packed, json) in [
        (&b"\xc4\x03\x00\x7f\xff"[..], "[0,127,255]"),
        (b"\xca\x3d\xcc\xcc\xcd", "0.1"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\x82\x01\xc0\xff\xc2", r#"{"1":null,"-1":false}"#),
        (b"\xd0\x05", "5"),
        (b"\xdd\x00\x00\x00\x01\x01", "[1]"),
    ] {
        assert_eq!(to_json(packed).unwrap(), json, "{packed:x?}");
    }
}

#[test]
fn garbage_is_refused() {
    for (packed, what) in [
        (&b""[..], "it ends too early"),
        (b"\x01\x01", "more bytes behind the value"),
        (b"\x01\x92", "more bytes behind the value"),
        (b"\x92\x01", "it ends too early"),
        (b"\xa5ab", "it ends too early"),
        // Four thousand million entries that are not there.
        (b"\xdd\xff\xff\xff\xff", "it ends too early"),
        (b"\xdf\xff\xff\xff\xff", "it ends too early"),
        (b"\xc6\xff\xff\xff\xff", "it ends too early"),
        (b"\xc9\xff\xff\xff\xff\x01", "an extension"),
        (b"\xc1", "a byte that begins nothing"),
        (b"\xa1\xff", "a text that is not UTF-8"),
        (b"\x91\xa1\xff", "a text that is not UTF-8"),
        (b"\x81\xa1\xff\x01", "a text that is not UTF-8"),
        (b"\x81\xc0\x01", "a key that is no text"),
        (b"\x81\xc3\x01", "a key that is no text"),
        (b"\x81\x90\x01", "a key that is no text"),
        (b"\x81\xc4\x01a\x01", "a key that is no text"),
        (b"\xd6\xff\x00\x00\x00\x00", "an extension"),
    ] {
        let error = to_json(packed).unwrap_err();
        assert_eq!((error.what, error.at), (what, None), "{packed:x?}");
    }
    for (json, what, at) in [
        (&b"{\"a\":"[..], "it ends too early", 4),
        (b"[1,]", "syntax error", 3),
        (b"\"\xff\"", "it is not UTF-8", 1),
        (b"1 2", "syntax error", 2),
    ] {
        let error = to_message_pack(json).unwrap_err();
        assert_eq!((error.what, error.at), (what, Some(at)), "{json:x?}");
    }
}

#[test]
fn damage_never_panics_and_never_swells() {
    let whole =
        reference(&json!({"a": [1, -1, 300, 1.5, "\u{1}ä", null], "b": {"c": [true, [[]]]}}));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        for byte in 0..=255 {
            damaged[at] = byte;
            for packed in [&damaged[..], &damaged[..=at]] {
                if let Ok(json) = to_json(packed) {
                    assert!(json.len() <= packed.len() * 6, "{packed:x?}");
                    serde_json::from_slice::<Value>(&json).unwrap();
                }
            }
        }
    }
}

#[test]
fn depth_has_the_same_bound_both_ways() {
    let json = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let packed = |depth| [b"\x91".repeat(depth - 1), b"\x90".to_vec()].concat();
    assert_eq!(
        to_message_pack(json(MAX_DEPTH).as_bytes()).unwrap(),
        packed(MAX_DEPTH)
    );
    assert_eq!(to_json(&packed(MAX_DEPTH)).unwrap(), json(MAX_DEPTH));
    for depth in [MAX_DEPTH + 1, 1_000_000] {
        let error = to_message_pack(json(depth).as_bytes()).unwrap_err();
        assert_eq!(error.what, "it is nested too deeply");
        let error = to_json(&packed(depth)).unwrap_err();
        assert_eq!(error.what, "it is nested too deeply");
    }
}
