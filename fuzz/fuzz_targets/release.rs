#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lagar_fuzz::lake::release(data));
