//! A description of the machine for the header of results.

use std::{env, fs, path::Path, thread};

use super::{energy::Meter, gpu, memory};

/// CPU, cores, memory, GPUs, and the available energy counters: RAPL below `powercap`, NVML.
pub(crate) fn describe(powercap: &Path) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| cpu_model(&info));
    let cpu = cpu.unwrap_or_else(|| format!("{} {}", env::consts::OS, env::consts::ARCH));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = memory::total().map_or_else(
        || "memory unknown".to_owned(),
        |bytes| format!("{:.1} GiB memory", bytes as f64 / f64::from(1 << 30)),
    );
    let gpus = match gpu::names() {
        names if names.is_empty() => "no GPU".to_owned(),
        names => names.join(" + "),
    };
    let energy = match Meter::detect(powercap).sources() {
        "" => "energy unknown".to_owned(),
        sources => format!("energy by {sources}"),
    };
    format!("{cpu}, {cores} cores, {memory}, {gpus}, {energy}")
}

/// The first CPU's name, as Linux reports it on x86 and some other architectures.
fn cpu_model(info: &str) -> Option<String> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| matches!(key.trim(), "model name" | "Model" | "cpu model"))
        .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let info = "processor\t: 0\nmodel name\t: Some  CPU @ 2.0GHz\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(cpu_model(info).as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(cpu_model("processor : 0\n"), None);
        let words = describe(Path::new("/sys/class/powercap"));
        assert!(words.contains(" cores, ") && words.contains("energy "), "{words}");
    }
}
