//! Memory of this process and machine.

use std::fs;

/// Peak resident memory of this process in bytes (`VmHWM` of Linux' `/proc/self/status`, proc(5)); `None` if
/// the system does not report it.
pub fn peak() -> Option<u64> {
    field(&status()?, "VmHWM:")
}

/// Current resident memory in bytes (`VmRSS`).
pub fn resident() -> Option<u64> {
    field(&status()?, "VmRSS:")
}

/// Total memory of this machine in bytes.
pub fn total() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// The memory available to this process in bytes: all of the machine's, or the limit of its control group
/// (cgroup v2's `memory.max`).
pub fn limit() -> Option<u64> {
    let allowed = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let allowed = allowed.and_then(|text| text.trim().parse::<u64>().ok());
    total().into_iter().chain(allowed).min()
}

fn status() -> Option<String> {
    fs::read_to_string("/proc/self/status").ok()
}

/// The value of a line `NAME  123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace();
    let number = words.next()?.parse::<u64>().ok()?;
    // The kernel's kB has always been 1,024 bytes.
    (words.next()? == "kB").then_some(())?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_parsed() {
        let text = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\tmany kB\n";
        assert_eq!(field(text, "VmHWM:"), Some(2 << 20));
        assert_eq!(field(text, "VmRSS:"), None);
        assert_eq!(field(text, "VmPeak:"), None);
        assert_eq!(field("VmHWM: 5 MB", "VmHWM:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_is_at_least_the_resident_memory() {
        let block = vec![1u8; 64 << 20];
        // Read only once, because other tests allocate and free memory concurrently.
        let text = status().unwrap();
        let (high, now) = (field(&text, "VmHWM:").unwrap(), field(&text, "VmRSS:").unwrap());
        assert_eq!(block.iter().map(|b| u64::from(*b)).sum::<u64>(), 64 << 20);
        assert!(high >= now && now >= 64 << 20);
        assert!(peak().unwrap() >= 64 << 20 && resident().is_some());
        assert!(total().unwrap() > high);
    }
}
