#![no_main]

use natter_simulation::hostile::frontend;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    frontend::live(bytes);
});
