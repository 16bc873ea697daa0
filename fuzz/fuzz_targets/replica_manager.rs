#![no_main]

use natter_simulation::hostile::replica_manager;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    replica_manager::live(bytes);
});
