#![no_main]

use natter_simulation::hostile::colocated;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    colocated::live(bytes);
});
