#![no_main]

/// What is beyond it cannot be had: an allocation by a number that a file only claims ends the run.
#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 256 << 20);

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::gguf(data));
