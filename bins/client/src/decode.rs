//! `client decode`: MessagePack in, a line of JSON for each value out. For `nats sub 'ratings.>' --translate 'client decode'`.
//!
//! Input is not trusted: nesting is bounded, and no length is believed before its bytes have come.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

use natter_common::counted::counted;
use rmp::Marker;

/// Maximum nesting of values: Natter's own stay below 32, and readers of JSON commonly stop at 128.
pub const DEPTH_MAX: usize = 100;
/// Maximum size of one value, in bytes: that of a broker's largest message.
pub const VALUE_BYTES_MAX: u64 = 64 << 20;

/// Why the input can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The input is not MessagePack.
    #[error("this is not MessagePack: {reason} (at byte {position})")]
    Malformed {
        /// Description of the problem.
        reason: String,
        /// Number of bytes that were read before it.
        position: u64,
    },
    /// The input can't be read.
    #[error("can't read the input: {0}")]
    Input(#[source] io::Error),
    /// The output can't be written.
    #[error("can't write the output: {0}")]
    Output(#[source] io::Error),
}

/// Copies `input` to `output`, each MessagePack value as a line of JSON. An input that begins with `{` is JSON already.
///
/// # Errors
///
/// Where the input is not MessagePack; all values before the bad one are written.
pub fn decode(input: impl BufRead, mut output: impl Write) -> Result<(), DecodeError> {
    let mut decoder = Decoder { input, position: 0, value_end: 0, json: String::new(), in_key: false };
    if decoder.peek()? == Some(b'{') {
        return pass_through(decoder.input, output);
    }
    while decoder.peek()?.is_some() {
        decoder.json.clear();
        decoder.value_end = decoder.position + VALUE_BYTES_MAX;
        decoder.value(0)?;
        decoder.json.push('\n');
        // Flushed each time: the next value may be long in coming.
        output.write_all(decoder.json.as_bytes()).and_then(|()| output.flush()).map_err(DecodeError::Output)?;
    }
    Ok(())
}

fn pass_through(mut input: impl BufRead, mut output: impl Write) -> Result<(), DecodeError> {
    let mut last = b'\n';
    loop {
        let chunk = input.fill_buf().map_err(DecodeError::Input)?;
        let Some(end) = chunk.last() else { break };
        last = *end;
        output.write_all(chunk).map_err(DecodeError::Output)?;
        let length = chunk.len();
        input.consume(length);
    }
    if last != b'\n' {
        output.write_all(b"\n").map_err(DecodeError::Output)?;
    }
    output.flush().map_err(DecodeError::Output)
}

struct Decoder<R> {
    input: R,
    position: u64,
    value_end: u64,
    /// The value so far. Grows with what was read, never with what was announced.
    json: String,
    /// Whether the key of a map is being read.
    in_key: bool,
}

impl<R: BufRead> Decoder<R> {
    fn peek(&mut self) -> Result<Option<u8>, DecodeError> {
        Ok(self.input.fill_buf().map_err(DecodeError::Input)?.first().copied())
    }

    fn malformed<T>(&self, reason: impl Into<String>) -> Result<T, DecodeError> {
        Err(DecodeError::Malformed { reason: reason.into(), position: self.position })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => {
                self.position += N as u64;
                Ok(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.malformed("it ends within a value"),
            Err(error) => Err(DecodeError::Input(error)),
        }
    }

    /// Reads `length` bytes. Memory for them is reserved only as they come.
    fn run(&mut self, length: u64) -> Result<Vec<u8>, DecodeError> {
        if self.position + length > self.value_end {
            return self.malformed(format!("a length of {} is more than a message holds", counted(length, "byte")));
        }
        let mut bytes = Vec::new();
        (&mut self.input).take(length).read_to_end(&mut bytes).map_err(DecodeError::Input)?;
        if (bytes.len() as u64) < length {
            return self.malformed(format!(
                "a length of {} was announced, but only {} came",
                counted(length, "byte"),
                bytes.len()
            ));
        }
        self.position += length;
        Ok(bytes)
    }

    fn length(&mut self, bytes: u32) -> Result<u64, DecodeError> {
        Ok(match bytes {
            1 => u64::from(u8::from_be_bytes(self.bytes()?)),
            2 => u64::from(u16::from_be_bytes(self.bytes()?)),
            _ => u64::from(u32::from_be_bytes(self.bytes()?)),
        })
    }

    fn value(&mut self, depth: usize) -> Result<(), DecodeError> {
        if depth > DEPTH_MAX {
            return self.malformed(format!("it nests deeper than {DEPTH_MAX}"));
        }
        if self.position >= self.value_end {
            return self.malformed(format!("one value is longer than {VALUE_BYTES_MAX} bytes"));
        }
        let [byte] = self.bytes()?;
        match Marker::from_u8(byte) {
            Marker::FixMap(length) => self.map(u64::from(length), depth),
            Marker::Map16 => self.length(2).and_then(|length| self.map(length, depth)),
            Marker::Map32 => self.length(4).and_then(|length| self.map(length, depth)),
            Marker::FixArray(length) => self.array(u64::from(length), depth),
            Marker::Array16 => self.length(2).and_then(|length| self.array(length, depth)),
            Marker::Array32 => self.length(4).and_then(|length| self.array(length, depth)),
            Marker::FixStr(length) => self.text(u64::from(length)),
            Marker::Str8 => self.length(1).and_then(|length| self.text(length)),
            Marker::Str16 => self.length(2).and_then(|length| self.text(length)),
            Marker::Str32 => self.length(4).and_then(|length| self.text(length)),
            Marker::Bin8 => self.length(1).and_then(|length| self.binary(length)),
            Marker::Bin16 => self.length(2).and_then(|length| self.binary(length)),
            Marker::Bin32 => self.length(4).and_then(|length| self.binary(length)),
            Marker::FixExt1 => self.extension(1),
            Marker::FixExt2 => self.extension(2),
            Marker::FixExt4 => self.extension(4),
            Marker::FixExt8 => self.extension(8),
            Marker::FixExt16 => self.extension(16),
            Marker::Ext8 => self.length(1).and_then(|length| self.extension(length)),
            Marker::Ext16 => self.length(2).and_then(|length| self.extension(length)),
            Marker::Ext32 => self.length(4).and_then(|length| self.extension(length)),
            Marker::Reserved => self.malformed("the byte c1 begins no value"),
            simple => self.simple(simple),
        }
    }

    fn simple(&mut self, marker: Marker) -> Result<(), DecodeError> {
        let text = match marker {
            Marker::True => "true".to_owned(),
            Marker::False => "false".to_owned(),
            Marker::FixPos(number) => number.to_string(),
            Marker::FixNeg(number) => number.to_string(),
            Marker::U8 => u8::from_be_bytes(self.bytes()?).to_string(),
            Marker::U16 => u16::from_be_bytes(self.bytes()?).to_string(),
            Marker::U32 => u32::from_be_bytes(self.bytes()?).to_string(),
            Marker::U64 => u64::from_be_bytes(self.bytes()?).to_string(),
            Marker::I8 => i8::from_be_bytes(self.bytes()?).to_string(),
            Marker::I16 => i16::from_be_bytes(self.bytes()?).to_string(),
            Marker::I32 => i32::from_be_bytes(self.bytes()?).to_string(),
            Marker::I64 => i64::from_be_bytes(self.bytes()?).to_string(),
            // Debug keeps the point of 4.0 and shortens what is very large or small, as JSON allows.
            Marker::F32 => float(format!("{:?}", f32::from_be_bytes(self.bytes()?))),
            Marker::F64 => float(format!("{:?}", f64::from_be_bytes(self.bytes()?))),
            _ => "null".to_owned(),
        };
        self.json.push_str(&text);
        Ok(())
    }

    fn array(&mut self, length: u64, depth: usize) -> Result<(), DecodeError> {
        self.json.push('[');
        for n in 0..length {
            if n > 0 {
                self.json.push(',');
            }
            self.value(depth + 1)?;
        }
        self.json.push(']');
        Ok(())
    }

    fn map(&mut self, length: u64, depth: usize) -> Result<(), DecodeError> {
        self.json.push('{');
        for n in 0..length {
            if n > 0 {
                self.json.push(',');
            }
            self.key(depth + 1)?;
            self.json.push(':');
            self.value(depth + 1)?;
        }
        self.json.push('}');
        Ok(())
    }

    fn key(&mut self, depth: usize) -> Result<(), DecodeError> {
        let begin = self.json.len();
        let outer = std::mem::replace(&mut self.in_key, true);
        self.value(depth)?;
        self.in_key = outer;
        if self.json[begin..].starts_with('"') {
            return Ok(());
        }
        // JSON has no other keys than strings. Each level of keys of keys doubles the backslashes of the one below.
        if outer && self.json[begin..].starts_with(['[', '{']) {
            return self.malformed("a key of a map has a list or a map for a key");
        }
        let key = self.json.split_off(begin);
        self.quote(&key);
        Ok(())
    }

    fn text(&mut self, length: u64) -> Result<(), DecodeError> {
        let bytes = self.run(length)?;
        self.quote(&String::from_utf8_lossy(&bytes));
        Ok(())
    }

    fn binary(&mut self, length: u64) -> Result<(), DecodeError> {
        let bytes = self.run(length)?;
        self.json.push('"');
        for byte in bytes {
            let _ = write!(self.json, "{byte:02x}"); // writing to a string can't fail
        }
        self.json.push('"');
        Ok(())
    }

    fn extension(&mut self, length: u64) -> Result<(), DecodeError> {
        let [kind] = self.bytes()?;
        let _ = write!(self.json, "{{\"extension\":{},\"data\":", i8::from_be_bytes([kind]));
        self.binary(length)?;
        self.json.push('}');
        Ok(())
    }

    fn quote(&mut self, text: &str) {
        // Also escapes what would play with a terminal: JSON has control characters below 0x20 escaped, these are the rest.
        let quoted = serde_json::Value::from(text).to_string();
        for c in quoted.chars() {
            if c.is_control() {
                let _ = write!(self.json, "\\u{:04x}", u32::from(c));
            } else {
                self.json.push(c);
            }
        }
    }
}

/// JSON has no numbers for these three.
fn float(text: String) -> String {
    match text.as_str() {
        "NaN" => "\"NaN\"".to_owned(),
        "inf" => "\"Infinity\"".to_owned(),
        "-inf" => "\"-Infinity\"".to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(bytes: &[u8]) -> Result<String, String> {
        let mut output = Vec::new();
        decode(bytes, &mut output).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn values_become_lines_of_json() {
        for (bytes, json) in [
            (&b""[..], ""),
            (b"\xc0", "null\n"),
            (b"\x81\xa1x\xcb\x40\x10\0\0\0\0\0\0", "{\"x\":4.0}\n"),
            (b"\x01\xff\xc3", "1\n-1\ntrue\n"),
            (b"\x93\x01\xc2\xa2hi", "[1,false,\"hi\"]\n"),
            (b"\xc4\x03\x00\xab\xff", "\"00abff\"\n"),
            (b"\x82\x05\xa1a\x92\x01\x02\xc0", "{\"5\":\"a\",\"[1,2]\":null}\n"),
            (b"\x81\xc4\x01\xff\x01", "{\"ff\":1}\n"),
            (b"\xd6\xff\0\0\0\x01", "{\"extension\":-1,\"data\":\"00000001\"}\n"),
            (b"\xca\x7f\xc0\0\0", "\"NaN\"\n"),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615\n"),
            (b"\xa4\"\n\x1b\x7f", "\"\\\"\\n\\u001b\\u007f\"\n"),
            (b"\xa1\xff", "\"\u{fffd}\"\n"),
            (b"{\"a\":1}", "{\"a\":1}\n"),
            (b"{\"a\":1}\n{}\n", "{\"a\":1}\n{}\n"),
        ] {
            assert_eq!(shown(bytes).as_deref(), Ok(json), "{bytes:02x?}");
        }
    }

    #[test]
    fn bad_input_is_told_with_its_place() {
        for (bytes, why) in [
            (&b"\xc1"[..], "c1 begins no value (at byte 1)"),
            (b"\x92\x01", "ends within a value (at byte 2)"),
            (b"\xdb\xff\xff\xff\xff", "a length of 4294967295 bytes is more than a message holds"),
            (b"\xc6\x03\xff\xff\xff", "67108863 bytes"),
            (b"\xc6\x00\xff\xff\xffabc", "only 3 came"),
            (b"\xdd\xff\xff\xff\xff\x01", "ends within a value"),
            (b"\xdf\xff\xff\xff\xff", "ends within a value"),
        ] {
            let error = shown(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn keys_of_keys_do_not_grow_without_bound() {
        let mut bytes = vec![0x81; 90];
        bytes.extend([0x01; 91]);
        let error = shown(&bytes).unwrap_err();
        assert!(error.contains("a key of a map"), "{error}");
    }

    #[test]
    fn nesting_has_an_end() {
        let error = shown(&[0x91; 100_000]).unwrap_err();
        assert!(error.contains("nests deeper than 100"), "{error}");
        let keys = shown(&[0x81; 100_000]).unwrap_err();
        assert!(keys.contains("nests deeper"), "{keys}");
    }

    #[test]
    fn values_before_a_bad_one_are_written() {
        let mut output = Vec::new();
        assert!(decode(&b"\x01\x02\xc1"[..], &mut output).is_err());
        assert_eq!(output, b"1\n2\n");
    }

    proptest! {
        #[test]
        fn any_bytes_give_json_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assume!(bytes.first() != Some(&b'{'));
            let mut output = Vec::new();
            let _ = decode(&bytes[..], &mut output);
            for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok(), "{}", String::from_utf8_lossy(line));
            }
        }

        #[test]
        fn what_natter_encodes_reads_as_its_json(text: String, numbers in prop::collection::vec(any::<i64>(), 0..20)) {
            let message = serde_json::json!({ "text": text, "numbers": numbers, "none": null, "float": 0.1 });
            let bytes = rmp_serde::to_vec_named(&message).unwrap();
            let again: serde_json::Value = serde_json::from_str(&shown(&bytes).unwrap()).unwrap();
            prop_assert_eq!(again, message);
        }
    }
}
