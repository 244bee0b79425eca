#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lagar_fuzz::connectors::redact_urls(data));
