//! How wasmtime is set up, each deviation from its defaults with the reason.

use std::num::NonZeroUsize;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// No plugin gets more linear memory than this, whatever its limit says: the size of a pool slot.
pub(crate) const MAX_MEMORY_BYTES: u64 = 1 << 30;

/// No table gets more elements than this, whatever the plugin's limit says: the size of a pool slot. The largest
/// interpreters have some ten thousand functions; wasmtime's default is too small for some of them.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 200_000;

/// What a guest may have on its stack. Interpreters recurse deeply; wasmtime's default of 512 KiB is too little for them.
/// A property of the engine: the same for all plugins.
pub(crate) const WASM_STACK_BYTES: usize = 1 << 20;

/// A guest's whole stack; the host functions that it calls have the other half.
const FIBER_STACK_BYTES: usize = 2 << 20;

/// An engine with pooled instances where the machine allows it, else with instances allocated one by one.
pub(crate) fn engine(pooling: bool) -> wasmtime::Result<Engine> {
    if pooling {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        // The pool reserves about a terabyte of addresses at once, which some containers and kernels refuse. Trying it
        // is the only probe that tells the truth.
        match Engine::new(&config) {
            Ok(engine) => return Ok(engine),
            Err(why) => tracing::warn!(
                reason = format!("{why:#}"),
                "instances are not pooled, because the address space is too small; fresh instances will cost more"
            ),
        }
    }
    Engine::new(&config())
}

/// An engine that only compiles, for an engine of [`engine`]: how instances are allocated is no part of the code.
pub(crate) fn compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // With it every call goes through an event loop that this contract, which has no async functions, never needs.
        .concurrency_support(false)
        // Guests stop at their wall time, also without calling the host.
        .epoch_interruption(true)
        .consume_fuel(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // Names come from the component's name section, lines from its debug information, if it has any.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // A panic of Rust has a dozen frames of its own above the one that matters.
        .wasm_backtrace_max_frames(NonZeroUsize::new(32));
    narrow(&mut config);
    config
}

/// Proposals that no supported guest toolchain needs are off: each is code that a hostile component could reach. Threads,
/// garbage collection and async components are not even built in (see the features of `wasmtime` in `Cargo.toml`).
fn narrow(config: &mut Config) {
    config
        .shared_memory(false)
        // One `memory.copy` of a 64-bit memory cannot be interrupted for long.
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        // The same answer on every machine.
        .relaxed_simd_deterministic(true);
}

/// Sized for a host of two cores: tens of plugins with an instance per core, and some to spare for fresh ones. Slots are
/// addresses, not memory; what they keep resident when they are free is bounded by the last four settings.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(128)
        .total_core_instances(1024)
        .total_memories(192)
        .total_tables(384)
        .total_stacks(160)
        .max_core_instances_per_component(64)
        .max_memories_per_component(8)
        .max_tables_per_component(32)
        .max_memories_per_module(1)
        .max_tables_per_module(2)
        // The defaults are too small for components that hold a JavaScript or Python interpreter.
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_core_instance_size(8 << 20)
        .max_component_instance_size(16 << 20)
        .max_memory_size(usize::try_from(MAX_MEMORY_BYTES).unwrap_or(usize::MAX))
        // In wasmtime 48 it can leave a swapped-out page of the previous instance in place (bytecodealliance/wasmtime#14357).
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(4 << 10)
        .decommit_batch_size(16)
        .max_unused_warm_slots(16);
    pool
}

/// What of a freed memory is cleared by hand and kept instead of given back to the system. It costs up to sixteen times
/// as much resident memory.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use super::*;

    fn fingerprint(engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn code_that_is_compiled_apart_fits_the_pooled_engine() {
        let pooled = engine(true).unwrap();
        assert!(pooled.pooling_allocator_metrics().is_some(), "this machine has too few addresses for the test");
        let apart = compiling().unwrap();
        assert_eq!(fingerprint(&pooled), fingerprint(&apart));
        assert_ne!(fingerprint(&pooled), fingerprint(&Engine::default()));
    }
}
