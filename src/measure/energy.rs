//! Energy from hardware counters: RAPL for CPU and memory, NVML for GPUs.
//!
//! The counters cover the whole machine. The difference between two readings is the energy of a step only if
//! nothing else runs meanwhile.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::gpu;

/// Joules per kilowatt-hour.
const KWH: f64 = 3.6e6;

/// Reads all energy counters of this machine.
#[derive(Debug)]
pub struct Meter {
    zones: Vec<Zone>,
    gpus: bool,
}

/// One RAPL counter.
#[derive(Debug)]
struct Zone {
    counter: PathBuf,
    /// The counter wraps around after this many microjoules.
    range: u64,
}

/// The counters' values at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    microjoules: Vec<u64>,
    gpus: Option<f64>,
}

impl Meter {
    /// The counters that are readable here; often none, because the kernel restricts RAPL to root. `powercap`
    /// is the sysfs folder of Linux' RAPL counters (kernel documentation, `power/powercap/powercap.rst`).
    pub fn detect(powercap: &Path) -> Self {
        Self::at(powercap, gpu::joules().is_some())
    }

    fn at(powercap: &Path, gpus: bool) -> Self {
        let entries = fs::read_dir(powercap).into_iter().flatten().flatten();
        let zones: Vec<Zone> = entries.filter_map(|entry| zone(&entry.path())).collect();
        Self { zones, gpus }
    }

    /// Which counters are readable; empty if none are.
    pub fn sources(&self) -> &'static str {
        match (self.zones.is_empty(), self.gpus) {
            (true, false) => "",
            (false, false) => "RAPL",
            (true, true) => "NVML (GPU alone)",
            (false, true) => "RAPL and NVML",
        }
    }

    /// The current readings; `None` if there are no counters, or one of them can no longer be read.
    pub fn read(&self) -> Option<Reading> {
        if self.zones.is_empty() && !self.gpus {
            return None;
        }
        let microjoules = self.zones.iter().map(|zone| number(&zone.counter)).collect::<Option<_>>()?;
        let gpus = if self.gpus { Some(gpu::joules()?) } else { None };
        Some(Reading { microjoules, gpus })
    }

    /// Joules between two readings of this meter. A counter that has decreased is assumed to have wrapped
    /// once; steps long enough for two wraps (hours on a desktop, about half an hour on a large server) are
    /// underestimated.
    pub fn joules(&self, before: &Reading, after: &Reading) -> f64 {
        let pairs = before.microjoules.iter().zip(&after.microjoules);
        let processor: u64 =
            self.zones.iter().zip(pairs).map(|(zone, (before, after))| zone.between(*before, *after)).sum();
        let gpus = before.gpus.zip(after.gpus).map_or(0.0, |(before, after)| (after - before).max(0.0));
        processor as f64 / 1e6 + gpus
    }

    /// Runs `work` and measures its energy.
    pub fn around<T>(&self, work: impl FnOnce() -> T) -> (T, Option<f64>) {
        let before = self.read();
        let result = work();
        let after = before.as_ref().and_then(|_| self.read());
        let joules = before.zip(after).map(|(before, after)| self.joules(&before, &after));
        (result, joules)
    }
}

/// Why no RAPL counter below `powercap` is readable, and how to fix that; `None` if one is.
pub(crate) fn obstacle(powercap: &Path) -> Option<String> {
    let shown = powercap.display();
    let entries = match fs::read_dir(powercap) {
        Ok(entries) => entries,
        Err(error) => {
            return Some(format!(
                "{shown} cannot be read ({error}): a virtual machine has no RAPL counters; a container needs \
                 the folder mounted, and measure.powercap where it lies elsewhere"
            ));
        }
    };
    let folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    if folders.iter().any(|folder| zone(folder).is_some()) {
        return None;
    }
    let denied = |folder: &PathBuf| {
        let counter = folder.join("energy_uj");
        let error = fs::read_to_string(&counter).err()?;
        (error.kind() == io::ErrorKind::PermissionDenied).then_some(counter)
    };
    Some(match folders.iter().find_map(denied) {
        Some(counter) => format!(
            "{} is for root alone, as Linux has it by default: run as root, or let the user read it (chmod a+r, \
             at every start of the machine)",
            counter.display()
        ),
        None => format!("{shown} has no counter of a processor: this machine or its kernel does not count"),
    })
}

/// Grams of CO2 for `joules` at `grid` grams per kilowatt-hour; `None` if `grid` is 0, which means unknown.
pub(crate) fn co2_grams(joules: f64, grid: f64) -> Option<f64> {
    (grid > 0.0).then_some(joules / KWH * grid)
}

/// Joules per 1,000 tokens; `None` if unknown or without tokens.
pub(crate) fn per_1000_tokens(joules: Option<f64>, tokens: usize) -> Option<f64> {
    joules.filter(|_| tokens > 0).map(|joules| joules / tokens as f64 * 1e3)
}

/// An energy for people: in total, per 1,000 tokens of the input, and as CO2, as far as known.
pub(crate) fn words(joules: f64, per_1000_tokens: Option<f64>, co2_grams: Option<f64>) -> String {
    let each = per_1000_tokens.map(|joules| format!(", {joules:.2} J for 1,000 tokens")).unwrap_or_default();
    let grams = co2_grams.map(|grams| format!(", {grams:.4} g CO2")).unwrap_or_default();
    format!("{joules:.2} J{each}{grams}")
}

impl Zone {
    fn between(&self, before: u64, after: u64) -> u64 {
        if after >= before { after - before } else { self.range.saturating_sub(before).saturating_add(after) }
    }
}

/// A powercap folder as a counter, if it belongs to the total: CPU packages, and memory beside them. Zones
/// within a package are part of its value, and `psys` covers everything.
fn zone(folder: &Path) -> Option<Zone> {
    let name = fs::read_to_string(folder.join("name")).ok()?;
    let name = name.trim();
    if !(name.starts_with("package") || name == "dram") {
        return None;
    }
    let counter = folder.join("energy_uj");
    number(&counter)?;
    let range = number(&folder.join("max_energy_range_uj"))?;
    // The same counter may be exposed a second time through memory-mapped registers.
    let mmio = folder.file_name().is_some_and(|name| name.to_string_lossy().contains("mmio"));
    (!mmio).then_some(Zone { counter, range })
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(root: &Path, folder: &str, name: &str, energy: &str) {
        let folder = root.join(folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("energy_uj"), format!("{energy}\n")).unwrap();
        fs::write(folder.join("max_energy_range_uj"), "1000000000\n").unwrap();
    }

    #[test]
    fn packages_and_memory_are_added_and_counters_wrap() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        add(root, "intel-rapl:0", "package-0", "999000000");
        add(root, "intel-rapl:0:0", "core", "5");
        add(root, "intel-rapl:0:1", "dram", "10");
        add(root, "intel-rapl:1", "psys", "7");
        add(root, "intel-rapl-mmio:0", "package-0", "999000000");
        let meter = Meter::at(root, false);
        assert_eq!(meter.sources(), "RAPL");
        assert_eq!(obstacle(root), None);
        let ((), joules) = meter.around(|| {
            // The package's counter wraps around, memory takes another 2 joules.
            fs::write(root.join("intel-rapl:0/energy_uj"), "3000000").unwrap();
            fs::write(root.join("intel-rapl:0:1/energy_uj"), "2000010").unwrap();
            fs::write(root.join("intel-rapl:0:0/energy_uj"), "900000000").unwrap();
        });
        assert!((joules.unwrap() - (1.0 + 3.0 + 2.0)).abs() < 1e-9, "{joules:?}");
        let ((), gone) = meter.around(|| fs::remove_file(root.join("intel-rapl:0/energy_uj")).unwrap());
        assert_eq!(gone, None);
    }

    #[test]
    fn grams_follow_the_grid() {
        assert_eq!(co2_grams(1.8e6, 0.0), None);
        assert!((co2_grams(1.8e6, 300.0).unwrap() - 150.0).abs() < 1e-9);
    }

    #[test]
    fn unreadable_counters_are_unknown() {
        let root = tempfile::tempdir().unwrap();
        assert!(obstacle(root.path()).unwrap().contains("no counter"));
        assert!(obstacle(&root.path().join("none")).unwrap().contains("measure.powercap"));
        add(root.path(), "intel-rapl:0", "package-0", "permission denied");
        let meter = Meter::at(root.path(), false);
        assert_eq!((meter.sources(), meter.read()), ("", None));
        assert_eq!(Meter::at(&root.path().join("none"), false).around(|| 5), (5, None));
    }
}
