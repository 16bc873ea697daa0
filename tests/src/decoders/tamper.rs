//! Sound bytes made unsound.

use fastrand::Rng;

/// Never longer than this, in bytes.
pub const LENGTH_MAX: usize = 1 << 16;

/// Values that replace another value: the ends of the range of numbers, and lengths that promise far too much.
const VALUES: [&[u8]; 18] = [
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xcf\x80\0\0\0\0\0\0\0",
    b"\xd3\x80\0\0\0\0\0\0\0",
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\xcb\xff\xf0\0\0\0\0\0\0",
    b"\xca\x7f\x7f\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xc1",
    b"\xc0",
    b"\x80",
    b"18446744073709551616",
    b"-1e400",
    b"\"\\ud800\"",
];

/// Does one thing or more to the bytes; `others` give parts of other messages.
pub fn tamper(random: &mut Rng, bytes: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..[1, 1, 1, 2, 4][random.usize(..5)] {
        once(random, &mut bytes, others);
        bytes.truncate(LENGTH_MAX);
    }
    bytes
}

fn once(random: &mut Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = random.usize(..=bytes.len());
    let end = (at + random.usize(..9)).min(bytes.len());
    match random.u8(2..14) {
        // A bit flips.
        10.. => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.u8(..8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.u8(..);
            }
        }
        // It ends too soon, or something is missing.
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        // Something comes twice.
        5 => {
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        // It goes on as another does.
        6 => {
            if let Some(other) = random.choice(others) {
                bytes.truncate(at);
                bytes.extend(&other[random.usize(..=other.len())..]);
            }
        }
        7 => drop(bytes.splice(at..end, random.choice(VALUES).unwrap_or_default().iter().copied())),
        8 => drop(bytes.splice(at..at, random.choice(VALUES).unwrap_or_default().iter().copied())),
        // It nests without end.
        _ => {
            let opening: &[u8] = [&b"\x91"[..], b"\x81\xa1x", b"\x81", b"[", b"{\"x\":"][random.usize(..5)];
            let deep = opening.repeat([20, 40, 120, 10_000][random.usize(..4)]);
            bytes.splice(at..at, deep);
        }
    }
}
