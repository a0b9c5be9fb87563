//! Owns reading JSON as strictly as its readers differ, so that no two of them can see two documents.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why bytes are not JSON that everybody reads alike.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

fn refuse<T>(why: impl Into<String>) -> Result<T, JsonError> {
    Err(JsonError(why.into()))
}

/// Parses JSON as strictly as its readers differ: no key twice, no byte order mark, no more than 128 levels.
pub fn strict_json(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return refuse("a byte order mark before the JSON");
    }
    if nesting(bytes) > NESTING_MAX {
        return refuse(format!("JSON of more than {NESTING_MAX} levels"));
    }
    let mut from = serde_json::Deserializer::from_slice(bytes);
    // Its own limit is one level short of ours, which holds by now.
    from.disable_recursion_limit();
    let strict = Strict::deserialize(&mut from).and_then(|value| from.end().map(|()| value));
    match strict {
        Ok(Strict(value)) => Ok(value),
        Err(e) => refuse(format!("malformed JSON: {e}")),
    }
}

/// How deep JSON may nest.
const NESTING_MAX: usize = 128;

/// Returns how deep brackets nest; of what is no JSON, something.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => skip_string(&mut rest),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Refuses JSON with a number that would be written otherwise than it is: what is kept has to stay as it is.
///
/// `bytes` is JSON; numbers of more than 64 bits, and `1e3` or `1.50`, are such numbers.
pub fn check_numbers(bytes: &[u8]) -> Result<(), JsonError> {
    let in_number = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
    let mut rest = bytes.iter();
    while let Some(byte) = rest.as_slice().first() {
        match byte {
            b'"' => {
                rest.next();
                skip_string(&mut rest);
            }
            b'-' | b'0'..=b'9' => {
                let left = rest.as_slice();
                let len = left.iter().take_while(|b| in_number(b)).count();
                let (number, after) = left.split_at(len);
                let value: Option<Value> = serde_json::from_slice(number).ok();
                if value.is_none_or(|value| value.to_string().as_bytes() != number) {
                    let number = String::from_utf8_lossy(number);
                    return refuse(format!("the number {number} could not be kept as it is"));
                }
                rest = after.iter();
            }
            _ => {
                rest.next();
            }
        }
    }
    Ok(())
}

fn skip_string<'b>(rest: &mut impl Iterator<Item = &'b u8>) {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(rest.next()),
            _ => {}
        }
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Strict, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(Strict(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Strict, A::Error> {
        let mut map = Map::new();
        let mut seen = HashSet::new();
        while let Some((key, Strict(value))) = from.next_entry::<String, Strict>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format_args!(
                    "the key '{}' twice",
                    key.escape_debug()
                )));
            }
            map.insert(key, value);
        }
        Ok(Strict(Value::Object(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_would_be_written_otherwise_are_found() {
        for good in [
            r#"{"a":[0,-1,18446744073709551615,1.5,true],"\"1e3":"1e3"}"#,
            "-9223372036854775808",
        ] {
            assert_eq!(check_numbers(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "1e3",
            "[1.50]",
            r#"{"a":18446744073709551616}"#,
            "-0",
            "[1,1E400]",
        ] {
            assert!(check_numbers(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_that_readers_understand_differently_is_refused() {
        assert!(strict_json(br#"{"a":1,"b":[true,null,1.5,-2,"x"]}"#).is_ok());
        let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(strict_json(nested(128).as_bytes()).is_ok());
        assert!(strict_json(format!(r#"["\"{}"]"#, "[".repeat(500)).as_bytes()).is_ok());
        let deep = nested(129);
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"\u0061":2}}"#,
            "\u{feff}{}",
            "{} x",
            &deep,
        ] {
            assert!(strict_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
