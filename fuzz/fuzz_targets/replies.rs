#![no_main]

use natter_tests::decoders::wire;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (wire::REPLIES.check)(bytes);
});
