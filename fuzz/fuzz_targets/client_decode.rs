#![no_main]

use natter_tests::decoders::programs;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (programs::CLIENT_DECODE.check)(bytes);
});
