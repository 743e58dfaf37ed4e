#![no_main]

/// Caps memory at 256 MiB: an allocation sized by a number that the file merely claims aborts the run.
#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 256 << 20);

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::gguf(data));
