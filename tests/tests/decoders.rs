//! Decoders, fed with bytes that no sound process sends; see `natter_tests::decoders`.
//!
//! `DECODER=name` is only about one of them; `DECODER_SEED=n` goes through one seed again, `DECODER_SEEDS=n` through
//! that many from `DECODER_FIRST` on. `DECODER_FILE=path` checks the bytes of a file, as a fuzzer found them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;
use natter_common::edge::decode_request;
use natter_common::subjects::Operation;
use natter_tests::decoders::encoders;
use natter_tests::decoders::tamper::{LENGTH_MAX, tamper};
use natter_tests::decoders::{ALL, Decoder};

/// Number of seeds for each decoder, unless the environment sets another; fewer for a costly check.
const SEEDS: u64 = 600;
/// Maximum random bytes from which an example is drawn.
const DRAWN_BYTES_MAX: usize = 400;
/// Maximum processor time of one case, in milliseconds; a hundred times what any takes.
const CASE_CPU_MS_MAX: u64 = 2_000;
/// Maximum additional address space of all cases together, in KiB: a length of 2³² that is believed takes 4 GiB.
const MEMORY_KIB_MAX: u64 = 1 << 20;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn decoders() -> impl Iterator<Item = Decoder> {
    let wanted = std::env::var("DECODER").ok();
    ALL.into_iter().filter(move |decoder| wanted.as_deref().is_none_or(|name| name == decoder.name))
}

/// The processor's time that this thread took so far, in milliseconds, where the system says so.
fn cpu_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? / 1_000_000)
}

/// The most address space that this process had so far, in KiB, where the system says so.
fn memory_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn random_bytes(random: &mut Rng, length_max: usize) -> Vec<u8> {
    let length = random.usize(..=length_max);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Goes through the seeds for each decoder, or one of `share` of them, and names the one that fails. `case` gives the
/// bytes to be read.
fn seeds(test: &str, share: u64, case: impl Fn(&Decoder, &mut Rng) -> Vec<u8>) {
    let before_kib = memory_kib();
    let mut line = String::new();
    for decoder in decoders() {
        let (first, count) = match variable("DECODER_SEED") {
            Some(seed) => (seed, 1),
            None => {
                let count = variable("DECODER_SEEDS").unwrap_or(SEEDS / share) / decoder.cost;
                (variable("DECODER_FIRST").unwrap_or(1), count.max(1))
            }
        };
        let mut read = 0u64;
        for seed in first..first + count {
            let checked = catch_unwind(AssertUnwindSafe(|| {
                let bytes = case(&decoder, &mut Rng::with_seed(seed));
                let began_ms = cpu_ms();
                let is_read = (decoder.check)(&bytes);
                let took_ms = cpu_ms().zip(began_ms).map_or(0, |(now_ms, then_ms)| now_ms - then_ms);
                assert!(took_ms <= CASE_CPU_MS_MAX, "{} bytes took {took_ms} ms", bytes.len());
                is_read
            }));
            match checked {
                Ok(is_read) => read += u64::from(is_read),
                Err(panic) => {
                    let name = decoder.name;
                    println!(
                        "reproduce: DECODER={name} DECODER_SEED={seed} cargo test -p natter-tests --test decoders {test}"
                    );
                    resume_unwind(panic);
                }
            }
        }
        line += &format!(" {} {read}/{count}", decoder.name);
    }
    println!("{test}: read{line}");
    let more_kib = memory_kib().zip(before_kib).map_or(0, |(now, then)| now - then);
    assert!(more_kib <= MEMORY_KIB_MAX, "{more_kib} KiB");
}

#[test]
fn arbitrary_bytes_are_read_or_refused() {
    seeds("arbitrary_bytes", 1, |_, random| {
        let length_max = if random.u8(..) == 0 { LENGTH_MAX } else { 200 };
        let mut bytes = random_bytes(random, length_max);
        // Random bytes are mostly not even a map; these have a chance.
        if let Some(first) = bytes.first_mut().filter(|_| random.bool()) {
            *first = *random.choice(b"\x80\x81\x82\x85\x8f\xde\xdf{").unwrap_or(&0x80);
        }
        bytes
    });
}

#[test]
fn sound_bytes_are_read_as_they_were_written() {
    seeds("sound_bytes", 1, |decoder, random| {
        let bytes = (decoder.example)(&random_bytes(random, DRAWN_BYTES_MAX));
        assert!((decoder.check)(&bytes), "{} can't be read: {bytes:02x?}", decoder.name);
        bytes
    });
}

#[test]
fn bytes_that_were_tampered_with_are_read_or_refused() {
    seeds("bytes_that_were_tampered_with", 1, |decoder, random| {
        let example = |random: &mut Rng, decoder: &Decoder| (decoder.example)(&random_bytes(random, DRAWN_BYTES_MAX));
        let other = random.choice(ALL).unwrap_or(*decoder);
        let others = [example(random, decoder), example(random, &other)];
        let bytes = example(random, decoder);
        tamper(random, &bytes, &others)
    });
}

#[test]
fn other_encoders_messages_read_as_ours() {
    seeds("other_encoders_messages", 4, |decoder, random| {
        let bytes = (decoder.example)(&random_bytes(random, DRAWN_BYTES_MAX));
        let (Some(rewrite), Some(value)) = (decoder.rewrite, encoders::value(&bytes)) else { return bytes };
        let ours = rewrite(&bytes);
        let theirs = encoders::same(random, &value);
        assert!(ours.is_some() && rewrite(&encoders::bytes(&theirs)) == ours, "{value} is not {theirs}");
        bytes
    });
}

#[test]
fn lists_in_place_of_maps_and_keys_that_stand_twice_are_refused() {
    seeds("lists_in_place_of_maps", 6, |decoder, random| {
        let bytes = (decoder.example)(&random_bytes(random, DRAWN_BYTES_MAX));
        let (Some(rewrite), Some(value)) = (decoder.rewrite, encoders::value(&bytes)) else { return bytes };
        for other in encoders::others(random, &value) {
            assert_eq!(rewrite(&encoders::bytes(&other)), None, "{other} is taken for {value}");
        }
        bytes
    });
}

#[test]
fn a_prev_as_long_as_a_message_can_be_is_read_in_no_time() {
    for is_rising in [true, false] {
        let mut ids: Vec<String> = (0..60_000).map(|n| format!("x{n:05}")).collect();
        if !is_rising {
            ids.reverse();
        }
        let entries: Vec<String> = ids.iter().map(|id| format!("\"{id}\":9")).collect();
        let json = format!("{{\"movie_id\":1,\"prev\":{{\"replicas\":{{{}}}}}}}", entries.join(","));
        let began_ms = cpu_ms();
        let request = decode_request(Operation::Average, None, json.as_bytes()).unwrap();
        assert_eq!(request.prev().replicas.len(), ids.len());
        let took_ms = cpu_ms().zip(began_ms).map_or(0, |(now_ms, then_ms)| now_ms - then_ms);
        assert!(took_ms <= CASE_CPU_MS_MAX, "{took_ms} ms");
    }
}

#[test]
fn what_a_fuzzer_found_is_read_or_refused() {
    let Ok(path) = std::env::var("DECODER_FILE") else { return };
    let bytes = std::fs::read(path).unwrap();
    for decoder in decoders() {
        println!("{}: {}", decoder.name, if (decoder.check)(&bytes) { "read" } else { "refused" });
    }
}
