#![no_main]

use natter_tests::hostile::replica_manager;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    replica_manager::live(bytes);
});
