#![no_main]

// The decoder catches what panics in the parquet crate; libFuzzer's hook would end the process before that.
libfuzzer_sys::fuzz_target!(
    init: {
        let _ = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
    },
    |data: &[u8]| lagar_fuzz::connectors::parquet(data)
);
