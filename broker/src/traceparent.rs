//! Trace contexts: the header `traceparent` of a request, by which its log lines are found among those of all programs.
//!
//! Source: W3C Trace Context, <https://www.w3.org/TR/trace-context/#traceparent-header>. A value is read into numbers and
//! written anew, so nothing else of a header reaches a log. A malformed value is ignored.

use std::fmt;

use async_nats::HeaderMap;

/// Name of the header that a client sends, in any case of its letters.
pub const HEADER: &str = "traceparent";
/// Name of the header that a frontend sends to a replica: a value for each traced request of the message.
pub const NUMBERED_HEADER: &str = "Natter-Trace";

/// Length of a value of version 00: the only one that is written.
const LENGTH: usize = 55;
/// Maximum bytes of one [`NUMBERED_HEADER`] line: name, colon, blank, a number of 20 digits, blank, value, line end.
pub const NUMBERED_BYTES_MAX: usize = NUMBERED_HEADER.len() + 2 + 20 + 1 + LENGTH + 2;

/// One request's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
}

impl TraceParent {
    /// Reads a value. `None` where it is malformed. Of later versions, the fields of version 00 are read.
    pub fn parse(text: &str) -> Option<Self> {
        let (value, rest) = text.split_at_checked(LENGTH)?;
        let mut fields = value.split('-');
        let version = number(fields.next()?, 2)?;
        let (trace_id, parent_id) = (number(fields.next()?, 32)?, number(fields.next()?, 16)?);
        let flags = number(fields.next()?, 2)?;
        let is_complete = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let is_valid = is_complete && fields.next().is_none() && trace_id != 0 && parent_id != 0;
        is_valid.then_some(Self { trace_id, parent_id: parent_id as u64, flags: flags as u8 })
    }

    /// The trace context of a client's message. `None` without the header, with a malformed one, and with several.
    pub fn of_client(headers: &HeaderMap) -> Option<Self> {
        let is_header = |name: &str| name.eq_ignore_ascii_case(HEADER);
        let mut values = headers.iter().filter(|(name, _)| is_header((*name).as_ref())).flat_map(|(_, values)| values);
        let (first, second) = (values.next()?, values.next());
        second.is_none().then(|| Self::parse(first.as_str().trim()))?
    }

    /// The trace contexts of a frontend's message, each with the number of its request.
    pub fn of_frontend(headers: &HeaderMap) -> impl Iterator<Item = (u64, Self)> {
        headers.get_all(NUMBERED_HEADER).filter_map(|value| {
            let (n, value) = value.as_str().split_once(' ')?;
            Some((n.parse().ok()?, Self::parse(value)?))
        })
    }

    /// Adds the trace context of request `n` to the headers of a frontend's message.
    pub fn append(self, n: u64, headers: &mut HeaderMap) {
        headers.append(NUMBERED_HEADER, format!("{n} {self}"));
    }
}

/// Reads a number of exactly `digits` hexadecimal digits in lower case.
fn number(text: &str, digits: usize) -> Option<u128> {
    let is_written_so = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_written_so.then(|| u128::from_str_radix(text, 16).ok())?
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, parent_id, flags } = self;
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn value_is_written_as_it_was_read() {
        let trace = TraceParent::parse(VALUE).unwrap();
        assert_eq!(trace.to_string(), VALUE);
        let mut headers = HeaderMap::new();
        trace.append(u64::MAX, &mut headers);
        trace.append(7, &mut headers);
        assert_eq!(TraceParent::of_frontend(&headers).collect::<Vec<_>>(), [(u64::MAX, trace), (7, trace)]);
        let line = format!("{NUMBERED_HEADER}: {} {VALUE}\r\n", u64::MAX);
        assert_eq!(line.len(), NUMBERED_BYTES_MAX);
    }

    #[test]
    fn later_version_is_read_as_far_as_it_is_known() {
        for later in [VALUE.replacen("00", "01", 1), VALUE.replacen("00", "fe", 1) + "-what-comes-later"] {
            assert_eq!(TraceParent::parse(&later).map(|trace| trace.to_string()).as_deref(), Some(VALUE), "{later}");
        }
    }

    #[test]
    fn malformed_value_is_ignored() {
        let trace_of_zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let parent_of_zeros = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        let endless = format!("{VALUE}{}", "a".repeat(100_000));
        let malformed = [
            "",
            "00",
            &VALUE[..54],
            &VALUE.to_uppercase(),
            &VALUE.replacen("00", "ff", 1),
            &VALUE.replace('-', "_"),
            &VALUE.replace("-0af7", "--af7"),
            &VALUE.replace("0af7", "+af7"),
            &VALUE.replace("0af7", "0ag7"),
            &VALUE.replace("0af7", "é7"),
            &VALUE.replace("-01", "-0\n"),
            &format!("{VALUE}-01"),
            &format!("{VALUE} level=ERROR"),
            &(VALUE.replacen("00", "01", 1) + "x"),
            &trace_of_zeros,
            &parent_of_zeros,
            &endless,
        ];
        for text in malformed {
            assert_eq!(TraceParent::parse(text), None, "{text:?}");
        }
        let mut headers = HeaderMap::new();
        for value in ["", "7", VALUE, "x 00-1", "-1 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"] {
            headers.append(NUMBERED_HEADER, value);
        }
        assert_eq!(TraceParent::of_frontend(&headers).count(), 0);
    }

    #[test]
    fn header_of_a_client_is_found_in_any_case_and_only_alone() {
        let with = |names: &[&str]| {
            let mut headers = HeaderMap::new();
            names.iter().for_each(|name| headers.append(*name, VALUE));
            TraceParent::of_client(&headers).map(|trace| trace.to_string())
        };
        for name in ["traceparent", "Traceparent", "TRACEPARENT"] {
            assert_eq!(with(&["Nats-Msg-Id", name]).as_deref(), Some(VALUE), "{name}");
        }
        for names in [&[][..], &["tracestate"], &["traceparent", "traceparent"], &["traceparent", "Traceparent"]] {
            assert_eq!(with(names), None, "{names:?}");
        }
    }
}
